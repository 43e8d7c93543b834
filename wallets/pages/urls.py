"""The addresses of customers' pages about their wallet."""

from django.contrib.auth.views import (
    LoginView,
    LogoutView,
    PasswordChangeDoneView,
    PasswordResetCompleteView,
    PasswordResetDoneView,
)
from django.urls import path
from django.views.generic import RedirectView

from voxbilling.sign_in import SignInForm
from wallets.pages import organizations, passwords, settings, statements, views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="wallet")),
    path(
        "sign-in/",
        LoginView.as_view(authentication_form=SignInForm, redirect_authenticated_user=True),
        name="sign-in",
    ),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("password/", passwords.ChangeView.as_view(), name="password_change"),
    path("password/done/", PasswordChangeDoneView.as_view(), name="password_change_done"),
    path("password-reset/", passwords.ResetView.as_view(), name="password_reset"),
    path("password-reset/sent/", PasswordResetDoneView.as_view(), name="password_reset_done"),
    path(
        "password-reset/<uidb64>/<token>/",
        passwords.ConfirmView.as_view(),
        name="password_reset_confirm",
    ),
    path(
        "password-reset/done/", PasswordResetCompleteView.as_view(), name="password_reset_complete"
    ),
    path("organizations/", organizations.choose, name="choose-organization"),
    path("wallet/", views.wallet, name="wallet"),
    path("wallet/transactions/", views.transactions, name="transactions"),
    path("wallet/transactions/<uuid:entry_id>/", views.entry, name="entry"),
    path("wallet/statements/", statements.months, name="statements"),
    path("wallet/statements/<str:month>/", statements.statement, name="statement"),
    path("wallet/statement.csv", statements.statement_csv, name="statement-csv"),
    path("wallet/top-up/", views.top_up, name="top-up"),
    path("wallet/top-up/<uuid:topup_id>/", views.top_up_status, name="top-up-status"),
    path("wallet/auto-recharge/", settings.auto_recharge, name="auto-recharge"),
    path("wallet/auto-recharge/forget-card/", settings.forget_card, name="forget-card"),
    path("wallet/e-mails/", settings.alerts, name="alerts"),
]
