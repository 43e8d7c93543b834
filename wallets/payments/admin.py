"""Staff's view of payments. What was done is read-only; a refund is asked for on a page."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from voxbilling.admin import ReadOnlyAdmin
from wallets import ledger
from wallets.models import Dispute, PaymentProfile, Refund, TopUp
from wallets.payments import refunds


class RefundForm(forms.Form):
    """How much is given back, and why. The id makes a form that is sent twice count once."""

    amount_pence = forms.IntegerField(min_value=1, help_text="In pence.")
    reason = forms.CharField(max_length=refunds.MAX_REASON_LENGTH, help_text="For staff.")
    refund_id = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)


class NeedsAttention(admin.SimpleListFilter):
    title = "attention"
    parameter_name = "attention"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("yes", "Needs attention")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[TopUp]) -> QuerySet[TopUp]:
        return queryset.exclude(attention="") if self.value() == "yes" else queryset


@admin.register(TopUp)
class TopUpAdmin(ReadOnlyAdmin):
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
        "=id",
        "=stripe_payment_intent_id",
        "=stripe_checkout_session_id",
        "organization__name",
    ]
    change_form_template = "admin/wallets/topup/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        page = path(
            "<uuid:topup_id>/refund/",
            self.admin_site.admin_view(self.refund),
            name="wallets_topup_refund",
        )
        return [page, *super().get_urls()]

    def refund(self, request: HttpRequest, topup_id: uuid.UUID) -> HttpResponse:
        """Ask how much and why, show what it does to the wallet, and do it once that is confirmed.

        A suspended organization's money can be refunded, too.
        """
        staff_id = request.user.pk
        if staff_id is None or not request.user.has_perm("wallets.add_refund"):
            raise PermissionDenied
        topup = get_object_or_404(TopUp.objects.select_related("organization"), pk=topup_id)
        form = RefundForm(
            request.POST or None, initial={"amount_pence": refunds.refundable_pence(topup)}
        )
        is_valid = form.is_valid()
        if is_valid and "confirmed" in request.POST:
            try:
                made = refunds.refund(
                    topup_id=topup.pk, requested_by_id=staff_id, **form.cleaned_data
                )
            except (refunds.RefundNotAllowed, ledger.LedgerError, ValueError) as refusal:
                form.add_error(None, str(refusal))
                is_valid = False
            else:
                level = (
                    messages.SUCCESS if made.status == Refund.Status.ACCEPTED else messages.WARNING
                )
                self.message_user(
                    request,
                    f"Refund of {made.amount_pence}p: {made.get_status_display()}. {made.failure}",
                    level,
                )
                return redirect(reverse("admin:wallets_refund_change", args=[made.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Refund: {topup}",
            "topup": topup,
            "organization": topup.organization,
            "refundable_pence": refunds.refundable_pence(topup),
            "form": form,
            "is_to_be_confirmed": is_valid,
            "after": _after(topup, form.cleaned_data["amount_pence"]) if is_valid else None,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/wallets/topup/refund.html", context)


def _after(topup: TopUp, amount_pence: int) -> dict[str, int]:
    """The figures that a refund would leave, in pence."""
    return {
        "balance_pence": topup.organization.balance_pence - amount_pence,
        "effective_balance_pence": topup.organization.effective_balance_pence - amount_pence,
        "refundable_pence": refunds.refundable_pence(topup) - amount_pence,
    }


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
    search_fields = ["=id", "=stripe_refund_id", "=topup__id", "organization__name"]


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
    search_fields = ["=id", "=stripe_dispute_id", "=topup__id", "organization__name"]


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
    search_fields = ["=stripe_customer_id", "organization__name"]
