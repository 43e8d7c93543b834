"""Calls that send no assistant-request: outbound, web, and numbers with a fixed assistant."""

from typing import Any

import pytest

from calls import ends, lifecycle, live, reconciliation
from calls.models import Call
from tests.calls.vapi_api import VapiApi
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
from wallets.models import CreditReservation

pytestmark = pytest.mark.django_db

END_CALL = {"type": "end-call"}


def web_call(funded_pence: int = 0, control_url: str | None = None) -> VapiCall:
    owner = OrganizationFactory(funded_pence=funded_pence)
    assistant = AssistantFactory(organization=owner, max_duration_seconds=600)
    return VapiCall(type="webCall", assistant=assistant, control_url=control_url)


# --- It can be paid for -----------------------------------------------------------------------


@pytest.mark.parametrize("status", ["queued", "ringing", "in-progress", "forwarding"])
def test_given_nobody_asked_before_when_a_call_lives_then_its_first_sign_of_life_makes_the_hold(
    vapi: Vapi, clock: Clock, end_tasks: EndTasks, status: str
) -> None:
    call = web_call(funded_pence=10_000)

    assert vapi.send(call.status(status, START)) == {}

    assert_money(call.assistant.organization, balance=10_000, reserved=245)
    known = call_of(call)
    assert known.authorization == Call.Authorization.AUTHORIZED
    # Nobody asked, so Vapi was told no cap.
    assert known.max_duration_seconds is None
    assert known.started_at == (START if status == "in-progress" else None)
    assert end_tasks == []


@pytest.mark.parametrize("status", ["scheduled", "not-found", "deletion-failed", "ended"])
def test_given_nobody_asked_before_when_a_call_does_not_live_then_no_hold_is_made(
    vapi: Vapi, end_tasks: EndTasks, status: str
) -> None:
    call = web_call(funded_pence=10_000)

    vapi.send(call.status(status, START))

    assert_money(call.assistant.organization, balance=10_000)
    assert end_tasks == []


def test_given_an_outbound_call_from_a_number_when_it_is_queued_then_the_numbers_owner_pays(
    vapi: Vapi,
) -> None:
    owner = OrganizationFactory(funded_pence=10_000)
    number = PhoneNumberFactory(organization=owner)
    call = VapiCall(type="outboundPhoneCall", number=number, assistant=number.assistant)

    vapi.send(call.status("queued", START))

    assert_money(owner, balance=10_000, reserved=245)
    known = call_of(call)
    assert (known.type, known.phone_number) == ("outboundPhoneCall", number)
    assert known.attention == ""


def test_given_a_whole_life_when_each_status_comes_then_one_hold_is_made_and_one_charge(
    vapi: Vapi, clock: Clock
) -> None:
    call = web_call(funded_pence=10_000)

    for seconds, status in enumerate(["queued", "ringing", "in-progress"]):
        vapi.send(call.status(status, clock.at(seconds)))
        assert_money(call.assistant.organization, balance=10_000, reserved=245)
    vapi.send(call.ended(clock.at(64)))
    vapi.send(call.report(after(2), after(64)))

    assert_money(call.assistant.organization, balance=10_000 - 98)
    assert CreditReservation.objects.get().status == "committed"


def test_given_a_wallet_of_one_increment_when_a_call_starts_then_it_lives_on_that(
    vapi: Vapi, end_tasks: EndTasks
) -> None:
    call = web_call(funded_pence=49)

    vapi.send(call.status("in-progress", START))

    assert_money(call.assistant.organization, balance=49, reserved=49)
    assert end_tasks == []


def test_given_a_call_by_a_squad_when_it_starts_then_the_squads_owner_pays(vapi: Vapi) -> None:
    squad = AssistantFactory(organization=OrganizationFactory(funded_pence=10_000), is_squad=True)
    message = VapiCall(type="webCall").status("in-progress", START)
    message["message"]["call"]["squadId"] = squad.vapi_assistant_id
    message["message"]["call"]["assistantId"] = "one-of-its-members"

    vapi.send(message)

    assert_money(squad.organization, balance=10_000, reserved=245)


# --- Its start was lost -----------------------------------------------------------------------


def test_given_a_start_that_was_lost_when_its_money_could_end_then_vapi_is_asked_in_time(
    vapi: Vapi, clock: Clock, vapi_api: VapiApi, control_server: ControlServer
) -> None:
    call = web_call(funded_pence=49, control_url=control_server.url("call"))
    vapi.send(call.status("queued", clock.at(0)))
    vapi_api.shows(call, "in-progress", started_at=after(1))

    for seconds in range(0, 60, 5):
        clock.at(seconds)
        live.watch()
        reconciliation.settle_missing_reports()
    assert call_of(call).started_at == after(1)
    clock.at(59)
    live.watch()

    # Its 60 paid seconds end at 61.
    assert control_server.received[-1] == ("/call/control", END_CALL)
    assert call_of(call).money_ended_at == after(61)


def test_given_a_start_that_was_lost_when_a_status_check_says_how_long_then_it_is_known(
    vapi: Vapi, clock: Clock
) -> None:
    call = web_call(funded_pence=10_000)
    vapi.send(call.status("queued", clock.at(0)))

    clock.at(40)
    vapi.check(call, 30)

    assert call_of(call).started_at == after(10)


# --- It cannot be paid for --------------------------------------------------------------------


@pytest.mark.parametrize("status", ["queued", "ringing", "in-progress"])
@pytest.mark.parametrize("funded_pence", [0, 48])
def test_given_no_money_when_a_call_lives_then_its_end_is_ordered_once_and_sent_each_time(
    vapi: Vapi,
    clock: Clock,
    end_tasks: EndTasks,
    control_server: ControlServer,
    status: str,
    funded_pence: int,
) -> None:
    call = web_call(funded_pence, control_server.url("live"))

    assert vapi.send(call.status(status, START)) == {}
    vapi.send(call.status(status, clock.at(1)))
    vapi.send(call.status("in-progress", clock.at(2)))

    known = call_of(call)
    assert known.authorization == Call.Authorization.REFUSED
    assert known.end_ordered_at == known.money_ended_at == START
    assert_money(call.assistant.organization, balance=funded_pence)
    assert end_tasks == [str(known.pk)] * 3

    end_tasks.run()

    # The tasks that come after the order was taken send nothing.
    assert control_server.received == [("/live/control", END_CALL)]
    known = call_of(call)
    assert known.end_sent_at == after(2)
    assert known.end_retry_at is None


def test_given_an_order_that_is_rolled_back_when_the_message_fails_then_nothing_is_sent(
    vapi: Vapi, end_tasks: EndTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = web_call()
    progress = lifecycle.progress

    def progress_and_break(*args: Any, **kwargs: Any) -> None:
        progress(*args, **kwargs)
        raise RuntimeError("broken after the order")

    monkeypatch.setattr(lifecycle, "progress", progress_and_break)

    vapi.send(call.status("ringing", START))

    assert end_tasks == []
    assert not Call.objects.exists()


def test_given_a_suspended_organization_when_a_call_lives_then_it_is_ended(
    vapi: Vapi, end_tasks: EndTasks, control_server: ControlServer
) -> None:
    call = web_call(10_000, control_server.url("live"))
    ledger.suspend_organization(organization_id=call.assistant.organization.pk)

    vapi.send(call.status("ringing", START))
    end_tasks.run()

    assert control_server.received == [("/live/control", END_CALL)]
    assert_money(call.assistant.organization, balance=10_000)


def test_given_a_refused_call_when_it_is_reported_all_the_same_then_what_it_cost_is_owed(
    vapi: Vapi, clock: Clock
) -> None:
    call = web_call(10)
    vapi.send(call.status("in-progress", START))
    clock.at(10)

    vapi.send(call.report(START, after(5), reason="assistant-ended-call"))

    assert_money(call.assistant.organization, balance=0, owed=39)
    known = call_of(call)
    assert (known.charged_pence, known.uncollected_pence) == (10, 39)
    assert known.end_ordered_at == START
    assert known.ended_at == after(5)


def test_given_a_call_of_nobody_when_it_lives_then_nothing_is_held_and_staff_can_see_it(
    vapi: Vapi, end_tasks: EndTasks
) -> None:
    call = VapiCall(type="webCall", assistant=AssistantFactory.build(organization=None))

    assert vapi.send(call.status("in-progress", START)) == {}

    assert not Call.objects.exists()
    assert end_tasks == []


# --- The order is sent until it arrives -------------------------------------------------------


def refused_call(vapi: Vapi, control_url: str | None) -> VapiCall:
    call = web_call(0, control_url)
    vapi.send(call.status("ringing", START))
    return call


def test_given_the_task_was_lost_when_the_sweep_comes_then_the_order_is_sent(
    vapi: Vapi, clock: Clock, end_tasks: EndTasks, control_server: ControlServer
) -> None:
    call = refused_call(vapi, control_server.url("live"))
    end_tasks.clear()

    clock.at(6.9)
    assert send_overdue_ends() == 0
    clock.at(7)
    assert send_overdue_ends() == 1
    end_tasks.run()

    assert control_server.received == [("/live/control", END_CALL)]
    clock.at(3600)
    assert send_overdue_ends() == 0
    assert call_of(call).end_sent_at == after(7)


def test_given_the_broker_is_down_when_a_call_is_ended_then_the_message_is_processed_and_kept(
    vapi: Vapi, clock: Clock, monkeypatch: pytest.MonkeyPatch, control_server: ControlServer
) -> None:
    def no_broker(call_pk: str) -> None:
        raise ConnectionError("no broker")

    with monkeypatch.context() as patch:
        patch.setattr(ends.send_end, "delay", no_broker)
        call = refused_call(vapi, control_server.url("live"))

    clock.at(10)
    assert ends.take_overdue() == [call_of(call).pk]


def test_given_a_sent_order_when_the_task_runs_again_then_nothing_more_is_sent(
    vapi: Vapi, end_tasks: EndTasks, control_server: ControlServer
) -> None:
    call = refused_call(vapi, control_server.url("live"))
    pk = str(call_of(call).pk)

    for _ in range(3):
        ends.send_end(pk)

    assert len(control_server.received) == 1
    assert call_of(call).end_attempts == 1


@pytest.mark.parametrize("over", ["ended", "reported"])
def test_given_a_call_that_is_over_when_the_task_runs_then_nothing_is_sent(
    vapi: Vapi, clock: Clock, end_tasks: EndTasks, control_server: ControlServer, over: str
) -> None:
    call = refused_call(vapi, control_server.url("live"))
    vapi.send(call.ended(clock.at(1)) if over == "ended" else call.report(START, after(1)))

    assert end_tasks.run() == 1

    assert control_server.received == []
    known = call_of(call)
    assert known.end_retry_at is None
    assert known.end_sent_at is None


@pytest.mark.parametrize(
    ("failing", "sentence"),
    [
        ([500], "answered 500"),
        ([404], "answered 404"),
        ([302], "answered 302"),
    ],
)
def test_given_a_control_url_that_fails_when_the_order_is_sent_then_it_is_tried_again_later(
    vapi: Vapi,
    clock: Clock,
    end_tasks: EndTasks,
    control_server: ControlServer,
    failing: list[int],
    sentence: str,
) -> None:
    control_server.answers = failing * 2
    call = refused_call(vapi, control_server.url("live"))

    end_tasks.run()
    assert call_of(call).end_retry_at == after(0.5)
    clock.at(0.5)
    send_overdue_ends()
    end_tasks.run()
    assert call_of(call).end_retry_at == after(0.5 + 1)
    clock.at(1.5)
    send_overdue_ends()
    end_tasks.run()

    known = call_of(call)
    assert (known.end_sent_at, known.end_attempts) == (after(1.5), 3)
    assert known.attention == ""


def test_given_a_control_url_that_never_works_when_all_attempts_failed_then_staff_are_told(
    vapi: Vapi, clock: Clock, end_tasks: EndTasks, control_server: ControlServer
) -> None:
    control_server.answers = [500] * 100
    call = refused_call(vapi, control_server.url("live"))

    due = []
    end_tasks.run()
    while len(control_server.received) < ends.ATTEMPTS_BEFORE_ATTENTION:
        seconds = (call_of(call).end_retry_at - START).total_seconds()
        due.append(seconds)
        clock.at(seconds)
        assert send_overdue_ends() == 1
        end_tasks.run()

    assert due == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 127.5, 247.5]
    # And it is sent on, for as long as the call lives.
    assert call_of(call).end_retry_at == after(247.5) + ends.LONGEST_PAUSE
    assert "could not be ended" in call_of(call).attention
    assert "answered 500" in call_of(call).attention


def test_given_a_control_url_that_does_not_answer_when_the_order_is_sent_then_it_times_out(
    vapi: Vapi,
    clock: Clock,
    end_tasks: EndTasks,
    control_server: ControlServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("telephony.vapi_control.CONTROL_TIMEOUT_SECONDS", 0.2)
    control_server.answers = [None]
    call = refused_call(vapi, control_server.url("live"))

    end_tasks.run()

    known = call_of(call)
    assert (known.end_attempts, known.end_sent_at, known.end_retry_at) == (1, None, after(0.5))


def test_given_nobody_listens_at_the_control_url_when_the_order_is_sent_then_it_is_tried_again(
    vapi: Vapi, clock: Clock, end_tasks: EndTasks
) -> None:
    call = refused_call(vapi, "http://127.0.0.1:9/control")

    end_tasks.run()

    assert call_of(call).end_retry_at == after(0.5)


def test_given_the_control_url_comes_late_when_the_order_is_retried_then_it_is_sent(
    vapi: Vapi, clock: Clock, end_tasks: EndTasks, control_server: ControlServer
) -> None:
    call = refused_call(vapi, None)
    end_tasks.run()
    assert call_of(call).end_retry_at == after(0.5)

    call.control_url = control_server.url("late")
    vapi.send(call.status("in-progress", clock.at(1)))
    clock.at(2)
    send_overdue_ends()
    end_tasks.run()

    assert control_server.received == [("/late/control", END_CALL)]


def test_given_all_attempts_failed_when_the_call_shows_life_again_then_it_is_tried_again(
    vapi: Vapi, clock: Clock, end_tasks: EndTasks, control_server: ControlServer
) -> None:
    call = refused_call(vapi, None)
    end_tasks.run()
    for seconds in (0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 127.5, 247.5):
        clock.at(seconds)
        send_overdue_ends()
        end_tasks.run()
    assert "no control address" in call_of(call).attention

    call.control_url = control_server.url("late")
    vapi.send(call.status("in-progress", clock.at(300)))
    send_overdue_ends()
    end_tasks.run()

    assert control_server.received == [("/late/control", END_CALL)]
