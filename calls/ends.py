"""Telling Vapi to end calls, and callers that their money ends: many at the same time.

An order to end is kept in the database until Vapi has taken it; what a lost task would have sent,
the sweep finds and sends. Nothing here runs under a lock while it waits for Vapi.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from uuid import UUID

import structlog
from celery import shared_task
from django.db import transaction
from django.utils import timezone

from calls.models import Call
from calls.secrets import decrypt_control_url
from telephony.vapi_calls import ControlMessage, end_message, say_message, send_control

logger = structlog.get_logger(__name__)

# An order to end that has not been confirmed is sent again after 2, 4, 8 … seconds.
MAX_END_ATTEMPTS = 8
ENDS_PER_SWEEP = 500
# After so long Vapi is asked whether a call that it was told to end has ended.
END_TAKES_EFFECT = timedelta(seconds=15)

_NO_ADDRESS = "Vapi gave no control address for it."


@shared_task
def send_end(call_pk: str) -> None:
    """Send the order to end one call; safe to repeat."""
    send_ends([UUID(call_pk)])


def send_ends(call_pks: Iterable[UUID]) -> None:
    """Send the orders to end these calls, all at the same time; safe to repeat."""
    calls = Call.objects.filter(pk__in=list(call_pks))
    due = [call for call in calls if call.is_to_be_told_to_end]
    urls = {call.pk: decrypt_control_url(call.control_url_encrypted) for call in due}
    reachable = [(call.pk, url) for call in due if (url := urls[call.pk])]
    failures = dict.fromkeys((call.pk for call in due), _NO_ADDRESS)
    results = send_control([ControlMessage(url=url, body=end_message()) for _, url in reachable])
    failures |= {pk: failure for (pk, _), failure in zip(reachable, results, strict=True)}
    if due:
        _record(failures)


def warn(remaining_seconds: Mapping[UUID, int]) -> None:
    """Tell callers how long their money lasts; a caller who cannot be told is not told."""
    calls = Call.objects.filter(pk__in=remaining_seconds)
    urls = [(decrypt_control_url(call.control_url_encrypted), call.pk) for call in calls]
    send_control(
        [
            ControlMessage(url=url, body=say_message(_warning(remaining_seconds[pk])))
            for url, pk in urls
            if url
        ]
    )


def overdue() -> list[UUID]:
    """The calls whose order to end is due to be sent again, the longest waiting first."""
    return list(
        Call.objects.filter(end_retry_at__lte=timezone.now())
        .order_by("end_retry_at")
        .values_list("pk", flat=True)[:ENDS_PER_SWEEP]
    )


@transaction.atomic
def _record(failures: Mapping[UUID, str | None]) -> None:
    """Note for each call whether Vapi took the order, and when it is sent again if not."""
    calls = Call.objects.select_for_update(no_key=True).filter(pk__in=failures).order_by("pk")
    now = timezone.now()
    for call in calls:
        failure = failures[call.pk]
        call.end_attempts += 1
        call.end_retry_at = None
        if failure is None:
            call.end_sent_at = now
        elif call.ended_at is None:
            logger.warning("call_end_failed", call_id=call.call_id, failure=failure)
            if call.end_attempts < MAX_END_ATTEMPTS:
                call.end_retry_at = now + timedelta(seconds=2**call.end_attempts)
            else:
                call.add_attention(f"This call must end and could not be ended: {failure}")
    Call.objects.bulk_update(
        calls, ["end_attempts", "end_retry_at", "end_sent_at", "attention"]
    )


def _warning(remaining_seconds: int) -> str:
    return f"This call will end in about {remaining_seconds} seconds, as its credit is used up."
