from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "voxbilling.operations"
    label = "operations"
