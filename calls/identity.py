"""Which call a message means, and who pays for it.

A call has one identity: an id matches `vapi_call_id` first, then `call_id`. Its organization is
fixed when it is first seen: by the phone number's Vapi id, then its number, then the assistant.
Metadata never decides who pays: anybody who can start a call can set it.
"""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet

from calls.models import Call
from calls.references import CallReference
from calls.secrets import encrypt_control_url
from telephony import selectors as telephony
from telephony.models import Assistant, PhoneNumber
from wallets.locks import lock_organization
from wallets.models import Organization


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
    """Lock the call that a message means, recording it if it was never seen before.

    None if nobody is known who would pay for it. Raises IntegrityError if the same new call was
    recorded for another organization at this moment; a second try finds it there.
    """
    seen = find_call(reference.vapi_call_id)
    payer = None if seen else find_payer(reference)
    if seen is not None:
        organization = lock_organization(seen.organization_id)
    elif payer is not None:
        organization = lock_organization(payer.organization_id)
    else:
        return None
    # Looked up under the lock: another message of this call may have recorded it meanwhile.
    calls = lock_calls(Call.objects.filter(organization=organization))
    call = _by_id(calls, reference.vapi_call_id)
    if call is None and payer is not None:
        call = _record(reference, payer)
    if call is None:
        return None
    if reference.control_url and not call.is_over:
        call.control_url_encrypted = encrypt_control_url(reference.control_url)
    return LockedCall(call=call, organization=organization)


def lock_calls(calls: QuerySet[Call]) -> QuerySet[Call]:
    """Calls to be locked, after their organizations, with what authorizing them takes."""
    locked = calls.select_for_update(no_key=True, of=["self"])
    return locked.select_related("phone_number__assistant", "assistant")


def find_payer(reference: CallReference) -> Payer | None:
    """Who pays for a call that was never seen before; None if nobody is known."""
    number = telephony.find_phone_number(
        vapi_phone_number_id=reference.vapi_phone_number_id, number=reference.phone_number
    )
    assistant = telephony.find_assistant(reference.vapi_assistant_id)
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


def _record(reference: CallReference, payer: Payer) -> Call:
    return Call.objects.create(
        organization_id=payer.organization_id,
        call_id=reference.vapi_call_id,
        vapi_call_id=reference.vapi_call_id,
        type=reference.call_type or "",
        phone_number=payer.phone_number,
        assistant=payer.assistant,
        attention=payer.disagreement,
    )


def _by_id(calls: QuerySet[Call], vapi_call_id: str) -> Call | None:
    found = calls.filter(Q(vapi_call_id=vapi_call_id) | Q(call_id=vapi_call_id))
    return min(found, key=lambda call: call.vapi_call_id != vapi_call_id, default=None)
