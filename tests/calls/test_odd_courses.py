"""Courses that calls take when messages overtake each other, or money and staff move meanwhile."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import (
    START,
    Clock,
    ControlServer,
    EndTasks,
    Vapi,
    after,
    assert_money,
    call_of,
    send_overdue_ends,
)
from tests.webhooks.vapi_payloads import VapiCall
from wallets import ledger
from wallets.models import Organization
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def inbound() -> Callable[..., tuple[Organization, VapiCall]]:
    def make(funded_pence: int, **number: object) -> tuple[Organization, VapiCall]:
        organization = OrganizationFactory(funded_pence=funded_pence)
        return organization, VapiCall(
            number=PhoneNumberFactory(organization=organization, **number)
        )

    return make


# --- Refused, and no hold left behind ---------------------------------------------------------


@pytest.mark.parametrize("reason", ["no assistant", "suspended meanwhile"])
def test_given_a_status_that_overtook_the_request_when_refused_then_its_hold_is_given_back(
    vapi: Vapi, clock: Clock, inbound: Callable, reason: str
) -> None:
    number = {"assistant": None} if reason == "no assistant" else {}
    organization, call = inbound(10_000, **number)
    vapi.send(call.status("ringing", START))
    assert_money(organization, balance=10_000, reserved=245)
    if reason == "suspended meanwhile":
        ledger.suspend_organization(organization_id=organization.pk)

    assert "error" in vapi.send(call.assistant_request(clock.at(1)))

    assert_money(organization, balance=10_000, reserved=0)


def test_given_a_refusal_that_is_being_spoken_when_the_call_connects_then_it_is_not_cut_off(
    vapi: Vapi, clock: Clock, end_tasks: EndTasks, inbound: Callable
) -> None:
    _, call = inbound(0)
    assert "error" in vapi.send(call.assistant_request(START))

    vapi.send(call.status("in-progress", clock.at(1)))

    assert call_of(call).end_ordered_at is None
    assert end_tasks == []


# --- Must end, and is told so -----------------------------------------------------------------


def test_given_money_that_ended_when_the_call_shows_life_then_its_end_is_ordered(
    vapi: Vapi, clock: Clock, end_tasks: EndTasks, inbound: Callable
) -> None:
    _, call = inbound(49)
    vapi.send(call.status("in-progress", START))

    vapi.send(call.status("in-progress", clock.at(400)))

    assert call_of(call).end_ordered_at == after(400)
    assert call_of(call).money_ended_at == after(60)
    assert len(end_tasks) == 1


def test_given_a_suspension_when_a_paid_call_connects_then_it_is_ended_and_its_hold_stays(
    vapi: Vapi, clock: Clock, inbound: Callable
) -> None:
    organization, call = inbound(10_000)
    vapi.send(call.assistant_request(START))
    ledger.claw_back(
        organization_id=organization.pk,
        amount_pence=9_755,
        description="Disputed",
        idempotency_key="dispute",
    )

    vapi.send(call.status("in-progress", clock.at(5)))

    assert call_of(call).end_ordered_at == after(5)
    # It did not run out of money.
    assert call_of(call).money_ended_at is None
    clock.at(1_900)
    assert ledger.cleanup_expired_reservations() == 0


def test_given_an_order_without_an_address_when_the_address_comes_then_it_is_sent_at_once(
    vapi: Vapi, clock: Clock, control_server: ControlServer, end_tasks: EndTasks
) -> None:
    call = VapiCall(
        type="outboundPhoneCall", assistant=AssistantFactory(organization=OrganizationFactory())
    )
    vapi.send(call.status("queued", START))
    end_tasks.run()
    for second in range(5, 145, 5):
        clock.at(second)
        send_overdue_ends()
        end_tasks.run()

    call.control_url = control_server.url("late")
    vapi.send(call.status("in-progress", clock.at(145)))
    end_tasks.run()

    assert control_server.received == [("/late/control", {"type": "end-call"})]


def test_given_an_order_that_was_taken_when_the_call_lives_on_then_it_is_sent_again_and_staff_told(
    vapi: Vapi, clock: Clock, control_server: ControlServer, end_tasks: EndTasks, inbound: Callable
) -> None:
    _, call = inbound(49)
    call.control_url = control_server.url("deaf")
    vapi.send(call.status("in-progress", START))
    for second in (58, 118):
        clock.at(second)
        assert vapi.check(call)["endCall"] is True
        end_tasks.run()

    assert len(control_server.received) == 2
    assert "the call went on" in call_of(call).attention
    assert call_of(call).end_ordered_at == after(58)


# --- Settled by hand --------------------------------------------------------------------------


def test_given_a_call_settled_by_hand_when_its_report_differs_then_staff_see_both_figures(
    vapi: Vapi, clock: Clock, inbound: Callable
) -> None:
    organization, call = inbound(10_000)
    vapi.send(call.assistant_request(START))
    clock.at(700)
    ledger.commit_reserved_credits(call_id=call.id, duration_seconds=60)

    vapi.send(call.report(START, after(600)))

    known = call_of(call)
    assert (known.charged_pence, known.duration_seconds) == (490, 600)
    assert known.attention == "Settled before at 60 s, and corrected to the 600 s of Vapi's report."
    report = WebhookEvent.objects.get(type="end-of-call-report")
    assert report.outcome == "Settled: 600 s, 490p."
    assert_money(organization, balance=10_000 - 490)


def test_given_a_live_call_settled_by_hand_when_checked_then_it_is_ended(
    vapi: Vapi, clock: Clock, inbound: Callable
) -> None:
    _, call = inbound(10_000)
    vapi.send(call.status("in-progress", START))
    clock.at(30)
    ledger.commit_reserved_credits(call_id=call.id, duration_seconds=30)

    assert vapi.check(call)["endCall"] is True
    assert call_of(call).end_ordered_at == after(30)


def test_given_an_id_that_is_settled_when_asked_then_no_call_is_let_in_without_a_hold(
    vapi: Vapi, inbound: Callable
) -> None:
    organization, call = inbound(10_000)
    ledger.reserve_call_credits(organization_id=organization.pk, call_id=call.id)
    ledger.commit_reserved_credits(call_id=call.id, duration_seconds=60)

    assert "error" in vapi.send(call.assistant_request(START))


# --- Holds that closed too early, or are somebody else's --------------------------------------


def test_given_a_hold_that_lapsed_while_the_call_waited_when_it_connects_then_staff_are_told(
    vapi: Vapi, clock: Clock, inbound: Callable
) -> None:
    organization, call = inbound(400)
    vapi.send(call.status("queued", START))
    clock.at(1_801)
    assert ledger.cleanup_expired_reservations() == 1

    vapi.send(call.status("in-progress", after(1_801)))

    assert call_of(call).attention == "The hold of this call closed while the call was still alive."
    assert_money(organization, balance=400)


def test_given_another_organizations_hold_of_this_id_when_checked_then_it_is_not_touched(
    vapi: Vapi, inbound: Callable
) -> None:
    other = OrganizationFactory(funded_pence=10_000)
    _, call = inbound(0)
    vapi.send(call.assistant_request(START))
    ledger.reserve_call_credits(organization_id=other.pk, call_id=call.id)

    answer = vapi.check(call, 1_000)

    assert (answer["endCall"], answer["balance_pence"]) == (True, 0)
    assert_money(other, balance=10_000, reserved=245)


# --- Odd requests and reports -----------------------------------------------------------------


@pytest.mark.parametrize(("seconds_ago", "is_let_in"), [(19, True), (21, False), (86_400, True)])
def test_given_a_request_that_waited_on_its_way_when_nobody_waits_any_more_then_it_holds_nothing(
    vapi: Vapi, clock: Clock, inbound: Callable, seconds_ago: int, is_let_in: bool
) -> None:
    """What claims to be a day old has a wrong clock, and is believed to be fresh."""
    organization, call = inbound(10_000)
    clock.at(seconds_ago)

    answer = vapi.send(call.assistant_request(START))

    assert ("assistantId" in answer) is is_let_in
    assert_money(organization, balance=10_000, reserved=245 if is_let_in else 0)


def test_given_a_request_without_a_call_id_when_asked_then_the_caller_hears_something(
    vapi: Vapi, inbound: Callable
) -> None:
    _, call = inbound(10_000)
    message = call.assistant_request(START)
    del message["message"]["call"]["id"]

    assert "error" in vapi.send(message)


def test_given_a_late_refusal_for_suspension_when_recorded_then_no_money_is_said_to_have_ended(
    vapi: Vapi,
) -> None:
    organization = OrganizationFactory(funded_pence=10_000)
    ledger.suspend_organization(organization_id=organization.pk)
    call = VapiCall(type="webCall", assistant=AssistantFactory(organization=organization))

    vapi.send(call.status("in-progress", START))

    assert call_of(call).end_ordered_at is not None
    assert call_of(call).money_ended_at is None


def test_given_a_report_without_cost_when_a_second_brings_it_then_it_is_kept(
    vapi: Vapi, clock: Clock, inbound: Callable
) -> None:
    _, call = inbound(10_000)
    clock.at(300)
    vapi.send(call.report(START, after(290)))
    vapi.send(call.report(START, after(290), cost=0.5))

    assert call_of(call).vapi_cost_usd == Decimal("0.5")
    assert call_of(call).attention == ""
