"""What Sentry is told of an error, and what it is not."""

import json
from typing import Any

import pytest
import sentry_sdk
from django.db import OperationalError
from django.test import Client
from sentry_sdk.transport import Transport

from calls import ends
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.operations.test_logs import BODY, CANARY, SECRET_HEADERS
from tests.webhooks.fixtures import SECRET, START
from tests.webhooks.vapi_payloads import VapiCall, encoded
from voxbilling import error_reports

pytestmark = pytest.mark.django_db

DSN = "https://public@sentry.invalid/1"


class Told(Transport):
    """In the place of Sentry: keeps the reports."""

    reports: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Any) -> None:
        Told.reports += [item.payload.json for item in envelope.items if item.type == "event"]


@pytest.fixture
def reports():
    Told.reports = []
    before = sentry_sdk.get_global_scope().client
    error_reports.start(DSN, transport=Told)
    yield Told.reports
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(before)


def fail(*_: Any, **__: Any) -> None:
    secret = CANARY
    raise OperationalError(f"postgresql://app:{secret}@db/x of +447700900123 is gone")


def test_an_error_is_reported_once_with_the_call_and_without_a_secret(reports, monkeypatch):
    monkeypatch.setattr(ends.send_end, "delay", lambda pk: None)
    number = PhoneNumberFactory(organization=OrganizationFactory(funded_pence=500))
    call = VapiCall(number=number, private=CANARY, control_url=f"https://v.ai/{CANARY}/control")
    monkeypatch.setattr("calls.lifecycle.mark_ended", fail)

    Client().post(
        f"/api/vapi/webhook?token={CANARY}",
        data=encoded(call.ended(START)),
        content_type="application/json",
        headers={**SECRET_HEADERS, "X-Vapi-Secret": SECRET},
    )

    (report,) = reports
    assert report["tags"]["call_id"] == report["tags"]["vapi_call_id"] == call.id
    assert report["tags"]["organization_id"] == str(number.organization_id)
    assert report["tags"]["event"] == "webhook_failed"
    assert {"request_id", "event_id"} <= report["tags"].keys()
    assert report["exception"]["values"][-1]["type"] == "OperationalError"
    assert_tells_nothing(report)


def test_an_error_that_nobody_caught_is_reported_once_and_without_a_secret(reports, monkeypatch):
    monkeypatch.setattr("webhooks.views.inbox.receive_stripe", lambda _: 1 / 0)
    monkeypatch.setattr("webhooks.views.authenticate_stripe", lambda *_: None)
    Client(raise_request_exception=False).post(
        f"/api/stripe/webhook?token={CANARY}",
        data=json.dumps(BODY),
        content_type="application/json",
        headers=SECRET_HEADERS,
    )

    (report,) = reports
    assert report["exception"]["values"][-1]["type"] == "ZeroDivisionError"
    assert report["tags"]["request_id"]
    assert_tells_nothing(report)


def test_what_is_logged_as_an_error_is_reported_and_what_is_a_warning_is_not(reports):
    ends.logger.warning("call_end_failed", call_id="a")
    ends.logger.error("call_cannot_be_ended", call_id="b", failure=CANARY)

    (report,) = reports
    assert report["message"] == "call_cannot_be_ended"
    assert report["tags"]["call_id"] == "b"
    assert_tells_nothing(report)


def assert_tells_nothing(report: dict[str, Any]) -> None:
    text = json.dumps(report)
    assert CANARY not in text
    assert "7700900123" not in text
    assert not {"request", "user", "extra", "breadcrumbs", "contexts"} & report.keys()
    for value in report.get("exception", {}).get("values", []):
        assert not any(frame.get("vars") for frame in value["stacktrace"]["frames"])


def test_without_a_dsn_nothing_is_started():
    assert not sentry_sdk.is_initialized()
    error_reports.start("")
    assert not sentry_sdk.is_initialized()
    ends.logger.error("call_cannot_be_ended")
