"""The addresses of calls, below /api/."""

from django.urls import path

from calls.api import views

urlpatterns = [
    path("billing/reserve-credits", views.ReserveView.as_view()),
    path("billing/commit-credits", views.CommitView.as_view()),
    path("billing/wallet/profit", views.ProfitView.as_view()),
    path("calls", views.CallsView.as_view()),
    path("calls/<uuid:call_pk>", views.CallView.as_view()),
]
