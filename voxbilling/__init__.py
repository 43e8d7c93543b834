"""Real-time prepaid billing for AI voice calls."""

from voxbilling.celery import app as celery_app

__all__ = ["celery_app"]
