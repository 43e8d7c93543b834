"""The addresses of wallets, below /api/billing/."""

from django.urls import path

from wallets.api import views
from wallets.api.recharge import AutoRechargeView

urlpatterns = [
    path("wallet", views.WalletView.as_view()),
    path("wallet/topup", views.TopUpView.as_view()),
    path("wallet/transactions", views.TransactionsView.as_view()),
    path("wallet/auto-recharge", AutoRechargeView.as_view()),
]
