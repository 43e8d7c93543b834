from django.apps import AppConfig
from django.conf import settings

from voxbilling import error_reports


class OperationsConfig(AppConfig):
    name = "voxbilling.operations"
    label = "operations"

    def ready(self) -> None:
        error_reports.start(settings.SENTRY_DSN)
