"""The Celery application and the beat schedule.

Every task can be lost, repeated or run twice at once without harm: each finds its work in the
database and decides again under the lock.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voxbilling.settings")

app = Celery("voxbilling")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
