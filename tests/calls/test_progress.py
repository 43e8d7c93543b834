"""Following a live call: its start, its hold, its control URL, its end."""

from datetime import datetime, timedelta

import pytest

from calls.models import Call
from calls.secrets import decrypt_control_url
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import START, Clock, EndTasks, Vapi, after, assert_money, call_of
from tests.webhooks.vapi_payloads import VapiCall
from wallets import ledger
from wallets.models import CreditReservation

pytestmark = pytest.mark.django_db

CONTROL_URL = "https://control.invalid/of-this-call"


@pytest.fixture
def call(vapi: Vapi, clock: Clock) -> VapiCall:
    """An inbound call that was authorized at the start."""
    number = PhoneNumberFactory(organization=OrganizationFactory(funded_pence=10_000))
    authorized = VapiCall(number=number, control_url=CONTROL_URL)
    vapi.send(authorized.assistant_request(START))
    return authorized


def test_given_an_authorized_call_when_it_starts_then_its_start_is_the_messages(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    clock.at(5)

    vapi.send(call.status("in-progress", after(4)))

    known = call_of(call)
    assert (known.started_at, known.vapi_status) == (after(4), "in-progress")
    assert decrypt_control_url(known.control_url_encrypted) == CONTROL_URL


def test_given_a_transfer_when_in_progress_comes_again_then_the_call_started_once(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    vapi.send(call.status("in-progress", clock.at(4)))
    vapi.send(call.status("forwarding", clock.at(100)))

    vapi.send(call.status("in-progress", clock.at(110)))

    assert call_of(call).started_at == after(4)
    assert_money(call.number.organization, balance=10_000, reserved=245)


@pytest.mark.parametrize("wrong_by", [timedelta(days=3650), timedelta(days=-2)])
def test_given_a_start_that_cannot_be_when_a_live_call_tells_it_then_now_is_taken(
    vapi: Vapi, clock: Clock, call: VapiCall, wrong_by: timedelta
) -> None:
    vapi.send(call.status("in-progress", clock.at(4) + wrong_by))

    assert call_of(call).started_at == after(4)


@pytest.mark.parametrize("timestamp", [None, "", "soon", -1, 10**30, {}])
def test_given_no_usable_timestamp_when_a_call_starts_then_now_is_taken(
    vapi: Vapi, clock: Clock, call: VapiCall, timestamp: object
) -> None:
    message = call.status("in-progress", clock.at(4))
    message["message"]["timestamp"] = timestamp

    vapi.send(message)

    assert call_of(call).started_at == after(4)


def test_given_a_live_call_when_it_ends_then_its_control_url_is_forgotten_and_a_report_awaited(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    vapi.send(call.status("in-progress", clock.at(4)))

    vapi.send(call.ended(clock.at(64), "customer-ended-call"))

    known = call_of(call)
    assert known.control_url_encrypted == ""
    assert (known.ended_at, known.ended_reason) == (after(64), "customer-ended-call")
    assert (known.settled_at, known.charged_pence) == (None, None)
    # The hold waits for the report.
    assert_money(call.number.organization, balance=10_000, reserved=245)


@pytest.mark.parametrize("wrong_by", [timedelta(days=3650), timedelta(days=-3650)])
def test_given_an_end_that_cannot_be_when_it_is_told_then_now_is_taken(
    vapi: Vapi, clock: Clock, call: VapiCall, wrong_by: timedelta
) -> None:
    vapi.send(call.ended(clock.at(64) + wrong_by))

    # Whatever waits for the report counts from here.
    assert call_of(call).ended_at == after(64)


@pytest.mark.parametrize("status", ["queued", "ringing", "in-progress", "ended"])
def test_given_a_call_that_ended_when_a_late_status_comes_then_nothing_changes(
    vapi: Vapi, clock: Clock, call: VapiCall, end_tasks: EndTasks, status: str
) -> None:
    vapi.send(call.ended(clock.at(64), "customer-ended-call"))
    before = Call.objects.values().get(vapi_call_id=call.id)

    vapi.send(call.status(status, clock.at(65)))

    assert Call.objects.values().get(vapi_call_id=call.id) == before
    assert end_tasks == []


@pytest.mark.parametrize("over", ["ended", "reported"])
def test_given_a_call_nobody_announced_when_it_is_over_then_a_late_status_holds_nothing(
    vapi: Vapi, clock: Clock, over: str
) -> None:
    number = PhoneNumberFactory(organization=OrganizationFactory(funded_pence=10_000))
    call = VapiCall(number=number, assistant=number.assistant, control_url=CONTROL_URL)
    vapi.send(call.ended(clock.at(5)) if over == "ended" else call.report(START, after(5)))
    balance = 10_000 if over == "ended" else 10_000 - 49

    vapi.send(call.status("in-progress", clock.at(6)))

    assert_money(number.organization, balance=balance)
    assert call_of(call).control_url_encrypted == ""


def test_given_a_call_that_starts_late_when_its_hold_would_lapse_then_it_is_kept_ahead(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    vapi.send(call.status("in-progress", clock.at(0)))

    vapi.send(call.status("in-progress", clock.at(280)))

    # 280 s and the 62 until after the next check are 6 minutes.
    assert_money(call.number.organization, balance=10_000, reserved=6 * 49)


def expires_at(call: VapiCall) -> datetime:
    return CreditReservation.objects.get(call_id=call.id).expires_at


def test_given_a_hold_when_the_call_lives_then_it_cannot_expire_before_the_call_must_be_over(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    assert expires_at(call) == START + timedelta(minutes=30)

    vapi.send(call.status("ringing", clock.at(60)))
    assert expires_at(call) == after(60) + timedelta(minutes=30)

    vapi.send(call.status("in-progress", clock.at(70)))
    cap_seconds = call_of(call).max_duration_seconds
    assert expires_at(call) >= after(70) + timedelta(seconds=cap_seconds)
    clock.at(70 + cap_seconds)
    assert ledger.cleanup_expired_reservations() == 0


def test_given_a_call_that_never_started_when_its_hold_lapsed_then_it_is_given_back(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    clock.at(30 * 60 + 1)

    assert ledger.cleanup_expired_reservations() == 1

    assert_money(call.number.organization, balance=10_000)


def test_given_a_lapsed_hold_when_the_call_lives_after_all_then_no_second_hold_is_made(
    vapi: Vapi, clock: Clock, call: VapiCall
) -> None:
    clock.at(30 * 60 + 1)
    ledger.cleanup_expired_reservations()

    vapi.send(call.status("in-progress", clock.at(30 * 60 + 2)))

    assert_money(call.number.organization, balance=10_000)
    assert CreditReservation.objects.get().status == "expired"


def test_given_an_unknown_status_when_it_comes_then_it_is_passed_over(
    vapi: Vapi, call: VapiCall
) -> None:
    before = Call.objects.values().get(vapi_call_id=call.id)

    assert vapi.send(call.status("levitating", START)) == {}

    assert Call.objects.values().get(vapi_call_id=call.id) == before
