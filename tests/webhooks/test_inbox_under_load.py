"""The inbox among others: the same message at once, new calls at once, locks that stay."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Barrier, Event
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from calls import lifecycle
from calls.models import Call
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import SECRET, Vapi, assert_money, client
from tests.webhooks.vapi_answer_validator import is_accepted
from tests.webhooks.vapi_payloads import VapiCall, encoded
from wallets.locks import lock_organization
from wallets.models import CreditReservation, CreditTransaction
from webhooks import inbox, patience
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)

Status = WebhookEvent.Status
THREADS = 6


@pytest.fixture
def call() -> VapiCall:
    return VapiCall(
        number=PhoneNumberFactory(organization=OrganizationFactory(funded_pence=10_000))
    )


def post(body: bytes) -> Any:
    """The JSON of an answer; from any thread."""
    try:
        response = client().post(
            "/api/vapi/webhook",
            data=body,
            content_type="application/json",
            headers={"X-Vapi-Secret": SECRET},
        )
        assert response.status_code == 200, response.content
        return response.json()
    finally:
        connection.close()


def at_once(bodies: list[bytes]) -> list[Any]:
    """Post all of them in the same moment, each in a thread of its own."""
    client().handler.load_middleware()
    ready = Barrier(len(bodies))

    def wait_and_post(body: bytes) -> Any:
        ready.wait()
        return post(body)

    with ThreadPoolExecutor(len(bodies)) as threads:
        return list(threads.map(wait_and_post, bodies))


@contextmanager
def held_elsewhere(take: Callable[[], Any]) -> Iterator[None]:
    """While this lasts, another connection holds the locks that `take` takes."""
    taken, done = Event(), Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                take()
                taken.set()
                done.wait(20)
        finally:
            taken.set()
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(hold)
        assert taken.wait(20)
        try:
            yield
        finally:
            done.set()
            held.result()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOCK_TIMEOUT_MS", 150)


def lock_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE webhook_events IN ACCESS EXCLUSIVE MODE")


# --- At once ----------------------------------------------------------------------------------


def test_given_the_same_bytes_when_they_come_at_once_then_they_are_processed_once(
    call: VapiCall, end_tasks: Any
) -> None:
    answers = at_once([encoded(call.assistant_request(timezone.now()))] * THREADS)

    assert is_accepted(answers[0])
    assert all(answer == answers[0] for answer in answers)
    assert WebhookEvent.objects.get().attempts == 1
    assert CreditReservation.objects.count() == 1
    assert_money(call.number.organization, balance=10_000, reserved=245)


def test_given_one_request_in_different_bytes_when_they_come_at_once_then_one_hold_is_made(
    call: VapiCall, end_tasks: Any
) -> None:
    now = timezone.now()
    bodies = [
        encoded({**call.assistant_request(now), "number": number}) for number in range(THREADS)
    ]

    answers = at_once(bodies)

    assert is_accepted(answers[0])
    assert all(answer == answers[0] for answer in answers)
    assert WebhookEvent.objects.filter(status=Status.PROCESSED).count() == THREADS
    assert Call.objects.count() == CreditReservation.objects.count() == 1
    assert_money(call.number.organization, balance=10_000, reserved=245)


def test_given_a_new_call_when_its_first_messages_come_at_once_then_it_is_one_call(
    call: VapiCall, end_tasks: Any
) -> None:
    now = timezone.now()
    call.assistant = call.number.assistant

    at_once(
        [
            encoded(call.status("queued", now)),
            encoded(call.status("ringing", now)),
            encoded(call.status("in-progress", now)),
        ]
    )

    assert Call.objects.count() == CreditReservation.objects.count() == 1
    assert not WebhookEvent.objects.exclude(status=Status.PROCESSED).exists()
    assert_money(call.number.organization, balance=10_000, reserved=245)


def test_given_a_new_call_when_two_messages_name_two_payers_at_once_then_one_of_them_pays(
    call: VapiCall, end_tasks: Any
) -> None:
    other = PhoneNumberFactory(organization=OrganizationFactory(funded_pence=10_000))
    same_call = VapiCall(id=call.id, number=other)
    now = timezone.now()

    at_once([encoded(call.status("ringing", now)), encoded(same_call.status("ringing", now))])

    assert Call.objects.count() == CreditReservation.objects.count() == 1
    assert not WebhookEvent.objects.exclude(status=Status.PROCESSED).exists()
    payer = Call.objects.get().organization
    assert_money(payer, balance=10_000, reserved=245)


def test_given_reports_of_one_call_when_they_come_at_once_then_it_is_charged_once(
    call: VapiCall, end_tasks: Any
) -> None:
    now = timezone.now()
    post(encoded(call.assistant_request(now)))

    at_once([encoded(call.report(durationSeconds=30 + n)) for n in range(3)] * 2)

    assert CreditTransaction.objects.filter(type="call_deduction").count() == 1
    known = Call.objects.get()
    assert known.charged_pence == 49
    # The two others are shown to staff, beside what was charged.
    assert len(known.attention.splitlines()) == 2
    assert_money(call.number.organization, balance=10_000 - 49)


def test_given_many_calls_on_one_wallet_when_they_ask_at_once_then_no_penny_is_held_twice(
    end_tasks: Any,
) -> None:
    owner = OrganizationFactory(funded_pence=3 * 245 + 10)
    number = PhoneNumberFactory(organization=owner)
    now = timezone.now()

    answers = at_once(
        [encoded(VapiCall(number=number).assistant_request(now)) for _ in range(THREADS)]
    )

    assert sum(is_accepted(answer) for answer in answers) == 3
    assert_money(owner, balance=745, reserved=735)


# --- Locks that stay --------------------------------------------------------------------------


def test_given_the_wallet_is_locked_when_asked_then_the_caller_hears_so_in_time(
    call: VapiCall, vapi: Vapi
) -> None:
    body = encoded(call.assistant_request(timezone.now()))
    began = time.monotonic()

    with held_elsewhere(lambda: lock_organization(call.number.organization.pk)):
        assert vapi.send(body) == inbox.SOMETHING_WRONG
        waited_seconds = time.monotonic() - began

    assert waited_seconds < 5
    event = WebhookEvent.objects.get()
    assert (event.status, event.next_attempt_at) == (Status.FAILED, None)
    assert "lock timeout" in event.last_error
    # The caller has hung up: neither the sweep nor the same bytes again make a hold.
    assert inbox.retry_due_events() == 0
    assert vapi.send(body) == inbox.SOMETHING_WRONG
    assert not Call.objects.exists()
    assert_money(call.number.organization, balance=10_000)


def test_given_many_short_waits_when_asked_then_the_caller_hears_so_in_time(
    call: VapiCall, vapi: Vapi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*args: Any, **kwargs: Any) -> None:
        for _ in range(200):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.05)")

    monkeypatch.setattr(patience, "TRANSACTION_TIMEOUT_MS", 300)
    monkeypatch.setattr(lifecycle, "authorize", slow)
    body = encoded(call.assistant_request(timezone.now()))

    assert vapi.send(body) == inbox.SOMETHING_WRONG

    # PostgreSQL hung up, and what went wrong was recorded over a new connection.
    event = WebhookEvent.objects.get()
    assert (event.status, event.answer) == (Status.FAILED, inbox.SOMETHING_WRONG)
    assert event.last_error
    assert vapi.send(body) == inbox.SOMETHING_WRONG


def test_given_the_inbox_is_locked_when_asked_then_the_caller_hears_so_in_time(
    call: VapiCall, vapi: Vapi
) -> None:
    began = time.monotonic()

    with held_elsewhere(lock_table):
        answer = vapi.send(call.assistant_request(timezone.now()))
        waited_seconds = time.monotonic() - began

    assert answer == inbox.SOMETHING_WRONG
    assert waited_seconds < 5
    assert not CreditReservation.objects.exists()


@pytest.mark.usefixtures("impatient")
def test_given_the_inbox_is_locked_when_a_report_comes_then_vapi_must_send_it_again(
    call: VapiCall, vapi: Vapi
) -> None:
    report = call.report(durationSeconds=60)

    with held_elsewhere(lock_table):
        response = vapi.post(report)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    vapi.send(report)
    assert_money(call.number.organization, balance=10_000 - 49)


@pytest.mark.usefixtures("impatient")
def test_given_the_wallet_is_locked_when_a_report_comes_then_it_is_kept_and_charged_later(
    call: VapiCall, vapi: Vapi
) -> None:
    with held_elsewhere(lambda: lock_organization(call.number.organization.pk)):
        assert vapi.send(call.report(durationSeconds=60)) == {}

    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == (Status.PENDING, 1)
    assert "lock timeout" in event.last_error
    inbox.process(event.pk)
    assert_money(call.number.organization, balance=10_000 - 49)


@pytest.mark.usefixtures("impatient")
def test_given_the_wallet_is_locked_when_a_status_is_checked_then_it_is_answered_in_time(
    call: VapiCall, vapi: Vapi
) -> None:
    vapi.send(call.assistant_request(timezone.now()))

    with held_elsewhere(lambda: lock_organization(call.number.organization.pk)):
        response = vapi.post(call.status_check(), "/api/vapi/webhook/status-check")

    assert response.status_code == 503
    assert vapi.check(call)["endCall"] is False


@pytest.mark.usefixtures("impatient")
def test_given_one_message_is_stuck_when_the_sweep_comes_then_the_others_have_their_turn(
    call: VapiCall, vapi: Vapi, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "process", lambda event_id: None)
        vapi.send(call.other("hang"))
        vapi.send(call.report(durationSeconds=60))
    WebhookEvent.objects.update(next_attempt_at=timezone.now())
    stuck = WebhookEvent.objects.get(type="hang")
    WebhookEvent.objects.filter(pk=stuck.pk).update(
        next_attempt_at=timezone.now() - timedelta(minutes=1)
    )

    with held_elsewhere(lambda: WebhookEvent.objects.select_for_update().get(pk=stuck.pk)):
        assert inbox.retry_due_events() == 2

    assert_money(call.number.organization, balance=10_000 - 49)
    assert WebhookEvent.objects.get(pk=stuck.pk).status == Status.PENDING
