"""The addresses of providers' webhooks."""

from django.urls import path

from webhooks import views

urlpatterns = [
    path("vapi/webhook", views.vapi_webhook),
    path("vapi/webhook/status-check", views.status_check),
    path("vapi/webhook/health", views.health),
    path("stripe/webhook", views.stripe_webhook),
]
