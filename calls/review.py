"""Calls whose record cannot be believed: nothing is charged blindly, and nothing is forgotten.

Such a call keeps its hold. It is settled when staff decide, or when Vapi's record can be believed
after all.
"""

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from calls import asking
from calls.charging import charge
from calls.models import Call
from wallets.locks import lock_organization


class NotInReview(Exception):
    """The call is not, or no longer, held for review."""

    def __init__(self) -> None:
        super().__init__("This call is not held for review: it may have been settled meanwhile.")


def hold(call: Call, reason: str) -> None:
    """Leave it to staff what an ended call is charged for; the caller locks and saves it."""
    call.review_reason = reason[:500]
    call.add_attention(reason)
    asking.ask_again(call)


def waiting() -> QuerySet[Call]:
    """The calls that staff have to decide on."""
    return Call.objects.exclude(review_reason="")


@transaction.atomic
def settle(*, call_pk: UUID, duration_seconds: int, reason: str, staff_name: str) -> Call:
    """Charge a call that is held for review as staff decide, in whole seconds; 0 is nothing.

    What Vapi reports of it later changes nothing. Raises NotInReview, and ValueError for a
    duration that no call has.
    """
    if not reason.strip():
        raise ValueError("Say why, so that others can understand it later.")
    found = Call.objects.only("organization_id").get(pk=call_pk)
    lock_organization(found.organization_id)
    call = Call.objects.select_for_update(no_key=True).get(pk=call_pk)
    if not call.review_reason:
        raise NotInReview
    call.review_decision = f"{duration_seconds} s, by {staff_name}: {reason}"[:600]
    charge(call, duration_seconds, Call.SettledFrom.STAFF)
    call.duration_seconds = duration_seconds
    call.save()
    return call
