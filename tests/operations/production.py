"""A complete production environment, none of it real."""

import os

from voxbilling.environment import PROJECT_DIR

PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "0c1f6e7a9b3d5f2c8e4a6b0d9f1e3c5a7b9d0e2f4a6c8e0b1d3f5a7c9e1b3d5f",
    "ALLOWED_HOSTS": "billing.example.com",
    "DATABASE_URL": "postgresql://voxbilling_app:made-up@127.0.0.1:9/voxbilling",
    "REDIS_URL": "redis://127.0.0.1:9/0",
    "VAPI_API_KEY": "made-up",
    "TWILIO_ACCOUNT_SID": "made-up",
    "TWILIO_AUTH_TOKEN": "made-up",
    "VAPI_WEBHOOK_SECRETS": "made-up-webhook-secret",
    "VAPI_WEBHOOK_HMAC_SECRETS": "",
}


def production_environment(**changes):
    """For a child process. What is empty is empty there too, whatever a developer's .env says."""
    return {
        **os.environ,
        "VAPI_API_URL": "https://api.vapi.ai",
        "DJANGO_SETTINGS_MODULE": "voxbilling.settings",
        "PYTHONPATH": str(PROJECT_DIR),
        **PRODUCTION,
        **changes,
    }
