"""Giving numbers back: first at Vapi, so that no call is answered any more, then at Twilio.

A number that staff entered by hand is not ours to give back at Twilio: staff detach it, which
leaves both providers alone.
"""

from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from telephony import leases, twilio_client, vapi_client
from telephony.models import PhoneNumber

logger = structlog.get_logger(__name__)

Status = PhoneNumber.Status


class EnteredByStaff(Exception):
    """The number was not bought here, so it cannot be given back here."""


class ReleaseInProgress(Exception):
    """The number is being released; it costs nothing any more."""


def release_number(*, organization_id: UUID | str, phone_number_id: UUID) -> PhoneNumber:
    """Release an organization's number now; one that was released is returned as it is.

    Raises PhoneNumber.DoesNotExist, EnteredByStaff, and ReleaseInProgress if a provider could not
    do it now: then the sweep does. Never called in a transaction.
    """
    numbers = PhoneNumber.objects.filter(pk=phone_number_id, organization_id=organization_id)
    with transaction.atomic(durable=True):
        number = numbers.select_for_update(no_key=True).get()
        if not number.is_bought:
            raise EnteredByStaff(
                "This number was set up by our staff: ask us to release it for you."
            )
        if number.status == Status.ACTIVE:
            begin_release(number, "Released by the customer.")
    mine = leases.take(numbers)
    if mine is not None:
        leases.do(mine, _release)
    number.refresh_from_db()
    if number.status != Status.RELEASED:
        raise ReleaseInProgress(
            "The number is being released, and costs nothing any more. Ask again to see whether "
            "it is done."
        )
    return number


@transaction.atomic
def release_by_staff(phone_number_id: UUID) -> None:
    """Have a number released by the sweep; one that staff entered is detached at once."""
    number = PhoneNumber.objects.select_for_update(no_key=True).get(pk=phone_number_id)
    if number.status == Status.ACTIVE:
        begin_release(number, "Released by staff.")


def begin_release(number: PhoneNumber, reason: str) -> None:
    """Mark an active number, whose lock the caller holds: no more rent, and the sweep releases it.

    A detached number's Vapi id can be entered for somebody else.
    """
    now = timezone.now()
    number.release_reason = reason
    number.rent_attempt_at = None
    if number.is_bought:
        number.status = Status.RELEASING
        number.work_due_at = now
        number.work_attempts = 0
    else:
        number.status = Status.RELEASED
        number.released_at = now
        number.vapi_phone_number_id = None
    number.save(
        update_fields=[
            "release_reason",
            "rent_attempt_at",
            "rent_unpaid_since",
            "status",
            "work_due_at",
            "work_attempts",
            "released_at",
            "vapi_phone_number_id",
        ]
    )
    logger.info("number_release_begun", phone_number_id=str(number.pk), reason=reason)


def resume_releases() -> int:
    """Release the numbers that wait for it; returns how many were looked at."""
    return leases.sweep(PhoneNumber.objects.all(), _release)


def _release(number: PhoneNumber) -> None:
    if number.vapi_phone_number_id is not None:
        vapi_client.release_number(number.vapi_phone_number_id)
    if number.twilio_sid is not None:
        twilio_client.release_number(number.twilio_sid)
    leases.record(
        number,
        status=Status.RELEASED,
        released_at=timezone.now(),
        work_due_at=None,
        attention="",
    )
