"""Reading Vapi's list: calls that no message told of, and those whose end none told of."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from calls import reconciliation, vapi_scan
from calls.models import Call, UnbilledCall, VapiReading
from telephony.vapi_calls import VapiBusy
from tests.calls.vapi_api import DOWN, VapiApi
from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.wallets.steps import reserve
from tests.webhooks.fixtures import START, Clock, Vapi, after, assert_money, call_of
from tests.webhooks.vapi_payloads import VapiCall
from wallets.models import Organization

pytestmark = pytest.mark.django_db

FUNDED = 10_000


@pytest.fixture(autouse=True)
def begun(nothing_read: None, clock: Clock, vapi_api: VapiApi) -> None:
    clock.at(0)
    assert vapi_scan.scan() == 0


@pytest.fixture
def organization() -> Organization:
    return OrganizationFactory(funded_pence=FUNDED)


def web_call(organization: Organization) -> VapiCall:
    return VapiCall(assistant=AssistantFactory(organization=organization), type="webCall")


def scan(clock: Clock, seconds: float) -> int:
    clock.at(seconds)
    return vapi_scan.scan()


def reading() -> VapiReading:
    return VapiReading.objects.get()


def test_given_a_call_that_no_message_told_of_when_the_list_is_read_then_it_is_charged(
    organization, clock: Clock, vapi_api: VapiApi
) -> None:
    calls = [web_call(organization), VapiCall(number=PhoneNumberFactory(organization=organization))]
    clock.at(100)
    for call in calls:
        vapi_api.shows_ended(call, after(10), after(71))

    assert scan(clock, 160) == 0
    assert scan(clock, 161) == 2
    # Read again in the overlap, it is charged no second time.
    assert scan(clock, 221) == 0

    for call in calls:
        known = call_of(call)
        assert (known.settled_from, known.charged_pence) == ("vapi", 98)
        assert known.announced_by_vapi
    assert_money(organization, balance=FUNDED - 196)


def test_given_an_end_that_no_message_told_of_when_the_list_is_read_then_it_is_charged(
    organization, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = web_call(organization)
    vapi.send(call.status("in-progress", clock.at(10)))
    clock.at(100)
    vapi_api.shows_ended(call, after(10), after(71))
    assert scan(clock, 161) == 1
    assert_money(organization, balance=FUNDED - 98)


def test_given_a_reported_call_when_the_list_is_read_then_nothing_changes(
    organization, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = web_call(organization)
    clock.at(71)
    vapi.send(call.report(after(10), after(71)))
    vapi_api.shows_ended(call, after(10), after(300))
    assert scan(clock, 161) == 0
    assert call_of(call).attention == ""
    assert_money(organization, balance=FUNDED - 98)


def test_given_a_live_call_that_no_message_told_of_when_the_list_is_read_then_it_has_a_hold(
    organization, clock: Clock, vapi_api: VapiApi
) -> None:
    call = web_call(organization)
    clock.at(10)
    vapi_api.shows(call, "in-progress", started_at=after(10))
    assert scan(clock, 71) == 1
    assert scan(clock, 131) == 0
    known = call_of(call)
    assert (known.started_at, known.authorization) == (after(10), "authorized")
    assert_money(organization, balance=FUNDED, reserved=245)


def test_given_a_call_held_for_review_when_the_list_can_be_believed_then_it_is_settled(
    organization, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = web_call(organization)
    clock.at(71)
    vapi.send(call.report(after(71), after(10)))
    assert call_of(call).review_reason
    vapi_api.shows_ended(call, after(10), after(71))
    assert scan(clock, 161) == 1
    assert call_of(call).review_reason == ""
    assert_money(organization, balance=FUNDED - 98)


def test_given_calls_that_nobody_pays_for_when_the_list_is_read_then_staff_see_them_once(
    clock: Clock, vapi_api: VapiApi, caplog: pytest.LogCaptureFixture
) -> None:
    clock.at(80)
    for _ in range(3):
        vapi_api.shows_ended(VapiCall(type="webCall"), after(10), after(71))
    # One that never connected cost nothing.
    vapi_api.shows_ended(VapiCall(type="webCall"), None, after(71))
    assert scan(clock, 161) == 0
    assert scan(clock, 221) == 0
    assert [row.reason for row in UnbilledCall.objects.all()] == [
        "Nobody is known to pay for this call: neither its number nor its assistant is here."
    ] * 3
    assert caplog.text.count("calls_not_billed") == 1
    assert Call.objects.count() == 0


def test_given_a_call_that_cannot_be_billed_when_the_list_is_read_then_staff_see_it(
    organization, clock: Clock, vapi_api: VapiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = web_call(organization), web_call(organization)
    apply = reconciliation.apply

    def break_one(record, **more):
        if record.id == bad.id:
            raise RuntimeError
        return apply(record, **more)

    monkeypatch.setattr(reconciliation, "apply", break_one)
    clock.at(80)
    vapi_api.shows_ended(bad, after(10), after(71))
    vapi_api.shows_ended(good, after(10), after(71))
    assert scan(clock, 161) == 1
    assert UnbilledCall.objects.get().reason == "It could not be billed: RuntimeError."
    assert_money(organization, balance=FUNDED - 98)


def test_given_a_call_asked_about_in_vain_when_the_list_shows_no_more_then_its_attempts_count_on(
    organization, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = web_call(organization)
    vapi.send(call.status("in-progress", clock.at(10)))
    vapi.send(call.ended(clock.at(71)))
    Call.objects.update(reconcile_attempts=5)
    vapi_api.shows(call, "ended", started_at=after(10))

    scan(clock, 161)

    assert call_of(call).reconcile_attempts == 5
    assert call_of(call).settled_at is None


def test_given_a_reservation_by_the_ledger_alone_when_the_list_names_no_payer_then_it_is_charged(
    organization, clock: Clock, vapi_api: VapiApi
) -> None:
    call = VapiCall(type="webCall")
    reserve(organization, "their-own", vapi_call_id=call.id)
    clock.at(80)
    vapi_api.shows_ended(call, after(10), after(71))
    assert scan(clock, 161) == 1
    assert_money(organization, balance=FUNDED - 98)


# --- How far it is read -----------------------------------------------------------------------


def test_what_was_before_the_first_sweep_is_never_billed(
    organization, clock: Clock, vapi_api: VapiApi
) -> None:
    call = web_call(organization)
    vapi_api.shows_ended(call, after(-100), after(-39))
    vapi_api.touch(call, after(-30))
    for second in range(0, 2000, 60):
        assert scan(clock, second) == 0
    assert Call.objects.count() == 0


def test_given_a_list_that_lags_when_it_is_read_again_then_the_late_ones_are_found(
    organization, clock: Clock, vapi_api: VapiApi
) -> None:
    scan(clock, 1000)
    call = web_call(organization)
    vapi_api.shows_ended(call, after(300), after(361))
    vapi_api.touch(call, after(400))
    assert scan(clock, 1060) == 1


def test_given_hours_without_a_sweep_when_the_list_is_read_then_nothing_is_skipped(
    organization, clock: Clock, vapi_api: VapiApi
) -> None:
    vapi_api.longest_list = 10
    calls = [web_call(organization) for _ in range(100)]
    for number, call in enumerate(calls):
        vapi_api.shows_ended(call, after(number * 100), after(number * 100 + 30))
        # Many at about the same time.
        vapi_api.touch(call, after(number * 100 if number % 2 else 5000 + number * 0.01))
    assert scan(clock, 20_000) > 0
    for sweeps in range(30):
        if Call.objects.count() == 100:
            break
        assert len(vapi_api.listed) <= 1 + (sweeps + 1) * vapi_scan.REQUESTS_PER_SWEEP
        scan(clock, 20_000)
    assert_money(organization, balance=FUNDED - 100 * 49)


def test_given_an_outage_when_the_list_is_read_then_it_is_read_on_from_where_it_was(
    organization, clock: Clock, vapi_api: VapiApi
) -> None:
    call = web_call(organization)
    clock.at(80)
    vapi_api.shows_ended(call, after(10), after(71))
    vapi_api.fails_with = DOWN
    assert scan(clock, 161) is None
    assert reading().scan_from == START
    vapi_api.fails_with = VapiBusy(retry_after_seconds=120)
    assert scan(clock, 221) is None
    vapi_api.fails_with = None
    assert scan(clock, 340) is None
    assert scan(clock, 341) == 1


def test_given_more_calls_in_one_millisecond_than_are_listed_when_read_then_it_goes_on(
    organization, clock: Clock, vapi_api: VapiApi, caplog: pytest.LogCaptureFixture
) -> None:
    vapi_api.longest_list = 3
    for _ in range(5):
        call = web_call(organization)
        vapi_api.shows_ended(call, after(10), after(71))
        vapi_api.touch(call, after(80))
    late = web_call(organization)
    vapi_api.shows_ended(late, after(10), after(71))
    vapi_api.touch(late, after(90))
    for _ in range(4):
        scan(clock, 161)
    assert "vapi_list_incomplete" in caplog.text
    assert Call.objects.count() == 4
    assert call_of(late).charged_pence == 98


def test_given_a_sweep_that_died_when_another_comes_then_it_waits_for_its_lease_and_reads_on(
    organization, clock: Clock, vapi_api: VapiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = web_call(organization)
    clock.at(80)
    vapi_api.shows_ended(call, after(10), after(71))

    def die(records):
        raise SystemExit

    clock.at(161)
    with monkeypatch.context() as dying:
        dying.setattr(vapi_scan, "_bill", die)
        with pytest.raises(SystemExit):
            vapi_scan.scan()
    assert scan(clock, 200) is None
    assert scan(clock, 161 + 180) == 1


def test_the_number_of_statements_does_not_grow_with_calls_that_are_billed_already(
    organization, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    def statements(count: int) -> int:
        for _ in range(count):
            call = web_call(organization)
            vapi.send(call.report(after(10), after(20)))
            vapi_api.shows_ended(call, after(10), after(20))
        clock.at(200)
        VapiReading.objects.update(scan_from=START - timedelta(hours=1))
        with CaptureQueriesContext(connection) as captured:
            assert vapi_scan.scan() == 0
        return len(captured)

    clock.at(80)
    assert statements(2) == statements(20)
