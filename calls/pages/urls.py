"""The addresses of customers' pages about calls."""

from django.urls import path

from calls.pages import views

urlpatterns = [
    path("calls/", views.calls, name="calls"),
    path("calls/live/", views.live, name="live-calls"),
    path("calls/find/", views.find, name="find-call"),
    path("calls/<uuid:call_pk>/", views.call, name="call"),
]
