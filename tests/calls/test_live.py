"""The sweep of live calls: holds stay ahead of cost, and calls end with their money."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from calls import ends, live, tasks
from calls.models import Call
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.wallets.steps import release, suspend, top_up
from tests.webhooks.fixtures import (
    START,
    Clock,
    ControlServer,
    Vapi,
    after,
    assert_money,
    call_of,
)
from tests.webhooks.vapi_payloads import VapiCall
from wallets.models import CreditReservation

pytestmark = pytest.mark.django_db


@pytest.fixture
def started(vapi: Vapi, clock: Clock, control_server: ControlServer):
    """Makes calls that were authorized and started at the start of the test."""

    def start(organization, count: int = 1) -> list[VapiCall]:
        number = PhoneNumberFactory(organization=organization)
        calls = [VapiCall(number=number) for _ in range(count)]
        clock.at(0)
        for call in calls:
            call.control_url = control_server.url(call.id)
            assert "assistantId" in vapi.send(call.assistant_request(START))
            vapi.send(call.status("in-progress", START))
        return calls

    return start


@pytest.fixture
def told(control_server: ControlServer):
    """What a call's control URL was told, in order."""

    def told(call: VapiCall) -> list[str]:
        return [body["type"] for path, body in control_server.received if call.id in path]

    return told


def held_pence(call: VapiCall) -> int:
    return CreditReservation.objects.get(call_id=call.id).reserved_pence


def sweep_until(clock: Clock, seconds: int) -> list[float]:
    """Sweep at every moment that a live call asks for; the seconds at which it was."""
    swept = []
    while True:
        moments = Call.objects.filter(check_at__isnull=False).values_list("check_at", flat=True)
        following = min(moments, default=None)
        if following is None or following > after(seconds):
            clock.at(seconds)
            return swept
        swept.append((following - START).total_seconds())
        clock.at(swept[-1])
        live.watch()


def test_a_call_with_money_goes_on_and_its_hold_is_ahead_of_its_cost(started, clock, told):
    organization = OrganizationFactory(funded_pence=10_000)
    [call] = started(organization)

    for second in range(0, 1200, 5):
        sweep_until(clock, second)
        assert held_pence(call) >= call_of(call).organization.tariff.price(second + 5)
    # Looked at once per half of the time between two checks, and not more often.
    assert len(sweep_until(clock, 2400)) <= 2400 / 31

    assert call_of(call).end_ordered_at is None
    assert told(call) == []


def test_a_call_ends_in_its_last_paid_second_less_the_lead_and_the_caller_is_warned_once(
    started, clock, told, vapi
):
    organization = OrganizationFactory(funded_pence=3 * 49)
    [call] = started(organization)

    swept = sweep_until(clock, 177)
    assert told(call) == ["say"]
    assert call_of(call).warned_at == after(149)
    swept += sweep_until(clock, 178)

    assert swept[-1] == 178
    assert told(call) == ["say", "end-call"]
    ended = call_of(call)
    assert (ended.end_ordered_at, ended.money_ended_at) == (after(178), after(180))
    assert ended.end_sent_at == after(178)
    assert ended.check_at is None
    vapi.send(call.report(START, clock.at(178.4)))
    assert_money(organization, balance=0)


def test_the_warning_says_how_many_seconds_are_left(started, clock, control_server):
    started(OrganizationFactory(funded_pence=3 * 49))
    sweep_until(clock, 150)
    [(_, body)] = control_server.received
    assert "31 seconds" in body["content"]


def test_a_top_up_before_the_last_moment_lets_the_call_go_on(started, clock, told):
    organization = OrganizationFactory(funded_pence=2 * 49)
    [call] = started(organization)
    sweep_until(clock, 110)
    top_up(organization, 49)
    sweep_until(clock, 177)
    assert told(call) == ["say"]
    sweep_until(clock, 178)
    assert told(call) == ["say", "end-call"]


def test_given_a_lost_task_the_next_sweep_ends_the_call(started, clock, told):
    [call] = started(OrganizationFactory(funded_pence=49))
    clock.at(63)
    live.watch()
    assert told(call) == ["end-call"]
    assert call_of(call).money_ended_at == after(60)


@pytest.mark.parametrize("funded_minutes", range(2, 12))
def test_several_calls_that_empty_one_wallet_end_before_any_second_is_unpaid(
    started, clock, vapi, funded_minutes
):
    organization = OrganizationFactory(funded_pence=funded_minutes * 49)
    # Each is authorized with what the ones before it left.
    with_money = min(funded_minutes // 5 + (funded_minutes % 5 > 0), 3)
    calls = started(organization, count=with_money)

    sweep_until(clock, 3600)

    for call in calls:
        ended = call_of(call)
        assert ended.end_ordered_at == ended.money_ended_at - timedelta(seconds=2)
        vapi.send(call.report(START, ended.end_ordered_at))
    assert_money(organization, balance=0)
    assert all(call_of(call).uncollected_pence == 0 for call in calls)


def test_a_suspended_organizations_calls_are_ended_by_the_next_sweep(started, clock, told):
    organization = OrganizationFactory(funded_pence=10_000)
    calls = started(organization, count=3)
    suspend(organization)
    clock.at(5)
    live.watch()
    assert [told(call) for call in calls] == [["end-call"]] * 3
    assert {call_of(call).money_ended_at for call in calls} == {None}


def test_a_suspended_organizations_ringing_call_is_ended_too(vapi, clock, control_server, told):
    organization = OrganizationFactory(funded_pence=1000)
    call = VapiCall(number=PhoneNumberFactory(organization=organization))
    call.control_url = control_server.url(call.id)
    clock.at(0)
    vapi.send(call.assistant_request(START))
    vapi.send(call.status("ringing", START))
    suspend(organization)
    live.watch()
    assert told(call) == ["end-call"]


def test_a_call_whose_hold_was_given_back_lives_on_the_wallet_and_ends_with_it(
    started, clock, told, vapi
):
    organization = OrganizationFactory(funded_pence=3 * 49)
    [call] = started(organization)
    release(call.id)
    clock.at(149)
    live.watch()
    assert call_of(call).check_at == after(154)
    sweep_until(clock, 200)
    assert told(call) == ["say", "end-call"]
    assert call_of(call).end_ordered_at == after(178)
    assert "hold of this call closed" in call_of(call).attention
    vapi.send(call.report(START, after(178)))
    assert_money(organization, balance=0)


def test_a_call_that_ended_is_not_looked_at_again(started, clock, vapi):
    [call] = started(OrganizationFactory(funded_pence=1000))
    vapi.send(call.ended(clock.at(10)))
    assert call_of(call).check_at is None
    clock.at(4000)
    assert live.watch() == 0


def test_an_end_that_vapi_refused_is_sent_again_by_the_sweep(started, clock, told, control_server):
    [call] = started(OrganizationFactory(funded_pence=49))
    sweep_until(clock, 57)
    control_server.answers = [500]
    sweep_until(clock, 58)
    clock.at(60)
    ends.send_ends(ends.take_overdue())
    assert told(call) == ["say", "end-call", "end-call"]
    assert call_of(call).end_sent_at == after(60)


def test_the_number_of_statements_does_not_depend_on_how_many_calls_are_due(started, clock):
    def statements(count: int) -> int:
        started(OrganizationFactory(funded_pence=count * 1000), count=count)
        clock.at(290)
        with CaptureQueriesContext(connection) as captured:
            assert live.watch() == count
        return len(captured)

    assert statements(2) == statements(30)


def test_moments_that_come_before_the_sweep_after_next_are_scheduled(started, clock):
    started(OrganizationFactory(funded_pence=49))
    sweep_until(clock, 30)
    assert live.moments_to_come() == []
    clock.at(50)
    assert live.moments_to_come() == [after(58)]


def test_a_sweep_that_was_scheduled_for_a_moment_schedules_none_for_other_moments(
    started, clock, monkeypatch
):
    """Or sweeps would double with every moment at which a call is due."""
    started(OrganizationFactory(funded_pence=10_000), count=3)
    clock.at(265)
    scheduled = []
    monkeypatch.setattr(ends, "sweep_at", lambda moments: scheduled.extend(moments))
    tasks.watch_due_calls()
    assert scheduled == []
    tasks.watch_live_calls()
    assert len(scheduled) == 3


def test_a_call_whose_end_nobody_saw_holds_no_more_of_the_wallet_and_staff_are_told(
    vapi, clock, control_server, told
):
    organization = OrganizationFactory(funded_pence=100_000)
    number = PhoneNumberFactory(organization=organization, assistant__max_duration_seconds=600)
    call = VapiCall(number=number, control_url=control_server.url("stuck"))
    clock.at(0)
    vapi.send(call.assistant_request(START))
    vapi.send(call.status("in-progress", START))

    sweep_until(clock, 3600)

    assert [body["type"] for _, body in control_server.received] == ["end-call"]
    assert held_pence(call) < 49 * 20
    assert "Its end was not seen" in call_of(call).attention
    assert call_of(call).money_ended_at is None
