"""What callers say, and what opens doors, reaches neither the database nor the logs."""

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from calls import ends, lifecycle
from calls.secrets import decrypt_control_url
from telephony import vapi_control
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.log_capture import logged
from tests.webhooks.fixtures import START, Clock, ControlServer, EndTasks, Vapi, after, call_of
from tests.webhooks.vapi_payloads import VapiCall
from webhooks import inbox
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db

PRIVATE = "zq-private-marker"
METADATA = "zq-metadata-marker"
CONTROL = "zq-control-marker"
WRONG_SECRET = "zq-wrong-secret-marker"
MARKERS = [PRIVATE, METADATA, CONTROL, WRONG_SECRET, "test-webhook-secret", "test-hmac-secret"]


@pytest.fixture
def call(control_server: ControlServer) -> VapiCall:
    """A call whose every message is full of what must not be kept."""
    number = PhoneNumberFactory(organization=OrganizationFactory(funded_pence=49))
    return VapiCall(
        number=number,
        control_url=control_server.url(CONTROL),
        metadata={METADATA: METADATA},
        private=PRIVATE,
    )


@pytest.fixture(params=[True, False], ids=["json", "lines"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    with logged(json=request.param) as written:
        yield written


def rows_with(marker: str) -> list[str]:
    """The rows of any table, each column of which is text for this, that contain the marker."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT quote_ident(table_name) FROM information_schema.tables"
            " WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
        )
        tables = [name for (name,) in cursor.fetchall()]
        assert {"webhook_events", "calls", "credit_transactions"} <= set(tables)
        for table in tables:
            cursor.execute(
                f"SELECT row_of::text FROM {table} AS row_of WHERE row_of::text ILIKE %s",
                [f"%{marker}%"],
            )
            found += [f"{table}: {row}" for (row,) in cursor.fetchall()]
    return found


def assert_kept_nowhere(log: io.StringIO) -> None:
    text = log.getvalue()
    for marker in MARKERS:
        assert rows_with(marker) == []
        assert marker not in text


def test_given_a_marker_in_a_table_when_looked_for_then_it_is_found() -> None:
    """The control: had a marker been kept, these tests would see it."""
    OrganizationFactory(name=f"the {PRIVATE}")
    WebhookEvent.objects.create(
        source="vapi",
        digest="0" * 64,
        payload={"a": [{"b": METADATA}]},
        received_at=START,
        next_attempt_at=START,
    )

    assert len(rows_with(PRIVATE)) == len(rows_with(METADATA)) == 1


@pytest.mark.parametrize("json", [True, False])
def test_given_a_marker_in_a_message_when_it_is_logged_then_it_is_seen(json: bool) -> None:
    """The control: had a marker been logged, these tests would see it."""
    with logged(json=json) as log:
        logging.getLogger("some.library").warning("it said %s", PRIVATE)
        inbox.logger.info("something", words=METADATA)

    assert PRIVATE in log.getvalue()
    assert METADATA in log.getvalue()


def test_given_every_kind_of_message_when_all_are_processed_then_no_marker_is_kept(
    vapi: Vapi, clock: Clock, call: VapiCall, end_tasks: EndTasks, log: io.StringIO
) -> None:
    vapi.post(call.assistant_request(START), **{"X-Vapi-Secret": WRONG_SECRET})
    vapi.send(call.assistant_request(START))
    for kind in ("conversation-update", "speech-update", "transcript", "tool-calls", "hang"):
        vapi.send(call.other(kind, toolCallList=[{"arguments": PRIVATE}]))
    vapi.send(call.status("ringing", clock.at(1)))
    vapi.send(call.status("in-progress", clock.at(2)))
    # On the live call it can be read by us, and by nobody who reads the table.
    assert CONTROL in str(decrypt_control_url(call_of(call).control_url_encrypted))
    clock.at(70)
    assert vapi.check(call)["endCall"] is True
    assert end_tasks.run() == 1
    assert_kept_nowhere(log)

    vapi.send(call.ended(clock.at(71)))
    vapi.send(call.report(after(2), after(71)))
    vapi.send(call.report(after(2), after(80)))
    vapi.send({"message": {"type": "status-update", "transcript": PRIVATE}})

    assert_kept_nowhere(log)
    assert call_of(call).control_url_encrypted == ""
    assert not WebhookEvent.objects.exclude(control_url_encrypted="").exists()


def test_given_a_message_that_fails_when_it_is_recorded_then_no_marker_is_kept(
    vapi: Vapi,
    clock: Clock,
    call: VapiCall,
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            # PostgreSQL's own error names the row that it refuses.
            cursor.execute("UPDATE webhook_events SET status = NULL")

    for name in ("authorize", "progress", "settle"):
        monkeypatch.setattr(lifecycle, name, fail)

    for message in (
        call.assistant_request(START),
        call.status("in-progress", START),
        call.report(START, START),
    ):
        vapi.send(message)

    assert "webhook_failed" in log.getvalue()
    waiting = WebhookEvent.objects.exclude(control_url_encrypted="")
    # A message that will be tried again keeps what it needs for that, encrypted.
    assert {event.type for event in waiting} == {"status-update", "end-of-call-report"}
    assert_kept_nowhere(log)


def test_given_no_database_when_messages_come_then_no_marker_is_logged(
    vapi: Vapi, call: VapiCall, log: io.StringIO
) -> None:
    def no_database(*args: Any) -> None:
        raise OperationalError("the server closed the connection unexpectedly")

    def private_first(message: dict[str, Any]) -> dict[str, Any]:
        # A log of local variables cuts each short, so what it must not show comes first.
        return {"message": {"a": PRIVATE, **message["message"]}}

    with connection.execute_wrapper(no_database):
        vapi.post(private_first(call.assistant_request(START)))
        vapi.post(private_first(call.report(START, START)))
        vapi.post(private_first(call.status_check()), "/api/vapi/webhook/status-check")

    assert "OperationalError" in log.getvalue()
    assert_kept_nowhere(log)


@pytest.mark.parametrize("answer", [500, 404, None])
def test_given_a_control_url_that_fails_when_the_order_is_sent_then_no_marker_is_kept(
    vapi: Vapi,
    clock: Clock,
    call: VapiCall,
    end_tasks: EndTasks,
    control_server: ControlServer,
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    answer: int | None,
) -> None:
    monkeypatch.setattr(vapi_control, "CONTROL_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(ends, "ATTEMPTS_BEFORE_ATTENTION", 2)
    end_a_call(vapi, clock, call)
    control_server.answers = [answer, answer]

    for _ in range(2):
        ends.send_end(end_tasks[0])

    assert "could not be ended" in call_of(call).attention
    assert "call_end_failed" in log.getvalue()
    assert_kept_nowhere(log)


def test_given_an_error_with_the_url_at_hand_when_the_task_fails_then_no_marker_is_logged(
    vapi: Vapi,
    clock: Clock,
    call: VapiCall,
    end_tasks: EndTasks,
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end_a_call(vapi, clock, call)

    def fail(*args: Any) -> None:
        raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(ends, "_record", fail)

    # As a worker runs and logs it.
    assert ends.send_end.apply(args=[end_tasks[0]]).failed()

    assert "OperationalError" in log.getvalue()
    assert_kept_nowhere(log)


def end_a_call(vapi: Vapi, clock: Clock, call: VapiCall) -> None:
    vapi.send(call.assistant_request(START))
    vapi.send(call.status("in-progress", START))
    clock.at(60)
    assert vapi.check(call)["endCall"] is True


@pytest.mark.parametrize(
    "message", [lambda call: call.ended(START), lambda call: call.report(START, START)]
)
def test_given_a_late_message_when_a_call_is_over_then_its_control_url_stays_away(
    vapi: Vapi, clock: Clock, call: VapiCall, message: Callable[[VapiCall], dict[str, Any]]
) -> None:
    vapi.send(message(call))

    for status in ("ringing", "in-progress", "ended"):
        vapi.send(call.status(status, START))
    vapi.send(call.report(START, START, durationSeconds=1))

    assert call_of(call).control_url_encrypted == ""
    assert not WebhookEvent.objects.exclude(control_url_encrypted="").exists()
