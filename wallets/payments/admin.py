"""Staff's view of payments. What was done is read-only; a refund is a command on a top-up."""

from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.auth.models import AbstractUser
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from voxbilling.admin import ReadOnlyAdmin
from wallets import audit
from wallets.models import Dispute, PaymentProfile, Refund, TopUp
from wallets.payments import refunds
from wallets.payments.finding import lock_topup
from wallets.staff.commands import Facts, SetAside, StaffCommand
from wallets.staff.money import AmountField
from wallets.staff.pages import ReadOnlyCommands


class TopUpCommand(StaffCommand):
    """A command on a top-up, under the lock of its organization."""

    def lock(self, target_pk: Any) -> TopUp:
        organization, topup = lock_topup(TopUp.objects.get(pk=target_pk))
        topup.organization = organization
        return topup


class SetTopUpAside(SetAside, TopUpCommand):
    action = "set payment aside"
    permission = "wallets.move_money"


class GiveBack(TopUpCommand):
    action = "refund"
    title = "Refund"
    button = "Refund it"
    permission = "wallets.add_refund"
    icon = "currency_exchange"
    explanation = (
        "The money is taken from the wallet, and goes back to the card that paid. A suspended "
        "organization's money can be refunded, too."
    )
    refusals: ClassVar = (*StaffCommand.refusals, refunds.RefundNotAllowed)

    field_order = ["amount_pence", "reason"]
    amount_pence = AmountField(label="Amount in pounds")
    reason = forms.CharField(
        max_length=refunds.MAX_REASON_LENGTH,
        widget=UnfoldAdminTextInputWidget,
        help_text="Why. It is kept, and shown to other staff.",
    )

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return bool(target.is_paid)

    def facts(self, target: Any) -> Facts:
        return {
            "can_be_refunded_pence": refunds.refundable_pence(target),
            **audit.wallet_facts(target.organization),
        }

    def act(self, target: Any, user: AbstractUser, key: UUID) -> None:
        refunds.debit(
            refund_id=key,
            topup_id=target.pk,
            requested_by_id=user.pk,
            amount_pence=self.cleaned_data["amount_pence"],
            reason=self.cleaned_data["reason"],
        )

    def follow(self, target_pk: Any) -> str:
        made = refunds.ask_for(self.key_for(target_pk))
        return f"Stripe: {made.get_status_display()}. {made.failure}"


class NeedsAttention(admin.SimpleListFilter):
    title = "attention"
    parameter_name = "attention"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("yes", "Needs attention")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[TopUp]) -> QuerySet[TopUp]:
        return queryset.exclude(attention="") if self.value() == "yes" else queryset


@admin.register(TopUp)
class TopUpAdmin(ReadOnlyCommands):
    commands = [GiveBack, SetTopUpAside]
    latest_columns = ["created_at", "origin", "amount_pence", "status", "refunded_pence"]
    list_display = [
        "created_at",
        "organization",
        "origin",
        "amount_pence",
        "status",
        "refunded_pence",
        "stripe_refunded_pence",
        "clawed_back_pence",
        "failure_code",
        "attention",
    ]
    list_filter = [NeedsAttention, "status", "origin"]
    list_select_related = ["organization"]
    ordering = ["-created_at"]
    search_fields = [
        "id",
        "stripe_payment_intent_id",
        "stripe_checkout_session_id",
        "organization__name__istartswith",
    ]

    def initial_of(self, command: Any, target: Any) -> dict[str, Any]:
        if command is not GiveBack:
            return {}
        return {"amount_pence": refunds.refundable_pence(target)}


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "organization",
        "amount_pence",
        "status",
        "requested_by",
        "reason",
        "stripe_refund_id",
        "failure",
        "work_attempts",
    ]
    list_filter = ["status"]
    list_select_related = ["organization", "requested_by"]
    ordering = ["-created_at"]
    search_fields = ["id", "stripe_refund_id", "topup", "organization__name__istartswith"]


@admin.register(Dispute)
class DisputeAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "organization",
        "amount_pence",
        "reason",
        "withdrawn_at",
        "reinstated_at",
        "is_given_back",
        "stripe_dispute_id",
    ]
    list_filter = ["is_given_back"]
    list_select_related = ["organization"]
    ordering = ["-created_at"]
    search_fields = ["id", "stripe_dispute_id", "topup", "organization__name__istartswith"]


@admin.register(PaymentProfile)
class PaymentProfileAdmin(ReadOnlyAdmin):
    list_display = [
        "organization",
        "stripe_customer_id",
        "card_brand",
        "card_last4",
        "card_saved_at",
        "declines_in_a_row",
        "recharge_not_before",
    ]
    list_select_related = ["organization"]
    search_fields = ["stripe_customer_id", "organization__name__istartswith"]
