from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.db.models.signals import post_migrate

from voxbilling import error_reports


class OperationsConfig(AppConfig):
    name = "voxbilling.operations"
    label = "operations"

    def ready(self) -> None:
        error_reports.start(settings.SENTRY_DSN)
        # The last of the apps whose permissions the groups have.
        post_migrate.connect(_make_groups, sender=apps.get_app_config("webhooks"))


def _make_groups(**signal: Any) -> None:
    # Not above: models cannot be imported before all apps are ready.
    from voxbilling.operations.groups import make_groups

    make_groups(**signal)
