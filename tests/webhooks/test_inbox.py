"""The door and the inbox: who is let in, what is stored, what happens to what fails."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import RequestFactory

from calls import lifecycle
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import SECRET, START, Clock, Vapi, after, assert_money, call_of
from tests.webhooks.vapi_answer_validator import is_accepted
from tests.webhooks.vapi_payloads import VapiCall, encoded
from wallets.models import CreditReservation
from webhooks import inbox, tasks, views
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db

Status = WebhookEvent.Status
WEBHOOK = "/api/vapi/webhook"
SIGNING_KEY = b"test-hmac-secret"


@pytest.fixture
def call() -> VapiCall:
    owner = OrganizationFactory(funded_pence=10_000)
    return VapiCall(
        number=PhoneNumberFactory(organization=owner), control_url="https://control.invalid/live"
    )


def broken(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("broken")


# --- Who is let in ----------------------------------------------------------------------------


def signed(body: bytes, algorithm: str = "sha256") -> dict[str, str]:
    timestamp = str(int(START.timestamp() * 1000))
    signature = hmac.digest(SIGNING_KEY, f"{timestamp}.".encode() + body, algorithm)
    return {"X-Timestamp": timestamp, "X-Signature": signature.hex()}


@pytest.mark.parametrize(
    "credential",
    [
        lambda body: {"X-Vapi-Secret": SECRET},
        lambda body: {"Authorization": f"Bearer {SECRET}"},
        lambda body: {"Authorization": SECRET},
        lambda body: signed(body),
        lambda body: signed(body, "sha512"),
        lambda body: {
            "X-Vapi-Signature": hmac.digest(SIGNING_KEY, body, "sha256").hex(),
        },
        lambda body: {
            "X-Vapi-Signature": "sha256="
            + base64.b64encode(hmac.digest(SIGNING_KEY, body, "sha256")).decode(),
        },
    ],
)
def test_given_any_of_vapis_credentials_when_a_message_comes_then_it_is_let_in(
    vapi: Vapi, clock: Clock, call: VapiCall, credential: Any
) -> None:
    body = encoded(call.assistant_request(START))

    response = vapi.post(body, **credential(body))

    assert response.status_code == 200
    assert is_accepted(response.json())


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Other": "nothing"},
        {"X-Vapi-Secret": ""},
        {"X-Vapi-Secret": "wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"X-Vapi-Signature": "0" * 64},
    ],
)
@pytest.mark.parametrize("path", [WEBHOOK, f"{WEBHOOK}/status-check"])
def test_given_no_valid_credential_when_a_message_comes_then_it_is_refused_and_not_stored(
    vapi: Vapi, call: VapiCall, headers: dict[str, str], path: str
) -> None:
    response = vapi.post(call.assistant_request(START), path, **headers)

    assert response.status_code == 401
    assert response.json()["code"] == "not_authenticated"
    assert not WebhookEvent.objects.exists()


def test_given_a_signed_body_when_one_byte_of_it_differs_then_it_is_refused(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    body = encoded(call.assistant_request(START))

    assert vapi.post(body + b" ", **signed(body)).status_code == 401
    assert not WebhookEvent.objects.exists()


def test_given_no_secret_configured_when_a_message_comes_then_it_is_refused(
    vapi: Vapi, settings: Any
) -> None:
    settings.VAPI_WEBHOOK_SECRETS = []
    settings.VAPI_WEBHOOK_HMAC_SECRETS = []

    assert vapi.post({"message": {}}).status_code == 401


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head", "options"])
@pytest.mark.parametrize("path", [WEBHOOK, f"{WEBHOOK}/status-check"])
def test_given_another_method_when_used_then_it_is_not_allowed(
    client: Any, method: str, path: str
) -> None:
    response = getattr(client, method)(path, headers={"X-Vapi-Secret": SECRET})

    assert response.status_code == 405
    assert response["Allow"] == "POST"


def test_given_health_when_asked_then_it_needs_no_credential(client: Any) -> None:
    response = client.get(f"{WEBHOOK}/health")

    assert response.json() == {"status": "healthy", "service": "vapi-webhook"}


@pytest.mark.parametrize("body", [b"{", b"nonsense", b"\xff\xfe", b'{"a": NaN}', b"[" * 9999])
def test_given_a_body_that_is_no_json_when_it_comes_then_it_is_bad_input_and_not_stored(
    vapi: Vapi, body: bytes
) -> None:
    response = vapi.post(body)

    assert response.status_code == 400
    assert response.json()["code"] == "malformed_body"
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("path", [WEBHOOK, f"{WEBHOOK}/status-check"])
def test_given_a_body_beyond_the_limit_when_it_comes_then_it_is_too_large(
    vapi: Vapi, settings: Any, path: str
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    message = {"message": {"type": "hang", "call": {"id": "x"}, "transcript": "y" * 1000}}

    response = vapi.post(message, path)

    assert response.status_code == 413
    assert response.json()["code"] == "too_large"
    assert not WebhookEvent.objects.exists()


def test_given_a_report_of_some_megabytes_when_it_comes_then_it_is_taken_and_stays_small(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    clock.at(70)
    report = call.report(START, after(60), transcript="long " * 900_000)

    vapi.send(report)

    assert call_of(call).charged_pence == 49
    assert len(json.dumps(WebhookEvent.objects.get().payload)) < 1000


def test_given_no_content_length_when_a_message_comes_then_it_is_refused_whatever_its_size() -> (
    None
):
    request = RequestFactory().post(
        WEBHOOK, b"{}", "application/json", headers={"X-Vapi-Secret": SECRET}
    )
    del request.META["CONTENT_LENGTH"]

    assert views.vapi_webhook(request).status_code == 400
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded"]
)
def test_given_any_content_type_when_a_message_comes_then_its_bytes_count(
    client: Any, clock: Clock, call: VapiCall, content_type: str
) -> None:
    response = client.post(
        WEBHOOK,
        data=encoded(call.assistant_request(START)),
        content_type=content_type,
        headers={"X-Vapi-Secret": SECRET},
    )

    assert is_accepted(response.json())


# --- Stored once ------------------------------------------------------------------------------


def test_given_a_message_when_it_is_processed_then_its_event_says_what_became_of_it(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    body = encoded(call.assistant_request(START))

    answer = vapi.send(body)

    event = WebhookEvent.objects.get()
    assert event.source == "vapi"
    assert event.digest == hashlib.sha256(b"vapi:" + body).hexdigest()
    assert (event.type, event.vapi_call_id) == ("assistant-request", call.id)
    assert (event.status, event.attempts, event.next_attempt_at) == (Status.PROCESSED, 1, None)
    assert event.outcome.startswith("Authorized for ")
    assert event.answer == answer
    assert event.organization == call.number.organization
    assert (event.received_at, event.processed_at) == (START, START)
    assert (event.control_url_encrypted, event.last_error) == ("", "")


def test_given_the_same_bytes_when_they_come_again_then_they_are_one_event_with_one_answer(
    vapi: Vapi, clock: Clock, call: VapiCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = encoded(call.assistant_request(START))
    first = vapi.send(body)
    # Nothing is done a second time, whatever it would do.
    monkeypatch.setattr(lifecycle, "authorize", broken)
    clock.at(3600)

    assert vapi.send(body) == first
    assert WebhookEvent.objects.get().attempts == 1


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "names its type"),
        ([], "names its type"),
        ("text", "names its type"),
        ({"message": []}, "names its type"),
        ({"message": {"type": 7}}, "names its type"),
        ({"message": {"type": "status-update"}}, "no call id"),
        ({"message": {"type": "status-update", "call": {"id": "x"}}}, "names no status"),
        ({"message": {"type": "end-of-call-report", "call": {"id": "x"}}}, "Nobody is known"),
    ],
)
def test_given_a_message_that_cannot_be_used_when_it_comes_then_it_is_kept_with_the_reason(
    vapi: Vapi, document: Any, reason: str
) -> None:
    assert vapi.send(encoded(document)) == {}

    event = WebhookEvent.objects.get()
    assert event.status == Status.UNUSABLE
    assert reason in event.outcome


def test_given_a_type_that_billing_needs_not_when_it_comes_then_it_is_passed_over(
    vapi: Vapi, call: VapiCall
) -> None:
    assert vapi.send(call.other("speech-update")) == {}

    assert WebhookEvent.objects.get().status == Status.PROCESSED


# --- What fails -------------------------------------------------------------------------------


def test_given_an_error_after_writes_when_it_is_recorded_then_the_row_survives_and_they_do_not(
    vapi: Vapi, clock: Clock, call: VapiCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.at(10)
    settle = lifecycle.settle

    def settle_and_break(*args: Any, **kwargs: Any) -> None:
        settle(*args, **kwargs)
        raise RuntimeError("broken after the charge")

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "settle", settle_and_break)
        assert vapi.send(call.report(START, after(5))) == {}

    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == (Status.PENDING, 1)
    assert event.last_error == "RuntimeError: broken after the charge"
    assert event.next_attempt_at == after(10 + 30)
    assert_money(call.number.organization, balance=10_000)

    clock.at(39)
    assert tasks.retry_webhook_events() == 0
    clock.at(40)
    assert tasks.retry_webhook_events() == 1

    event.refresh_from_db()
    assert (event.status, event.attempts, event.next_attempt_at) == (Status.PROCESSED, 2, None)
    assert_money(call.number.organization, balance=10_000 - 49)
    assert tasks.retry_webhook_events() == 0


def test_given_an_error_that_stays_when_it_was_tried_often_then_staff_can_replay_it(
    vapi: Vapi, clock: Clock, call: VapiCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "settle", broken)
        vapi.send(call.report(START, after(5)))
        event = WebhookEvent.objects.get()
        while event.status == Status.PENDING:
            pauses.append(event.next_attempt_at - (START + sum(pauses, timedelta())))
            clock.at((event.next_attempt_at - START).total_seconds())
            assert inbox.retry_due_events() == 1
            event.refresh_from_db()

    assert event.status == Status.FAILED
    assert (event.attempts, event.next_attempt_at) == (inbox.MAX_ATTEMPTS, None)
    assert event.control_url_encrypted == ""
    assert len(pauses) == inbox.MAX_ATTEMPTS - 1
    assert pauses[:3] == [timedelta(seconds=30), timedelta(seconds=60), timedelta(seconds=120)]
    assert max(pauses) == pauses[-1] == timedelta(hours=1)
    assert_money(call.number.organization, balance=10_000)

    assert inbox.replay(event.pk) is None
    event.refresh_from_db()
    assert event.status == Status.PROCESSED
    assert_money(call.number.organization, balance=10_000 - 49)


def test_given_a_processed_report_when_staff_replay_it_then_nothing_is_charged_again(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    clock.at(10)
    vapi.send(call.report(START, after(5)))

    inbox.replay(WebhookEvent.objects.get().pk)

    assert_money(call.number.organization, balance=10_000 - 49)
    assert "Settled before" in WebhookEvent.objects.get().outcome


def test_given_a_replay_that_fails_again_when_it_is_due_then_it_is_retried_from_the_start(
    vapi: Vapi, clock: Clock, call: VapiCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    vapi.send(call.report(START, START))
    monkeypatch.setattr(lifecycle, "settle", broken)

    inbox.replay(WebhookEvent.objects.get().pk)

    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == (Status.PENDING, 1)


def test_given_a_message_stored_and_never_processed_when_the_sweep_comes_then_it_is_processed(
    vapi: Vapi, clock: Clock, call: VapiCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "process", lambda event_id: None)
        vapi.send(call.status("in-progress", START))
    assert WebhookEvent.objects.get().status == Status.PENDING
    assert not CreditReservation.objects.exists()

    clock.at(29)
    assert inbox.retry_due_events() == 0
    clock.at(30)
    assert inbox.retry_due_events() == 1

    assert WebhookEvent.objects.get().status == Status.PROCESSED
    assert call_of(call).started_at == START
    assert_money(call.number.organization, balance=10_000, reserved=245)


def test_given_an_error_on_an_assistant_request_when_asked_then_the_caller_hears_of_it(
    vapi: Vapi, clock: Clock, call: VapiCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "authorize", broken)

    assert vapi.send(call.assistant_request(START)) == inbox.SOMETHING_WRONG

    event = WebhookEvent.objects.get()
    assert (event.status, event.next_attempt_at) == (Status.FAILED, None)
    assert event.answer == inbox.SOMETHING_WRONG


def test_given_an_error_with_what_no_database_stores_when_recorded_then_it_is_kept_readable(
    vapi: Vapi, call: VapiCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("nul \0, half a pair \ud800, and long " + "x" * 5000)

    monkeypatch.setattr(lifecycle, "settle", odd)
    # What the test runner captures must be UTF-8, to travel between its processes.
    monkeypatch.setattr(inbox.logger, "exception", lambda *args, **kwargs: None)

    assert vapi.send(call.report(START, START)) == {}

    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == (Status.PENDING, 1)
    assert event.last_error.startswith("RuntimeError: nul ")


# --- The database is down ---------------------------------------------------------------------


def no_database(*args: Any) -> None:
    raise OperationalError("the server closed the connection unexpectedly")


def test_given_no_database_when_an_assistant_request_comes_then_the_caller_hears_of_it(
    vapi: Vapi, call: VapiCall
) -> None:
    body = encoded(call.assistant_request(START))

    with connection.execute_wrapper(no_database):
        assert vapi.send(body) == inbox.SOMETHING_WRONG


@pytest.mark.parametrize("kind", ["status", "report", "status-check", "unusable"])
def test_given_no_database_when_another_message_comes_then_vapi_must_send_it_again(
    vapi: Vapi, call: VapiCall, kind: str
) -> None:
    path = f"{WEBHOOK}/status-check" if kind == "status-check" else WEBHOOK
    message = {
        "status": call.status("in-progress", START),
        "report": call.report(START, after(5)),
        "status-check": call.status_check(5),
        "unusable": {"message": {}},
    }[kind]

    with connection.execute_wrapper(no_database):
        response = vapi.post(message, path)

    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0
    assert response.json()["code"] == "unavailable"
