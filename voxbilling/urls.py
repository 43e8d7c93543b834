"""Every address that voxbilling answers, but for health checks (operations/health.py)."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from voxbilling.api import tokens, views

admin.site.index_title = "Dashboard"

handler400 = views.bad_request
handler500 = views.server_error

urlpatterns = [
    path("", include("wallets.pages.urls")),
    path("", include("telephony.pages.urls")),
    path("", include("calls.pages.urls")),
    # Everybody's, where it is recorded if staff change theirs.
    path("admin/password_change/", RedirectView.as_view(pattern_name="password_change")),
    path("admin/", admin.site.urls),
    path("api/", include("webhooks.urls")),
    path("api/auth/token/", tokens.TokenView.as_view()),
    path("api/auth/token/refresh/", tokens.TokenRefreshView.as_view()),
    path("api/billing/", include("wallets.api.urls")),
    path("api/", include("calls.api.urls")),
    path("api/managed-telephony/", include("telephony.api.urls")),
    path("api/schema/", views.SchemaView.as_view(), name="api-schema"),
    path("api/docs/", views.DocsView.as_view()),
    re_path("^api/", views.unknown),
]
