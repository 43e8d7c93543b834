"""Vapi's figures beside ours, and calls that are on its bill alone."""

from datetime import date
from decimal import Decimal

import pytest

from calls import reconciliation, upstream, vapi_scan
from calls.models import Call, UnbilledCall, UpstreamDay
from calls.selectors import BELOW_COST, margins
from telephony.vapi_calls import VapiRequestFailed, get_call
from tests.calls.vapi_api import DOWN, VapiApi
from tests.factories import AssistantFactory, OrganizationFactory
from tests.webhooks.fixtures import Clock, Vapi, after, assert_money
from tests.webhooks.vapi_payloads import VapiCall
from wallets.models import Organization

pytestmark = pytest.mark.django_db

# The clock of these tests starts on 2 March 2026 at ten.
HOUR = 3600
MIDNIGHT = 14 * HOUR
TUESDAY = date(2026, 3, 3)
COMPARED = MIDNIGHT + 26 * HOUR


@pytest.fixture
def organization(nothing_read: None, clock: Clock, vapi_api: VapiApi) -> Organization:
    clock.at(0)
    vapi_scan.scan()
    return OrganizationFactory(funded_pence=10_000)


@pytest.fixture
def on_tuesday(organization: Organization, vapi: Vapi, clock: Clock, vapi_api: VapiApi):
    """Plays a call of so many seconds that day, of which Vapi has a record of so many."""

    def play(reported: int | None, recorded: int | None, at: int = HOUR) -> VapiCall:
        call = VapiCall(assistant=AssistantFactory(organization=organization), type="webCall")
        start = MIDNIGHT + at
        clock.at(start + 300)
        if reported is not None:
            vapi.send(call.report(after(start), after(start + reported)))
        if recorded is not None:
            vapi_api.shows_ended(call, after(start), after(start + recorded))
        return call

    return play


def compare(clock: Clock, seconds: float = COMPARED) -> UpstreamDay | None:
    clock.at(seconds)
    return upstream.compare_next_day()


def test_given_the_same_calls_when_a_day_is_compared_then_there_is_nothing_to_tell(
    on_tuesday, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    on_tuesday(61, 61)
    on_tuesday(30, 30, at=0)
    on_tuesday(30, 30, at=24 * HOUR - 31)
    # The day before and the day after.
    on_tuesday(100, 50, at=-HOUR)
    on_tuesday(100, 50, at=24 * HOUR)

    day = compare(clock)

    assert day is not None
    assert (day.day, day.vapi_calls, day.vapi_seconds) == (TUESDAY, 3, 121)
    assert (day.our_calls, day.our_seconds, day.details) == (3, 121, "")
    assert not day.differs
    assert "upstream_difference" not in caplog.text


@pytest.mark.parametrize(
    ("reported", "recorded", "told"),
    [
        (61, 62, "62 s at Vapi, 61 s here"),
        (None, 62, "62 s at Vapi, nothing here"),
        (61, None, "nothing at Vapi, 61 s here"),
    ],
)
def test_given_a_difference_when_a_day_is_compared_then_staff_are_told_once_with_both_figures(
    on_tuesday, clock: Clock, caplog: pytest.LogCaptureFixture, reported, recorded, told
) -> None:
    on_tuesday(30, 30)
    call = on_tuesday(reported, recorded)

    day = compare(clock)
    assert compare(clock, COMPARED + HOUR) is None

    assert day is not None
    assert day.differs
    assert day.details == f"{call.id}: {told}"
    assert (day.vapi_seconds, day.our_seconds) == (30 + (recorded or 0), 30 + (reported or 0))
    assert caplog.text.count("upstream_difference") == 1


def test_given_two_differences_that_add_up_to_none_when_compared_then_the_day_differs(
    on_tuesday, clock: Clock
) -> None:
    on_tuesday(30, 31)
    on_tuesday(31, 30)
    day = compare(clock)
    assert day is not None
    assert (day.vapi_seconds, day.our_seconds) == (61, 61)
    assert day.differs


def test_the_day_on_which_billing_began_is_not_compared_and_missed_days_are_made_up_for(
    on_tuesday, clock: Clock
) -> None:
    assert compare(clock, MIDNIGHT + 3 * HOUR) is None
    assert compare(clock, MIDNIGHT + 25.9 * HOUR) is None
    found = []
    while day := compare(clock, MIDNIGHT + 24 * HOUR * 12 + 3 * HOUR):
        found.append(day.day.day)
    # The last seven that are over.
    assert found == [8, 9, 10, 11, 12, 13, 14]


def test_given_vapi_down_when_a_day_is_compared_then_it_is_compared_later(
    on_tuesday, clock: Clock, vapi_api: VapiApi
) -> None:
    on_tuesday(61, 61)
    vapi_api.fails_with = DOWN
    assert compare(clock) is None
    vapi_api.fails_with = None
    day = compare(clock, COMPARED + HOUR)
    assert day is not None
    assert not day.differs


def test_given_a_list_too_long_to_read_when_compared_then_no_half_figures_are_kept(
    on_tuesday, clock: Clock, vapi_api: VapiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        on_tuesday(61, 61, at=number * 1000)
    vapi_api.longest_list = 2
    monkeypatch.setattr(upstream, "REQUESTS_PER_DAY", 4)
    assert compare(clock) is None
    assert UpstreamDay.objects.count() == 0


# --- Calls that nobody pays for ---------------------------------------------------------------


def test_given_an_unbilled_call_when_its_payer_was_entered_then_staff_bill_it(
    organization: Organization, clock: Clock, vapi_api: VapiApi
) -> None:
    call = VapiCall(assistant=AssistantFactory.build(), type="webCall")
    clock.at(80)
    vapi_api.shows_ended(call, after(10), after(71))
    clock.at(161)
    vapi_scan.scan()
    outcome = reconciliation.bill_unbilled(get_call(call.id))
    assert "Nobody is known to pay" in outcome.text
    assert UnbilledCall.objects.count() == 1

    AssistantFactory(organization=organization, vapi_assistant_id=call.assistant.vapi_assistant_id)
    outcome = reconciliation.bill_unbilled(get_call(call.id))
    assert "Settled: 61 s, 98p" in outcome.text
    assert UnbilledCall.objects.count() == 0
    with pytest.raises(VapiRequestFailed, match="Vapi knows no call by this id"):
        get_call("gone")
    assert_money(organization, balance=10_000 - 98)


# --- Margin -----------------------------------------------------------------------------------


def test_calls_are_below_cost_by_the_rate_of_the_day_they_were_settled(
    organization: Organization, vapi: Vapi, clock: Clock, settings
) -> None:
    settings.USD_TO_GBP_RATE = Decimal("0.5")
    for cost in (0.97, 0.98, 1.0, None):
        call = VapiCall(assistant=AssistantFactory(organization=organization), type="webCall")
        vapi.send(call.report(after(-60), after(0), cost=cost))
    below = Call.objects.filter(BELOW_COST)
    assert [call.vapi_cost_pence for call in below] == [50]
    settings.USD_TO_GBP_RATE = Decimal(1)
    assert below.count() == 1


def test_margins_are_by_day_and_organization_newest_first(
    vapi: Vapi, clock: Clock, settings
) -> None:
    settings.USD_TO_GBP_RATE = Decimal("0.5")
    clock.at(0)
    first = OrganizationFactory(funded_pence=10_000, name="First")
    second = OrganizationFactory(funded_pence=10_000, name="Second")
    for organization, ended, cost in (
        (first, 0, 1.5),
        (first, -1, 0.5),
        (second, 0, 0.5),
        (first, -24 * HOUR, 0.5),
        (first, -10 * 24 * HOUR, 0.5),
    ):
        call = VapiCall(assistant=AssistantFactory(organization=organization), type="webCall")
        vapi.send(call.report(after(ended - 60), after(ended), cost=cost))
    found = [
        (
            margin.day.day,
            margin.organization_name,
            margin.calls,
            margin.calls_below_cost,
            margin.profit.provider_cost_pence,
            margin.profit.charged_pence,
        )
        for margin in margins(days=3)
    ]
    assert found == [
        (2, "First", 2, 1, 100, 98),
        (2, "Second", 1, 0, 25, 49),
        (1, "First", 1, 0, 25, 49),
    ]


def test_given_a_reported_call_that_nobody_was_charged_for_when_compared_then_it_is_missing_here(
    on_tuesday, clock: Clock
) -> None:
    call = on_tuesday(61, 61)
    Call.objects.update(
        settled_at=None,
        settled_from="",
        charged_pence=None,
        uncollected_pence=None,
        review_reason="It cannot be believed.",
    )

    day = compare(clock)

    assert (day.vapi_calls, day.our_calls) == (1, 0)
    assert call.id in day.details


def test_given_a_day_too_long_to_be_read_when_compared_then_the_next_day_has_its_turn(
    on_tuesday, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_tuesday(61, 61)
    listed = upstream._listed

    def too_long_on_tuesday(day: date) -> dict[str, int]:
        if day == TUESDAY:
            raise upstream.ListTooLong("too long")
        return listed(day)

    monkeypatch.setattr(upstream, "_listed", too_long_on_tuesday)

    day = compare(clock, COMPARED + 24 * HOUR)

    assert day is not None
    assert day.day == date(2026, 3, 4)
    assert "upstream_not_compared" in caplog.text
