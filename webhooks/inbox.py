"""The inbox: store once, process in one transaction, remember the outcome and the answer.

A message of Vapi's is known by the SHA-256 of its source and raw body, an event of Stripe's by its
id, since Stripe words it anew with each delivery. An error is recorded outside the transaction that
it broke, retried with growing pauses, and then shown to staff, who can replay it.
"""

import hashlib
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, IntegrityError
from django.utils import timezone

from calls import lifecycle
from calls.outcomes import Outcome
from calls.secrets import decrypt_control_url, encrypt_control_url
from voxbilling import logs, untrusted
from voxbilling.counts import WEBHOOK_FAILURES, WEBHOOK_MESSAGES, timed
from voxbilling.storable_text import storable
from wallets.payments import chargebacks, refunds, stripe_client, topups
from wallets.payments.facts import DisputeNews, Failure, Heard, RefundedTotal, RefundNews
from webhooks import stripe_events, vapi_messages
from webhooks.models import WebhookEvent
from webhooks.patience import transaction_in_time

logger = structlog.get_logger(__name__)

Source = WebhookEvent.Source
Status = WebhookEvent.Status

# What nobody tries again, unless staff do.
GIVEN_UP = (Status.FAILED, Status.UNUSABLE)

# A message that was stored and never processed, because the process died, is picked up after this.
FIRST_RETRY = timedelta(seconds=30)
LONGEST_RETRY = timedelta(hours=1)
MAX_ATTEMPTS = 12
RETRIES_PER_SWEEP = 500

# Others are counted together: their names come from outside, and each would be kept for ever.
_COUNTED_TYPES = {
    *("assistant-request", "status-update", "end-of-call-report"),
    *stripe_events.TYPES,
}

# What Vapi says to the caller when something is wrong on our side.
SOMETHING_WRONG = {"error": "This number cannot take calls at the moment. Please try again later."}


def receive_vapi(raw_body: bytes) -> dict[str, Any] | None:
    """Store and process a message from Vapi; returns what to answer, or None for nothing.

    A message that was received before is answered as it was then. Raises MalformedBody if the body
    is not JSON, and DatabaseError if it could not be stored: then Vapi has to send it again.
    An assistant-request is always answered, since a caller is waiting.
    """
    received_at = timezone.now()
    picked = vapi_messages.pick(untrusted.load(raw_body))
    message = picked.storable.get("message", {})
    logs.learn(vapi_call_id=message.get("call", {}).get("id"))
    event = _event(
        Source.VAPI,
        identity=raw_body,
        kind=message.get("type", ""),
        vapi_call_id=message.get("call", {}).get("id", ""),
        payload=picked.storable,
        control_url_encrypted=encrypt_control_url(picked.control_url),
        received_at=received_at,
    )
    try:
        return _store_and_process(event)
    except DatabaseError:
        if _caller_waits(event):
            logger.exception("assistant_request_not_stored")
            return SOMETHING_WRONG
        raise


def receive_stripe(document: object) -> None:
    """Store and process an event of Stripe's, whose signature was verified or that we fetched.

    Raises MalformedBody if it names no id, and DatabaseError if it could not be stored: then it has
    to be sent again.
    """
    payload = stripe_events.pick(document)
    if "id" not in payload:
        raise untrusted.MalformedBody("The body is no event of Stripe's: it has no id.")
    event = _event(
        Source.STRIPE,
        identity=payload["id"].encode(),
        kind=payload.get("type", ""),
        payload=payload,
        received_at=timezone.now(),
    )
    _store_and_process(event)


def process(event_id: UUID) -> dict[str, Any] | None:
    """Process a stored message, unless that has been done; returns the answer.

    Errors are recorded on the event and not raised, except that of recording one.
    """
    logs.learn(event_id=event_id)
    try:
        try:
            return _process_once(event_id)
        except IntegrityError:
            # Another message of the same new call was processed at the same moment.
            return _process_once(event_id)
    except Exception as error:
        logger.exception("webhook_failed")
        WEBHOOK_FAILURES.add()
        return _record_failure(event_id, error)


def retry_due_events() -> int:
    """Process the messages that are due for another attempt; returns how many were tried."""
    due = (
        WebhookEvent.objects.filter(status=Status.PENDING, next_attempt_at__lte=timezone.now())
        .order_by("next_attempt_at")
        .values_list("pk", flat=True)[:RETRIES_PER_SWEEP]
    )
    for event_id in due:
        try:
            with logs.about(event_id=event_id):
                process(event_id)
        except Exception:
            # Not even its error could be recorded. It stays due, and the others have their turn.
            logger.exception("webhook_not_retried", event_id=str(event_id))
    return len(due)


def replay(event_id: UUID) -> dict[str, Any] | None:
    """Process a message once more, whatever became of it before; for staff.

    Safe for a message that was processed: a call is authorized once and settled once, and a payment
    is credited once.
    """
    make_due(event_id)
    return process(event_id)


def make_due(event_id: UUID) -> None:
    """Have a message processed once more, by whoever comes first."""
    WebhookEvent.objects.filter(pk=event_id).update(
        status=Status.PENDING, next_attempt_at=timezone.now(), attempts=0
    )


def set_aside(event_id: UUID, *, outcome: str) -> None:
    """Count a message that was given up as done with; `outcome` says by whom and why.

    It is then deleted in its time, and can be replayed until then.
    """
    WebhookEvent.objects.filter(pk=event_id, status__in=GIVEN_UP).update(
        status=Status.PROCESSED, outcome=outcome[:500], processed_at=timezone.now()
    )


def _event(source: Source, *, identity: bytes, kind: str, **fields: Any) -> WebhookEvent:
    digest = hashlib.sha256(f"{source}:".encode() + identity)
    return WebhookEvent(
        # The same for the same message, so a duplicate needs no look-up.
        id=UUID(bytes=digest.digest()[:16]),
        source=source,
        digest=digest.hexdigest(),
        type=kind[:100],
        next_attempt_at=fields["received_at"] + FIRST_RETRY,
        **fields,
    )


def _store_and_process(event: WebhookEvent) -> dict[str, Any] | None:
    kind = event.type if event.type in _COUNTED_TYPES else "other"
    with timed(WEBHOOK_MESSAGES, event.source, kind):
        return process(_store(event))


@transaction_in_time()
def _store(event: WebhookEvent) -> UUID:
    # A duplicate is no error: whoever came first has stored it.
    WebhookEvent.objects.bulk_create([event], ignore_conflicts=True)
    return event.pk


@transaction_in_time()
def _process_once(event_id: UUID) -> dict[str, Any] | None:
    event = _lock_event(event_id)
    if event.status != Status.PENDING:
        return event.answer
    outcome = _handle_vapi(event) if event.source == Source.VAPI else _handle_stripe(event)
    event.status = Status.PROCESSED if outcome.usable else Status.UNUSABLE
    event.organization_id = outcome.organization_id
    event.outcome = outcome.text[:500]
    event.answer = outcome.answer
    event.attempts += 1
    event.next_attempt_at = None
    event.control_url_encrypted = ""
    event.processed_at = timezone.now()
    event.save()
    return outcome.answer


def _handle_vapi(event: WebhookEvent) -> Outcome:
    received_at = event.received_at
    message = vapi_messages.read(event.payload, decrypt_control_url(event.control_url_encrypted))
    match message:
        case vapi_messages.AssistantRequest():
            return lifecycle.authorize(
                message.call, sent_at=message.sent_at, received_at=received_at
            )
        case vapi_messages.StatusUpdate():
            return lifecycle.progress(
                message.call,
                status=message.status,
                ended_reason=message.ended_reason,
                occurred_at=message.occurred_at,
                received_at=received_at,
            )
        case vapi_messages.EndOfCallReport():
            return lifecycle.settle(
                message.call,
                ended_reason=message.ended_reason,
                started_at=message.started_at,
                ended_at=message.ended_at,
                duration_seconds=message.duration_seconds,
                cost_usd=message.cost_usd,
                received_at=received_at,
            )
        case vapi_messages.NotNeeded():
            return Outcome(text=message.reason)
        case vapi_messages.Unusable():
            # A caller who waits is answered, also when nobody can tell which call it is.
            answer = SOMETHING_WRONG if _caller_waits(event) else None
            return Outcome(text=message.reason, usable=False, answer=answer)


def _handle_stripe(event: WebhookEvent) -> Outcome:
    heard = _hear(stripe_events.read(event.payload))
    return Outcome(text=heard.text, usable=heard.usable, organization_id=heard.organization_id)


def _hear(message: stripe_events.Event) -> Heard:
    if message.is_live != stripe_client.is_live():
        kind = "live" if message.is_live else "test"
        return Heard(
            text=f"A {kind} event, and our key is for the other mode: nothing was done.",
            usable=False,
        )
    match message.fact:
        case stripe_events.Paid(payment):
            return topups.credit(payment)
        case stripe_events.Processing(payment):
            return topups.processing(payment)
        case Failure() as failure:
            return topups.failed(failure)
        case stripe_events.Expired(topup_id):
            return topups.expired(topup_id)
        case RefundedTotal() as total:
            return chargebacks.refunded_at_stripe(total)
        case DisputeNews() as dispute:
            return chargebacks.disputed(dispute)
        case RefundNews() as refund:
            return refunds.heard(refund)
        case stripe_events.NotNeeded(reason):
            return Heard(text=reason)
        case stripe_events.Unusable(reason):
            return Heard(text=reason, usable=False)


@transaction_in_time()
def _record_failure(event_id: UUID, error: Exception) -> dict[str, Any] | None:
    """Remember what went wrong, and when to try again; returns the answer.

    A caller who was told that something is wrong has hung up: an assistant-request is not tried
    again, so that no hold is made for a call that does not exist.
    """
    event = _lock_event(event_id)
    if event.status != Status.PENDING:
        return event.answer
    event.attempts += 1
    event.last_error = storable(f"{type(error).__name__}: {error}"[:2000])
    caller_waits = _caller_waits(event)
    if caller_waits:
        event.answer = SOMETHING_WRONG
    if caller_waits or event.attempts >= MAX_ATTEMPTS:
        event.status = Status.FAILED
        event.next_attempt_at = None
        event.control_url_encrypted = ""
    else:
        pause = min(FIRST_RETRY * 2 ** (event.attempts - 1), LONGEST_RETRY)
        event.next_attempt_at = timezone.now() + pause
    event.save()
    return event.answer


def _caller_waits(event: WebhookEvent) -> bool:
    """Whether a caller hears the answer to such a message, or silence."""
    return event.source == Source.VAPI and event.type == "assistant-request"


def _lock_event(event_id: UUID) -> WebhookEvent:
    return WebhookEvent.objects.select_for_update(no_key=True).get(pk=event_id)
