"""The addresses that operators' machines ask."""

from django.urls import path

from voxbilling.operations import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
]
