"""Messages that are long done are deleted, and one that comes again after that changes nothing."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls.models import Call
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import START, Vapi, after
from tests.webhooks.vapi_payloads import VapiCall
from voxbilling.operations.tasks import purge_sessions
from wallets.models import CreditReservation, CreditTransaction, Organization
from webhooks import purge
from webhooks.models import WebhookEvent
from webhooks.tasks import purge_webhook_events

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def event(number, *, status="processed", processed_at, **fields):
    return WebhookEvent.objects.create(
        source="vapi",
        digest=f"{number:064}",
        payload={},
        status=status,
        received_at=processed_at,
        processed_at=processed_at,
        **fields,
    )


def test_what_was_processed_before_the_days_that_are_kept_is_deleted(settings):
    settings.WEBHOOK_EVENT_RETENTION_DAYS = 7
    now = timezone.now()
    old = event(1, processed_at=now - 8 * DAY)
    kept = [
        event(2, processed_at=now - 6 * DAY),
        event(3, status="failed", processed_at=now - 800 * DAY),
        event(4, status="unusable", processed_at=now - 800 * DAY),
        event(5, status="pending", processed_at=now - 800 * DAY, next_attempt_at=now),
    ]

    assert purge_webhook_events() == 1

    assert not WebhookEvent.objects.filter(pk=old.pk).exists()
    assert WebhookEvent.objects.count() == len(kept)


def test_a_sweep_deletes_batches_and_leaves_the_rest_to_the_next(monkeypatch):
    monkeypatch.setattr(purge, "EVENTS_PER_BATCH", 2)
    monkeypatch.setattr(purge, "BATCHES_PER_SWEEP", 2)
    for number in range(5):
        event(number, processed_at=timezone.now() - (100 + number) * DAY)

    assert purge.purge_events() == 4
    # The oldest went first.
    assert WebhookEvent.objects.get().digest == f"{0:064}"
    assert purge.purge_events() == 1
    assert purge.purge_events() == 0


def test_what_is_purged_is_found_by_its_index():
    with CaptureQueriesContext(connection) as captured:
        purge.purge_events()
    (query,) = [each["sql"] for each in captured if "FOR UPDATE" in each["sql"]]
    with connection.cursor() as cursor:
        # Of a few rows the planner would as soon sort what another index finds.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {query}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "idx_webhook_events_done" in plan
    assert "Sort" not in plan


def figures():
    """All that money is."""
    return [
        list(model.objects.order_by("pk").values())
        for model in (Organization, CreditReservation, CreditTransaction)
    ]


def test_a_call_whose_messages_come_again_after_the_purge_is_not_charged_again(
    vapi: Vapi, clock
) -> None:
    number = PhoneNumberFactory(organization=OrganizationFactory(funded_pence=1000))
    call = VapiCall(number=number)
    messages = [
        call.assistant_request(START),
        call.status("in-progress", after(1)),
        call.ended(after(62)),
        call.report(after(1), after(62)),
    ]
    for message in messages:
        vapi.send(message)
    before = figures()
    assert CreditTransaction.objects.filter(type="call_deduction").count() == 1
    WebhookEvent.objects.update(processed_at=START - 100 * DAY)
    assert purge.purge_events() == len(messages)

    # Years later too, and in any order.
    for days in (0, 1, 400):
        clock.at(days * 86_400 + 100)
        for message in (*messages, *reversed(messages)):
            vapi.send(message)
            WebhookEvent.objects.all().delete()

    assert figures() == before
    assert Call.objects.count() == 1


def test_sessions_that_have_expired_are_deleted():
    now = timezone.now()
    for key, expires_at in (("old", now - DAY), ("live", now + DAY)):
        Session.objects.create(session_key=key, session_data="", expire_date=expires_at)

    assert purge_sessions() == 1
    assert Session.objects.get().session_key == "live"
