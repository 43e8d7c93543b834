"""The addresses of phone numbers, below /api/managed-telephony/."""

from django.urls import path

from telephony.api import views

urlpatterns = [
    path("available-numbers", views.AvailableNumbersView.as_view()),
    path("provision", views.ProvisionView.as_view()),
    path("numbers", views.NumbersView.as_view()),
    path("numbers/<uuid:phone_number_id>", views.NumberView.as_view()),
]
