"""The addresses of wallets, below /api/billing/."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
