"""What staff do to wallets. Each is one command of the ledger's."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.models import AbstractUser
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminTextInputWidget

from wallets import audit, ledger
from wallets.locks import lock_organization
from wallets.models import CreditReservation, Organization
from wallets.pages.forms import PoundsField
from wallets.staff.commands import Facts, OrganizationCommand, Refused, StaffCommand


class AmountField(PoundsField):
    """An amount in pounds, above 0 unless told otherwise."""

    def __init__(self, *, lowest_pence: int = 1, **options: Any) -> None:
        self.lowest_pence = lowest_pence
        widget = UnfoldAdminTextInputWidget({"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(widget=widget, **options)

    def clean(self, value: Any) -> Any:
        pence = super().clean(value)
        if pence < self.lowest_pence:
            raise forms.ValidationError("Enter an amount above 0.")
        return pence


class Adjust(OrganizationCommand):
    action = "adjust"
    title = "Credit or debit"
    button = "Adjust the balance"
    permission = "wallets.move_money"
    icon = "exposure"
    explanation = "A debit takes what is not held for calls, and no more than that."

    field_order = ["direction", "amount_pence", "reason"]
    direction = forms.ChoiceField(
        choices=[("credit", "Credit: pay in"), ("debit", "Debit: take out")],
        widget=UnfoldAdminRadioSelectWidget,
    )
    amount_pence = AmountField(label="Amount in pounds")

    def asked(self) -> Facts:
        sign = 1 if self.cleaned_data["direction"] == "credit" else -1
        return {"change_pence": sign * self.cleaned_data["amount_pence"]}

    def act(self, target: Any, user: AbstractUser, key: UUID) -> None:
        ledger.adjust_balance(
            organization_id=target.pk,
            reason=self.cleaned_data["reason"],
            idempotency_key=str(key),
            created_by_id=user.pk,
            **self.asked(),
        )


class SetDebtLimit(OrganizationCommand):
    action = "set debt limit"
    title = "Debt limit"
    button = "Set the debt limit"
    permission = "wallets.move_money"
    icon = "credit_score"
    explanation = "How far below £0 calls may take the effective balance. Assets may not."

    field_order = ["debt_limit_pence", "reason"]
    debt_limit_pence = AmountField(label="Debt limit in pounds", lowest_pence=0)

    def act(self, target: Any, _user: AbstractUser, _key: UUID) -> None:
        ledger.set_debt_limit(organization_id=target.pk, **self.asked())


class Recover(OrganizationCommand):
    action = "recover"
    title = "Recover what is owed"
    button = "Recover it"
    permission = "wallets.move_money"
    icon = "undo"
    explanation = "What is owed is paid from what is not held for calls."

    field_order = ["amount_pence", "reason"]
    amount_pence = AmountField(label="Amount in pounds")

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return bool(target.owed_pence)

    def act(self, target: Any, user: AbstractUser, key: UUID) -> None:
        ledger.recover_owed(
            organization_id=target.pk,
            amount_pence=self.cleaned_data["amount_pence"],
            description=self.cleaned_data["reason"],
            idempotency_key=str(key),
            created_by_id=user.pk,
        )


class WriteOff(Recover):
    action = "write off"
    title = "Write off what is owed"
    button = "Write it off"
    icon = "ink_eraser"
    explanation = "What is owed is given up. No money moves."

    def act(self, target: Any, user: AbstractUser, key: UUID) -> None:
        ledger.write_off_owed(
            organization_id=target.pk,
            amount_pence=self.cleaned_data["amount_pence"],
            reason=self.cleaned_data["reason"],
            idempotency_key=str(key),
            created_by_id=user.pk,
        )


class Suspend(OrganizationCommand):
    action = "suspend"
    title = "Suspend"
    button = "Suspend"
    permission = "wallets.suspend_organization"
    icon = "pause_circle"
    explanation = (
        "No new call, no extension, no asset. Its live calls are ended by the next sweep, within "
        "seconds."
    )
    most_at_once = 50

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return not target.is_suspended

    def act(self, target: Any, _user: AbstractUser, _key: UUID) -> None:
        if target.is_suspended:
            raise Refused(f"{target} is suspended already.")
        ledger.suspend_organization(organization_id=target.pk)


class Resume(OrganizationCommand):
    action = "resume"
    title = "Resume"
    button = "Resume"
    permission = "wallets.suspend_organization"
    icon = "play_circle"
    explanation = "Calls and assets are possible again, as far as the wallet reaches."
    most_at_once = 50

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return bool(target.is_suspended)

    def act(self, target: Any, _user: AbstractUser, _key: UUID) -> None:
        if not target.is_suspended:
            raise Refused(f"{target} is not suspended.")
        ledger.resume_organization(organization_id=target.pk)


class ReleaseHold(StaffCommand):
    action = "release hold"
    title = "Release the hold"
    button = "Release it"
    permission = "wallets.move_money"
    icon = "lock_open"
    explanation = (
        "The money that is held for this call goes back to what others can spend. The call stays "
        "unpaid until its report comes; then it is charged all the same, and what the wallet "
        "cannot pay by then is owed."
    )

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return bool(target.is_active)

    def lock(self, target_pk: Any) -> CreditReservation:
        found = CreditReservation.objects.only("organization_id").get(pk=target_pk)
        organization: Organization = lock_organization(found.organization_id)
        hold = CreditReservation.objects.get(pk=target_pk)
        hold.organization = organization
        return hold

    def facts(self, target: Any) -> Facts:
        return {
            "hold": target.status,
            "hold_pence": target.reserved_pence if target.is_active else 0,
            **audit.wallet_facts(target.organization),
        }

    def act(self, target: Any, _user: AbstractUser, _key: UUID) -> None:
        if not target.is_active:
            raise Refused(f"This hold is {target.get_status_display()}: nothing is held by it.")
        ledger.release_reservation(call_id=target.call_id)
