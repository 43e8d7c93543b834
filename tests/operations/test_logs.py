"""What a line of the log says, and what none does."""

import io
import json
import logging
import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import structlog
from celery.signals import before_task_publish, task_prerun
from django.contrib.auth.tokens import default_token_generator
from django.db import OperationalError, connection
from django.test import Client
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from rest_framework_simplejwt.tokens import AccessToken

from calls import ends, reconciliation
from tests.factories import (
    MembershipFactory,
    OrganizationFactory,
    PhoneNumberFactory,
    UserFactory,
)
from tests.log_capture import lines_of, logged
from tests.webhooks.fixtures import SECRET, START
from tests.webhooks.vapi_payloads import VapiCall, encoded
from voxbilling import logs, redaction
from voxbilling.redaction import redact, redact_json, redact_text
from webhooks import inbox

pytestmark = pytest.mark.django_db

CANARY = "zq0canary"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    with logged(json=True) as written:
        yield written


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> VapiCall:
    monkeypatch.setattr(ends.send_end, "delay", lambda pk: None)
    return VapiCall(number=PhoneNumberFactory(organization=OrganizationFactory(funded_pence=500)))


def post(client: Client, message: dict, **headers: str):
    return client.post(
        "/api/vapi/webhook",
        data=encoded(message),
        content_type="application/json",
        headers={"X-Vapi-Secret": SECRET, **headers},
    )


# --- Which request, which call, whose ---------------------------------------------------------


def test_each_line_of_a_webhook_says_which_request_and_call_it_is_about(client, call, log):
    post(client, call.status("in-progress", START))
    first = lines_of(log)
    log.truncate(log.seek(0))
    post(client, call.ended(START))

    assert [line["event"] for line in first] == ["call", "request_finished"]
    for line in first:
        assert line["vapi_call_id"] == line["call_id"] == call.id
        assert line["organization_id"] == str(call.number.organization_id)
    requests = [{line["request_id"] for line in lines} for lines in (first, lines_of(log))]
    assert len(requests[0]) == len(requests[1]) == 1
    assert requests[0] != requests[1]


def test_what_a_request_was_about_is_forgotten_at_its_end(client, call, log):
    post(client, call.status("in-progress", START))

    assert structlog.contextvars.get_contextvars() == {}
    logging.getLogger("afterwards").warning("nobody asked")
    assert not {"request_id", "call_id", "organization_id"} & lines_of(log)[-1].keys()


def test_an_error_says_which_request_and_call_it_is_about(client, call, log, monkeypatch):
    post(client, call.status("in-progress", START))
    log.truncate(log.seek(0))
    # It fails once the call is known.
    monkeypatch.setattr("calls.lifecycle.mark_ended", lambda *a: 1 / 0)

    post(client, call.ended(START))

    failed = lines_of(log)[0]
    assert failed["event"] == "webhook_failed"
    assert failed["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert failed["call_id"] == call.id
    assert {"request_id", "event_id", "organization_id"} <= failed.keys()


def test_a_line_of_a_customers_request_says_who_and_for_whom(client, log):
    member = MembershipFactory()
    client.get(
        "/api/billing/wallet",
        headers={"Authorization": f"Bearer {AccessToken.for_user(member.user)}"},
    )

    (line,) = lines_of(log)
    assert line["request"] == "GET /api/billing/wallet"
    assert line["organization_id"] == str(member.organization_id)
    assert line["user_id"] == str(member.user_id)


def test_a_line_of_a_page_says_who_and_for_whom(client, log):
    member = MembershipFactory()
    client.force_login(member.user)
    client.get("/wallet/")

    line = lines_of(log)[-1]
    assert line["organization_id"] == str(member.organization_id)
    assert line["user_id"] == str(member.user_id)


def test_of_many_events_in_one_sweep_each_line_is_about_its_own(client, call, log, monkeypatch):
    monkeypatch.setattr("calls.lifecycle.progress", lambda *a, **k: 1 / 0)
    other = VapiCall(number=call.number)
    for each in (call, other):
        post(client, each.status("in-progress", START))
    log.truncate(log.seek(0))
    inbox.WebhookEvent.objects.update(next_attempt_at=START)

    inbox.retry_due_events()
    logging.getLogger("afterwards").warning("about none of them")

    *failed, afterwards = lines_of(log)
    assert len({line["event_id"] for line in failed}) == 2
    assert "event_id" not in afterwards


def test_a_call_that_vapi_is_asked_about_is_not_named_in_the_lines_after_it(log, monkeypatch):
    monkeypatch.setattr(reconciliation, "apply", lambda *a, **k: logs.learn(call_id="x") or 1 / 0)
    record = object.__new__(reconciliation.CallRecord)
    question = reconciliation._Question(vapi_call_id="asked-about", attempts=1)

    reconciliation._take_in(question, record)
    logging.getLogger("afterwards").warning("about another")

    first, afterwards = lines_of(log)
    assert (first["vapi_call_id"], first["call_id"]) == ("asked-about", "x")
    assert not {"vapi_call_id", "call_id"} & afterwards.keys()


# --- Tasks ------------------------------------------------------------------------------------


def run(task_id: str, **headers) -> str:
    """The request id of a task's lines, in a thread that has done something else before."""
    logs.learn(call_id="of another task")
    request = SimpleNamespace(id=task_id, **headers)
    task_prerun.send(None, task_id=task_id, task=SimpleNamespace(name="a.task", request=request))
    context = structlog.contextvars.get_contextvars()
    structlog.contextvars.clear_contextvars()
    assert "call_id" not in context
    return context["request_id"]


def sent_by(**context) -> dict:
    """The headers of a task that is sent in a context."""
    headers: dict = {}
    with logs.about(**context):
        before_task_publish.send("a.task", headers=headers, body=None, properties={})
    return headers


def test_a_task_carries_the_id_of_the_request_that_sent_it_and_nothing_else(log):
    headers = sent_by(request_id="the-request", call_id="c", organization_id="o", user_id=7)

    assert headers["__django_structlog__"] == {"request_id": "the-request"}
    assert run("task-1", **headers) == "the-request"


def test_a_task_that_no_request_sent_is_known_by_its_own_id(log):
    assert run("task-2", **sent_by()) == "task-2"


# --- What no line says ------------------------------------------------------------------------

TEXTS = [
    f"Authorization: Bearer {CANARY}",
    f"authorization=Basic {CANARY}=",
    f"X-Vapi-Secret: {CANARY}",
    f"{{'stripe_signature': '{CANARY}'}}",
    f'{{\\"password\\": \\"{CANARY}\\"}}',
    f"could not connect to postgresql://app:{CANARY}@db.internal:5432/voxbilling",
    f"redis://:{CANARY}@broker:6379/0 does not answer",
    f"connection to host=db password={CANARY} user=app failed",
    f"POST https://phone-calls.vapi.ai/{CANARY}/control failed",
    f"wss://phone-calls.vapi.ai/{CANARY}/transport",
    f"see https://checkout.stripe.com/c/pay/{CANARY}#fid",
    f"https://billing.example.com?session={CANARY}",
    f"Invalid API Key provided: sk_live_{CANARY}",
    f"whsec_{CANARY}",
    f"eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoiMSJ9.{CANARY}",
    f"new row violates; DETAIL:  Failing row contains (1, {CANARY}, null).",
    f"{CANARY}@example.com was refused",
    f"Authorization: {CANARY}",
    f"Authorization: Token {CANARY}",
    f"pi_3Oabc_secret_{CANARY}",
    f"no answer from //phone.vapi.ai/{CANARY}/control",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_secret_is_known_by_its_shape(text):
    assert CANARY in text
    assert CANARY not in redact_text(text)
    assert CANARY not in redact_json(json.dumps({"event": text}))
    json.loads(redact_json(json.dumps({"event": text, "next": 1})))


@pytest.mark.parametrize(
    "number",
    [
        *("+447700900123", "%2B447700900123", "07700 900123", "07700900123", "020 7946 0001"),
        *("00447700900123", "+44 20 7946 0001", "+44 (20) 7946 0001", "+1-202-555-0143"),
    ],
)
def test_a_callers_number_is_nobodys_business(number):
    for text in (f"no answer from {number}, tried twice", f"({number})", number):
        assert not set(re.findall("[0-9]{3,}", redact_text(text))), redact_text(text)


def test_a_refused_row_is_shown_to_nobody_whatever_it_holds(log):
    row = f'(1, Clinic "{CANARY}" of {CANARY}, 07700 900123, {{"a": "\\"{CANARY}"}}).'
    error = ValueError(f"new row\nDETAIL:  Failing row contains {row}\nHINT: mend it")
    assert CANARY not in redact_text(str(error))
    assert "HINT: mend it" in redact_text(str(error))
    try:
        raise error
    except ValueError:
        structlog.get_logger("x").exception("refused", row=str(error))
    assert CANARY not in log.getvalue()
    assert lines_of(log)[0]["event"] == "refused"


@pytest.mark.parametrize(
    "text",
    [
        "call 0198c0de-7c1a-7000-8000-0123456789ab was settled: 61 s, 98 p",
        "2026-03-02T10:00:00.000000+00:00",
        "GET /api/vapi/webhook/health",
        "https://api.vapi.ai answered 500",
        "the token is not valid or has expired",
        "0.25 s, 20260302, 1100, £1,234,567.89, 0198c0de7c1a70008000",
        "sweep //2 of 10/20",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact_text(text) == text


def test_the_deployments_own_secrets_are_known_wherever_they_stand(log):
    redaction.keep_secret(["the-key-of-this-deployment", "short", 'pass"wörd\\1'])
    try:
        assert redact_text("xthe-key-of-this-deploymentx") == "x[redacted]x"
        assert redact_text("shortly") == "shortly"
        structlog.get_logger("x").warning("refused", by='x pass"wörd\\1 x')
        assert lines_of(log)[0]["by"] == "x [redacted] x"
        for plain in (True, False):
            answer = json.dumps({"by": 'pass"wörd\\1'}, ensure_ascii=plain)
            assert redact_text(answer) == '{"by": "[redacted]"}'
    finally:
        redaction.keep_secret([])


def test_names_of_secrets_are_known_at_any_depth():
    value = {"a": [{"API-Key": CANARY, "b": {"Set-Cookie": CANARY}}], "call": "x"}

    assert CANARY not in str(redact(value))
    assert redact(value)["call"] == "x"


SECRET_HEADERS = {
    "Authorization": f"Bearer {CANARY}",
    "X-Vapi-Secret": CANARY,
    "X-Signature": CANARY,
    "X-Timestamp": CANARY,
    "Stripe-Signature": f"t=1,v1={CANARY}",
    "Idempotency-Key": CANARY,
    "Cookie": f"sessionid={CANARY}; csrftoken={CANARY}",
}
BODY = {
    "username": CANARY,
    "password": CANARY,
    "refresh": CANARY,
    "callId": CANARY,
    "message": {"type": CANARY, "call": {"monitor": {"controlUrl": f"https://v.ai/{CANARY}"}}},
}
ADDRESSES = [
    "/",
    "/sign-in/",
    "/password-reset/",
    "/wallet/",
    "/wallet/transactions/",
    "/wallet/top-up/",
    "/admin/",
    "/admin/login/",
    "/api/vapi/webhook",
    "/api/vapi/webhook/status-check",
    "/api/vapi/webhook/health",
    "/api/stripe/webhook",
    "/api/auth/token/",
    "/api/auth/token/refresh/",
    "/api/billing/wallet",
    "/api/billing/wallet/transactions",
    "/api/billing/wallet/topup",
    "/api/billing/wallet/auto-recharge",
    "/api/billing/reserve-credits",
    "/api/billing/commit-credits",
    "/api/managed-telephony/available-numbers",
    "/api/managed-telephony/provision",
    "/api/calls",
    "/api/nothing",
    "/metrics",
    "/readyz",
]


@pytest.mark.parametrize("working", [True, False], ids=["working", "without a database"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_no_secret_that_is_sent_is_logged(address, working, log):
    client = Client(raise_request_exception=False)
    client.get("/api/nothing")
    log.truncate(log.seek(0))

    def no_database(*_: object) -> None:
        raise OperationalError(f"connection to postgresql://app:{CANARY}@db/x failed")

    with connection.execute_wrapper((lambda do, *a: do(*a)) if working else no_database):
        client.get(f"{address}?token={CANARY}&q={CANARY}", headers=SECRET_HEADERS)
        for content_type in ("application/json", "application/x-www-form-urlencoded"):
            client.post(
                f"{address}?token={CANARY}",
                data=json.dumps(BODY),
                content_type=content_type,
                headers=SECRET_HEADERS,
            )

    # The control: health checks are asked every second, and leave no line.
    assert address in ("/metrics", "/readyz") or lines_of(log)
    assert CANARY not in log.getvalue()


def test_a_link_to_set_a_password_is_not_logged(client, log):
    user = UserFactory()
    token = default_token_generator.make_token(user)
    uid = urlsafe_base64_encode(force_bytes(user.pk))

    for wrong in ("", "nothing/"):
        client.get(f"/password-reset/{uid}/{token}/{wrong}")

    assert "GET /password-reset/" in log.getvalue()
    assert token not in log.getvalue()


def test_nobody_who_is_called_is_logged(client, call, log):
    number = call.number.number
    for message in (
        call.assistant_request(START),
        call.status("in-progress", START),
        call.report(START, START),
    ):
        post(client, {"message": {**message["message"], "customer": {"number": "+447700900999"}}})

    assert lines_of(log)
    assert "447700900999" not in log.getvalue()
    assert number not in log.getvalue()
