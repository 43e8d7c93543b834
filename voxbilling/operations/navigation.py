"""The admin's sidebar: what staff may see, by meaning."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst

from calls.models import Appointment, Call, UnbilledCall, UpstreamDay, VapiReading
from telephony.models import Assistant, NumberOrder, PhoneNumber
from wallets.models import (
    Alert,
    CreditReservation,
    CreditTransaction,
    Dispute,
    Organization,
    PaymentProfile,
    Refund,
    StaffAction,
    TopUp,
)
from webhooks.models import StripeReading, WebhookEvent

# With the names of Material Symbols, which unfold serves itself.
_MENU: dict[str, list[tuple[type[Model], str]]] = {
    "Customers": [
        (Organization, "apartment"),
        (Alert, "mail"),
        (PaymentProfile, "credit_card"),
    ],
    "Money": [
        (CreditTransaction, "receipt_long"),
        (CreditReservation, "lock"),
        (TopUp, "savings"),
        (Refund, "currency_exchange"),
        (Dispute, "gavel"),
    ],
    "Calls": [
        (Call, "call"),
        (UnbilledCall, "money_off"),
        (UpstreamDay, "compare_arrows"),
        (VapiReading, "cloud_sync"),
        (Appointment, "event"),
    ],
    "Numbers": [
        (PhoneNumber, "dialpad"),
        (Assistant, "support_agent"),
        (NumberOrder, "shopping_cart"),
    ],
    "Webhooks": [
        (WebhookEvent, "webhook"),
        (StripeReading, "cloud_sync"),
    ],
    "People": [
        (StaffAction, "history"),
        (User, "person"),
        (Group, "group"),
    ],
}


def groups(request: HttpRequest) -> list[dict[str, Any]]:
    """unfold's description of the sidebar."""
    dashboard = {"title": "Dashboard", "icon": "dashboard", "link": reverse("admin:index")}
    menu: list[dict[str, Any]] = [{"items": [dashboard]}]
    for title, models in _MENU.items():
        seen = [
            _item(model, icon)
            for model, icon in models
            if admin.site.get_model_admin(model).has_view_permission(request)
        ]
        if seen:
            menu.append({"title": title, "separator": True, "items": seen})
    return menu


def _item(model: type[Model], icon: str) -> dict[str, Any]:
    meta = model._meta
    return {
        "title": capfirst(meta.verbose_name_plural),
        "icon": icon,
        "link": reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"),
    }
