"""Which call a message means, and who pays for it.

A call has one identity: an id matches `vapi_call_id` first, then `call_id`. Its organization is
fixed when it is first seen: by the phone number's Vapi id, then its number, then the assistant.
Metadata never decides who pays: anybody who can start a call can set it.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db.models import Q, QuerySet
from django.utils import timezone

from calls import asking
from calls.models import Call
from calls.references import CallReference
from calls.secrets import encrypt_control_url
from telephony import selectors as telephony
from telephony.models import Assistant, PhoneNumber
from voxbilling import logs
from wallets import ledger
from wallets.ledger.reservations import find_reservation
from wallets.locks import lock_organization
from wallets.models import CreditReservation, Organization

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Payer:
    """Who pays for a call, and by which of their numbers and assistants it was known."""

    organization_id: UUID
    phone_number: PhoneNumber | None
    assistant: Assistant | None
    disagreement: str = ""


@dataclass(frozen=True, kw_only=True)
class LockedCall:
    """A call and the organization that pays for it, both locked until the transaction ends."""

    call: Call
    organization: Organization


def find_call(vapi_call_id: str) -> Call | None:
    """The call with this id; nothing is locked."""
    return _by_id(Call.objects.all(), vapi_call_id)


def lock_call(reference: CallReference) -> LockedCall | None:
    """Lock the call that a message of Vapi's means, recording it if it was never seen before.

    A customer's program may have claimed the call before. The claim is honoured where Vapi's facts
    name that organization, or nobody; where they name another one, it gives up the id.

    None if nobody is known who would pay for the call. Raises IntegrityError if the same new call
    was recorded for another organization at this moment; a second try finds it there.
    """
    vapi_call_id = reference.vapi_call_id
    seen = find_call(vapi_call_id)
    is_certain = seen is not None and seen.payer_is_known and seen.vapi_call_id == vapi_call_id
    payer = None if is_certain else find_payer(reference)
    claim = seen or find_reservation(vapi_call_id)
    owners = {found.organization_id for found in (claim, payer) if found is not None}
    organizations = {owner: lock_organization(owner) for owner in sorted(owners)}
    # Looked up under the lock: another message of this call may have recorded it meanwhile.
    calls = lock_calls(Call.objects.filter(organization__in=owners))
    call = _by_id(calls, vapi_call_id)
    if call is None and claim is not None:
        claim = find_reservation(vapi_call_id)
    if not is_certain:
        call = _announce(reference, call or claim, payer)
    if call is None:
        return None
    if reference.control_url and not call.is_over:
        call.control_url_encrypted = encrypt_control_url(reference.control_url)
    log_call(call)
    return LockedCall(call=call, organization=organizations[call.organization_id])


def log_call(call: Call) -> None:
    """Have the log say from now on which call it is about, and whose."""
    logs.learn(
        call_id=call.call_id,
        vapi_call_id=call.vapi_call_id,
        organization_id=call.organization_id,
    )


def lock_calls(calls: QuerySet[Call]) -> QuerySet[Call]:
    """Calls to be locked, after their organizations, with what authorizing them takes."""
    locked = calls.select_for_update(no_key=True, of=["self"])
    return locked.select_related("phone_number__assistant", "assistant")


def find_payer(reference: CallReference) -> Payer | None:
    """Who pays for a call that was never seen before; None if nobody is known."""
    number = telephony.find_phone_number(
        vapi_phone_number_id=reference.vapi_phone_number_id, number=reference.phone_number
    )
    assistant = telephony.find_assistant(reference.vapi_squad_id) or telephony.find_assistant(
        reference.vapi_assistant_id
    )
    if number is None:
        if assistant is None:
            return None
        return Payer(
            organization_id=assistant.organization_id, phone_number=None, assistant=assistant
        )
    disagreement = ""
    if assistant is not None and assistant.organization_id != number.organization_id:
        disagreement = (
            f"The number {number} belongs to {number.organization}, the assistant {assistant} to "
            f"{assistant.organization}: the number's owner pays."
        )
        assistant = None
    return Payer(
        organization_id=number.organization_id,
        phone_number=number,
        assistant=assistant,
        disagreement=disagreement,
    )


def _announce(
    reference: CallReference, claim: Call | CreditReservation | None, payer: Payer | None
) -> Call | None:
    """The call as Vapi announces it, its organizations being locked; None if nobody pays.

    `claim` is what has the call's id so far.
    """
    attention = ""
    if claim is not None and not _may_keep(claim, reference.vapi_call_id, payer):
        attention = f"{claim.organization} had claimed the id of this call, and gave it up."
        _displace(claim, reference.vapi_call_id)
        claim = None
    owner = payer or claim
    if owner is None:
        return None
    call = claim if isinstance(claim, Call) else None
    if call is None:
        call = Call(
            organization_id=owner.organization_id,
            call_id=reference.vapi_call_id,
            attention=attention,
        )
    if not call.announced_by_vapi:
        call.announced_by_vapi = True
        call.vapi_call_id = reference.vapi_call_id
        call.type = reference.call_type or ""
        # Whether it is over Vapi knows better than the customer's program.
        call.ended_at = None
        asking.expect(call)
    if payer and payer.organization_id == call.organization_id and not call.payer_is_known:
        call.phone_number = payer.phone_number
        call.assistant = payer.assistant
        if payer.disagreement:
            call.add_attention(payer.disagreement)
    call.save()
    return call


def _may_keep(claim: Call | CreditReservation, vapi_call_id: str, payer: Payer | None) -> bool:
    """Whether a claim may keep an id that Vapi uses: for its own call, and not somebody else's."""
    if claim.vapi_call_id not in (None, vapi_call_id):
        return False
    if isinstance(claim, Call) and (claim.payer_is_known or claim.is_settled_for_good):
        return True
    return payer is None or payer.organization_id == claim.organization_id


def _displace(claim: Call | CreditReservation, vapi_call_id: str) -> None:
    given_up = ledger.give_up_call_id(call_id=vapi_call_id, organization_id=claim.organization_id)
    logger.warning(
        "call_id_given_up", call_id=given_up.call_id, organization_id=str(claim.organization_id)
    )
    if not isinstance(claim, Call):
        return
    claim.call_id = given_up.call_id
    charged = (
        f" The {claim.charged_pence}p charged for it stay charged." if claim.charged_pence else ""
    )
    claim.add_attention(f"Its id {vapi_call_id} is that of another call of Vapi's.{charged}")
    if claim.vapi_call_id == vapi_call_id:
        claim.vapi_call_id = None
        # Nothing can be heard of it any more.
        claim.end(claim.ended_at or timezone.now())
        claim.reconcile_at = None
        claim.review_reason = ""
    claim.save()


def _by_id(calls: QuerySet[Call], vapi_call_id: str) -> Call | None:
    found = calls.filter(Q(vapi_call_id=vapi_call_id) | Q(call_id=vapi_call_id))
    return min(found, key=lambda call: call.vapi_call_id != vapi_call_id, default=None)
