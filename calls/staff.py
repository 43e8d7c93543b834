"""What staff do about calls: decide what one in review is charged for, or ask Vapi now."""

from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib.auth.models import AbstractUser
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminRadioSelectWidget

from calls import identity, reconciliation, review
from calls.models import Call, UnbilledCall
from telephony.models import VAPI_MAX_DURATION_SECONDS
from telephony.vapi_calls import CallRecord, VapiRequestFailed, get_call
from wallets import audit
from wallets.locks import lock_organization
from wallets.models import Organization
from wallets.staff.commands import Facts, Refused, SetAside, StaffCommand

MOST_ASKED_AT_ONCE = 10


class CallCommand(StaffCommand):
    """A command on a call, which may charge its organization's wallet."""

    permission = "calls.change_call"

    def lock(self, target_pk: Any) -> Call:
        found = Call.objects.only("organization_id").get(pk=target_pk)
        organization = lock_organization(found.organization_id)
        call = Call.objects.select_for_update(no_key=True).get(pk=target_pk)
        call.organization = organization
        return call

    def facts(self, target: Any) -> Facts:
        return {
            "state": target.state.label,
            "duration_seconds": target.duration_seconds,
            "charged_pence": target.charged_pence,
            "uncollected_pence": target.uncollected_pence,
            **audit.wallet_facts(target.organization),
        }


class Settle(CallCommand):
    """What staff charge a call in review for."""

    action = "settle call in review"
    title = "Settle"
    button = "Settle it"
    icon = "gavel"
    explanation = (
        "The call is charged once, at what you choose, and what Vapi reports later changes nothing."
    )
    refusals: ClassVar = (*StaffCommand.refusals, review.NotInReview)

    field_order = ["charge", "duration_seconds", "reason"]
    charge = forms.ChoiceField(
        choices=[
            ("reported", "the reported duration"),
            ("given", "the seconds below"),
            ("nothing", "nothing: it is settled at 0"),
        ],
        widget=UnfoldAdminRadioSelectWidget,
    )
    duration_seconds = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=VAPI_MAX_DURATION_SECONDS,
        widget=UnfoldAdminIntegerFieldWidget,
    )

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return bool(target.review_reason)

    def act(self, target: Any, user: AbstractUser, _key: UUID) -> None:
        review.settle(
            call_pk=target.pk,
            duration_seconds=self._seconds(target),
            reason=self.cleaned_data["reason"],
            staff_name=user.get_username(),
        )

    def _seconds(self, call: Call) -> int:
        """The duration that was chosen. Raises Refused if there is none."""
        chosen = {
            "reported": call.duration_seconds,
            "given": self.cleaned_data["duration_seconds"],
            "nothing": 0,
        }[self.cleaned_data["charge"]]
        if chosen is None:
            raise Refused("No such duration is known: enter the seconds to charge for.")
        seconds: int = chosen
        return seconds


class SetCallAside(SetAside, CallCommand):
    action = "set call aside"

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return super().applies_to(target) and not target.review_reason

    def act(self, target: Any, user: AbstractUser, key: UUID) -> None:
        if target.review_reason:
            raise Refused("This call is held for review: settle it.")
        super().act(target, user, key)


class AsksVapi(StaffCommand):
    """Vapi is asked before anything is locked, and what it answers is done under the lock."""

    refusals: ClassVar = (*StaffCommand.refusals, VapiRequestFailed)
    most_at_once = MOST_ASKED_AT_ONCE

    record: CallRecord
    outcome: str = ""

    def ask(self, vapi_call_id: str) -> None:
        self.record = get_call(vapi_call_id)
        self.outcome = ""


class SettleFromVapi(AsksVapi, CallCommand):
    action = "settle from Vapi"
    title = "Settle from Vapi"
    button = "Do what Vapi's record says"
    icon = "cloud_download"
    explanation = "Vapi is asked for its record of the call now, and what it says is done."

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return bool(target.announced_by_vapi and target.vapi_call_id)

    def prepare(self, target_pk: Any) -> None:
        call = Call.objects.get(pk=target_pk)
        if not self.applies_to(call):
            raise Refused("Vapi never announced this call, and so has no record of it.")
        self.ask(str(call.vapi_call_id))

    def facts(self, target: Any) -> Facts:
        return {**super().facts(target), "vapis_record": self.outcome}

    def act(self, _target: Any, _user: AbstractUser, _key: UUID) -> None:
        self.outcome = reconciliation.apply(self.record).text


class BillNow(AsksVapi):
    action = "bill unbilled call"
    title = "Bill now"
    button = "Bill it"
    permission = "calls.change_unbilledcall"
    icon = "receipt_long"
    explanation = "Vapi is asked for its record now, and who pays for the call is looked for again."

    payer: Organization | None = None

    def prepare(self, target_pk: Any) -> None:
        self.ask(str(target_pk))

    def lock(self, target_pk: Any) -> UnbilledCall:
        payer = identity.find_call(str(target_pk)) or identity.find_payer(
            reconciliation.reference_to(self.record)
        )
        self.payer = lock_organization(payer.organization_id) if payer else None
        found = UnbilledCall.objects.filter(pk=target_pk).first()
        return found or UnbilledCall(pk=target_pk)

    def facts(self, target: Any) -> Facts:
        call = Call.objects.filter(vapi_call_id=target.pk).first()
        return {
            "bill": "" if call else target.reason,
            "outcome": self.outcome,
            "charged_pence": call.charged_pence if call else None,
            "uncollected_pence": call.uncollected_pence if call else 0,
            **(audit.wallet_facts(self.payer) if self.payer else {}),
        }

    def organization_id(self) -> UUID | None:
        return self.payer.pk if self.payer else None

    def act(self, _target: Any, _user: AbstractUser, _key: UUID) -> None:
        self.outcome = reconciliation.bill_unbilled(self.record).text


class NobodyPays(StaffCommand):
    action = "leave call unbilled"
    title = "Nobody pays"
    button = "Leave it unbilled"
    permission = "calls.change_unbilledcall"
    icon = "money_off"
    explanation = "The call costs no customer anything, and is shown no longer. The log keeps it."
    most_at_once = 50

    def lock(self, target_pk: Any) -> UnbilledCall:
        found = UnbilledCall.objects.select_for_update().filter(pk=target_pk).first()
        return found or UnbilledCall(pk=target_pk, reason="")

    def facts(self, target: Any) -> Facts:
        fields = ("reason", "type", "phone_number", "started_at", "ended_at", "vapi_cost_usd")
        return {name: getattr(target, name) for name in fields}

    def act(self, target: Any, _user: AbstractUser, _key: UUID) -> None:
        if not target.reason:
            raise Refused("This call was billed or set aside meanwhile.")
        UnbilledCall.objects.filter(pk=target.pk).delete()
