"""Events of Stripe's that were not delivered: fetched, and put through the inbox like any other."""

from datetime import timedelta

import structlog
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from voxbilling import logs, untrusted
from wallets.payments import stripe_client
from webhooks import inbox, stripe_events
from webhooks.models import StripeReading

logger = structlog.get_logger(__name__)

# Stripe keeps events for 30 days, and delivers them for three.
LOOKED_BACK = timedelta(days=29)
PAGES_PER_SWEEP = 10
# Longer than a sweep takes; if one dies, the next begins after this.
LEASE = timedelta(minutes=15)


def fetch_missed_events() -> int | None:
    """Receive the events that Stripe could not deliver; returns how many it listed.

    None if the list could not be read, or somebody else reads it now.

    Bounded, and resumed by the next sweep. What was received before changes nothing.
    """
    reading = _take_reading()
    if reading is None:
        return None
    listed, is_read = 0, True
    try:
        for _ in range(PAGES_PER_SWEEP):
            events = stripe_client.list_undelivered_events(
                stripe_events.TYPES,
                since=timezone.now() - LOOKED_BACK,
                after_event_id=reading.after_event_id,
            )
            for event in events:
                _receive(event)
            listed += len(events)
            reading.after_event_id = events[-1]["id"] if events else ""
            StripeReading.objects.update(after_event_id=reading.after_event_id)
            if not events:
                break
    except stripe_client.PaymentRefused as refusal:
        is_read = False
        # The event to go on after is gone: from the begin, then.
        logger.warning("stripe_events_not_read", reason=str(refusal))
        StripeReading.objects.update(after_event_id="")
    except stripe_client.PaymentError as error:
        is_read = False
        logger.warning("stripe_events_not_read", reason=str(error))
    StripeReading.objects.update(reading_until=None)
    return listed if is_read else None


def _take_reading() -> StripeReading | None:
    """How far the list was read, if nobody reads it now."""
    now = timezone.now()
    StripeReading.objects.get_or_create(pk=StripeReading.THE_ONE)
    free = StripeReading.objects.filter(Q(reading_until=None) | Q(reading_until__lte=now))
    if not free.update(reading_until=now + LEASE):
        return None
    return StripeReading.objects.get()


def _receive(event: object) -> None:
    try:
        with logs.about():
            inbox.receive_stripe(event)
    except (untrusted.MalformedBody, DatabaseError):
        # The others have their turn, and it is listed again.
        logger.exception("stripe_event_not_received")
