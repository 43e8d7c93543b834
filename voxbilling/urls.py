"""Every address that voxbilling answers, but for health checks (operations/health.py)."""

from django.contrib import admin
from django.urls import include, path

admin.site.site_header = admin.site.site_title = "voxbilling"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("webhooks.urls")),
    path("api/billing/", include("wallets.api.urls")),
]
