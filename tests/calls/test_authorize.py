"""The assistant-request: who may take the call, for how long, and on whose money."""

from datetime import timedelta
from typing import Any

import pytest

from calls import lifecycle, live
from calls.models import Call
from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import (
    START,
    Clock,
    ControlServer,
    Vapi,
    after,
    assert_money,
    call_of,
)
from tests.webhooks.vapi_answer_validator import is_accepted, problems
from tests.webhooks.vapi_payloads import VapiCall
from wallets import ledger
from wallets.models import CreditReservation, Organization
from webhooks import inbox
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db

LEAD = 2


def inbound(*, max_duration_seconds: int = 43_200, **organization: Any) -> VapiCall:
    """An inbound call to a new organization's number."""
    owner = OrganizationFactory(**organization)
    assistant = AssistantFactory(organization=owner, max_duration_seconds=max_duration_seconds)
    return VapiCall(number=PhoneNumberFactory(organization=owner, assistant=assistant))


def per_second(pence: int, **organization: Any) -> VapiCall:
    """An inbound call at a penny a second."""
    return inbound(
        funded_pence=pence, rate_pence_per_minute=60, billing_increment_seconds=1, **organization
    )


def max_duration_seconds(answer: dict[str, Any]) -> int:
    assert problems(answer) == []
    assert is_accepted(answer), answer
    return answer["assistantOverrides"]["maxDurationSeconds"]


def assert_refused(answer: dict[str, Any]) -> None:
    assert problems(answer) == []
    assert list(answer) == ["error"]
    assert not CreditReservation.objects.exists()
    assert not Organization.objects.exclude(reserved_pence=0).exists()


# --- The answer -------------------------------------------------------------------------------


def test_given_a_funded_wallet_when_asked_then_the_numbers_assistant_answers_on_a_hold(
    vapi: Vapi, clock: Clock
) -> None:
    call = inbound(funded_pence=10_000)

    answer = vapi.send(call.assistant_request(START))

    assert answer["assistantId"] == call.number.assistant.vapi_assistant_id
    # 10,000p is 204 whole minutes of 49p.
    assert max_duration_seconds(answer) == 204 * 60 - LEAD
    assert_money(call.number.organization, balance=10_000, reserved=245)
    hold = CreditReservation.objects.get()
    assert (hold.call_id, hold.vapi_call_id) == (call.id, call.id)
    known = call_of(call)
    assert known.authorization == Call.Authorization.AUTHORIZED
    assert known.organization == call.number.organization
    assert known.phone_number == call.number
    assert known.assistant == call.number.assistant
    assert known.max_duration_seconds == 204 * 60 - LEAD
    assert known.attention == ""


@pytest.mark.parametrize(
    ("funded_pence", "limit_seconds", "seconds"),
    [
        (49, 43_200, 60 - LEAD),
        (97, 43_200, 60 - LEAD),
        (98, 43_200, 120 - LEAD),
        (49, 600, 60 - LEAD),
        (10_000, 600, 600),
        (10_000, 10, 10),
        (10_000, 12_239, 12_238),
        (1_000_000, 43_200, 43_200),
        (1_000_000, 43_199, 43_199),
    ],
)
def test_given_a_wallet_and_an_assistants_limit_when_asked_then_the_lowest_bound_is_the_cap(
    vapi: Vapi, funded_pence: int, limit_seconds: int, seconds: int
) -> None:
    call = inbound(funded_pence=funded_pence, max_duration_seconds=limit_seconds)

    assert max_duration_seconds(vapi.send(call.assistant_request(START))) == seconds


def test_given_a_number_that_a_squad_answers_when_asked_then_the_squad_is_named_and_capped(
    vapi: Vapi,
) -> None:
    call = inbound(funded_pence=49)
    call.number.assistant.is_squad = True
    call.number.assistant.save()

    answer = vapi.send(call.assistant_request(START))

    assert problems(answer) == []
    assert answer == {
        "squadId": call.number.assistant.vapi_assistant_id,
        "squadOverrides": {
            "maxDurationSeconds": 60 - LEAD,
            "serverMessages": lifecycle.SERVER_MESSAGES,
        },
    }


def test_given_a_debt_limit_when_asked_then_calls_may_use_it(vapi: Vapi) -> None:
    call = inbound()
    ledger.set_debt_limit(organization_id=call.number.organization.pk, debt_limit_pence=100)

    assert max_duration_seconds(vapi.send(call.assistant_request(START))) == 120 - LEAD
    assert_money(call.number.organization, balance=0, reserved=98)


def test_given_money_that_another_call_holds_when_asked_then_only_the_rest_counts(
    vapi: Vapi,
) -> None:
    first = inbound(funded_pence=245 + 98)
    second = VapiCall(number=first.number)

    assert max_duration_seconds(vapi.send(first.assistant_request(START))) == 420 - LEAD
    assert max_duration_seconds(vapi.send(second.assistant_request(START))) == 120 - LEAD
    assert_money(first.number.organization, balance=343, reserved=343)


# --- Refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pence", [12, 13])
def test_given_just_enough_seconds_when_asked_then_the_call_is_let_in(
    vapi: Vapi, pence: int
) -> None:
    call = per_second(pence)

    assert max_duration_seconds(vapi.send(call.assistant_request(START))) == pence - LEAD
    assert_money(call.number.organization, balance=pence, reserved=pence)


@pytest.mark.parametrize("pence", [0, 1, 2, 10, 11])
def test_given_less_than_ten_seconds_and_the_lead_when_asked_then_the_call_is_refused(
    vapi: Vapi, pence: int
) -> None:
    call = per_second(pence)

    assert_refused(vapi.send(call.assistant_request(START)))
    assert call_of(call).authorization == Call.Authorization.REFUSED


@pytest.mark.parametrize("pence", [0, 48])
def test_given_less_than_one_increment_when_asked_then_the_call_is_refused(
    vapi: Vapi, pence: int
) -> None:
    assert_refused(vapi.send(inbound(funded_pence=pence).assistant_request(START)))


def test_given_a_suspended_organization_when_asked_then_the_call_is_refused(vapi: Vapi) -> None:
    call = inbound(funded_pence=10_000)
    ledger.suspend_organization(organization_id=call.number.organization.pk)

    assert_refused(vapi.send(call.assistant_request(START)))
    assert "suspended" in WebhookEvent.objects.get().outcome


def test_given_a_number_without_assistant_when_asked_then_it_is_refused_and_staff_are_told(
    vapi: Vapi,
) -> None:
    owner = OrganizationFactory(funded_pence=10_000)
    call = VapiCall(number=PhoneNumberFactory(organization=owner, assistant=None))

    assert_refused(vapi.send(call.assistant_request(START)))
    assert call_of(call).attention == "The number has no assistant, so its calls are refused."


def test_given_an_unknown_number_when_asked_then_it_is_refused_and_the_event_says_so(
    vapi: Vapi,
) -> None:
    OrganizationFactory(funded_pence=10_000)
    call = VapiCall(number=PhoneNumberFactory.build(organization=None, assistant=None))

    assert_refused(vapi.send(call.assistant_request(START)))
    assert not Call.objects.exists()
    event = WebhookEvent.objects.get()
    assert event.status == WebhookEvent.Status.UNUSABLE
    assert event.organization is None
    assert "Nobody is known to pay" in event.outcome


def test_given_no_call_in_the_request_when_asked_then_nothing_is_let_in(vapi: Vapi) -> None:
    message = inbound(funded_pence=10_000).assistant_request(START)
    del message["message"]["call"]

    answer = vapi.send(message)

    assert not is_accepted(answer)
    assert WebhookEvent.objects.get().status == WebhookEvent.Status.UNUSABLE
    assert not CreditReservation.objects.exists()


# --- Asked again ------------------------------------------------------------------------------


@pytest.mark.parametrize("funded_pence", [0, 10_000])
def test_given_an_answered_request_when_it_comes_again_then_the_first_answer_is_given(
    vapi: Vapi, clock: Clock, funded_pence: int
) -> None:
    call = inbound(funded_pence=funded_pence)
    answer = vapi.send(call.assistant_request(START))
    reserved = 245 if funded_pence else 0

    # What has changed since changes no answer.
    ledger.add_credits(
        organization_id=call.number.organization.pk,
        amount_pence=5_000,
        credit_type="topup",
        description="Later",
        idempotency_key="later",
    )
    same_bytes = vapi.send(call.assistant_request(START))
    other_bytes = vapi.send(call.assistant_request(clock.at(3)))
    much_later = vapi.send(call.assistant_request(clock.at(300)))

    assert same_bytes == other_bytes == much_later == answer
    assert WebhookEvent.objects.count() == 3
    assert_money(call.number.organization, balance=funded_pence + 5_000, reserved=reserved)


def test_given_a_stored_request_when_it_is_processed_too_late_then_it_is_not_authorized(
    vapi: Vapi, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = inbound(funded_pence=10_000)
    with monkeypatch.context() as patch:
        # The process dies between storing and processing.
        patch.setattr(inbox, "process", lambda event_id: None)
        vapi.send(call.assistant_request(START))

    clock.at(31)
    assert inbox.retry_due_events() == 1

    event = WebhookEvent.objects.get()
    assert event.status == WebhookEvent.Status.PROCESSED
    assert_refused(event.answer)
    # Asked anew, and in time, it is a request like any other.
    assert is_accepted(vapi.send(call.assistant_request(clock.at(32))))


@pytest.mark.parametrize(("age_seconds", "authorized"), [(0, True), (20, True), (20.001, False)])
def test_given_a_requests_age_when_it_is_processed_then_only_a_fresh_one_is_authorized(
    clock: Clock, age_seconds: float, authorized: bool
) -> None:
    call = inbound(funded_pence=10_000)
    event = WebhookEvent.objects.create(
        source="vapi",
        digest="0" * 64,
        type="assistant-request",
        payload=call.assistant_request(START),
        received_at=START,
        next_attempt_at=START,
    )
    clock.at(age_seconds)

    assert is_accepted(inbox.process(event.pk)) == authorized
    assert CreditReservation.objects.exists() == authorized


def test_given_a_refused_request_when_staff_replay_it_later_then_no_hold_is_made(
    vapi: Vapi, clock: Clock
) -> None:
    call = inbound()
    answer = vapi.send(call.assistant_request(START))
    ledger.add_credits(
        organization_id=call.number.organization.pk,
        amount_pence=5_000,
        credit_type="topup",
        description="Later",
        idempotency_key="later",
    )
    clock.at(3600)

    assert inbox.replay(WebhookEvent.objects.get().pk) == answer
    assert_refused(answer)


def test_given_a_failed_request_when_retried_or_replayed_later_then_it_is_never_held(
    vapi: Vapi, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = inbound(funded_pence=10_000)
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "authorize", broken)
        answer = vapi.send(call.assistant_request(START))
    assert_refused(answer)
    event = WebhookEvent.objects.get()
    assert event.status == WebhookEvent.Status.FAILED

    # The caller was told an error and has hung up.
    clock.at(5)
    assert vapi.send(call.assistant_request(START)) == answer
    clock.at(60)
    assert inbox.retry_due_events() == 0
    assert_refused(inbox.replay(event.pk))


def broken(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("broken")


def test_given_a_call_that_is_over_when_asked_then_it_is_refused(vapi: Vapi, clock: Clock) -> None:
    call = inbound(funded_pence=10_000)
    vapi.send(call.ended(START))

    assert_refused(vapi.send(call.assistant_request(clock.at(1))))


def test_given_a_call_id_that_another_organization_holds_when_asked_then_vapis_facts_decide(
    vapi: Vapi,
) -> None:
    call = inbound(funded_pence=10_000)
    other = OrganizationFactory(funded_pence=245)
    ledger.reserve_call_credits(organization_id=other.pk, call_id=call.id)

    answer = vapi.send(call.assistant_request(START))

    assert "assistantId" in answer
    assert_money(call.number.organization, balance=10_000, reserved=245)
    assert_money(other, balance=245)
    assert call_of(call).attention == f"{other} had claimed the id of this call, and gave it up."


# --- Who pays ---------------------------------------------------------------------------------


def test_given_number_and_assistant_of_two_organizations_when_asked_then_the_numbers_owner_pays(
    vapi: Vapi,
) -> None:
    call = inbound(funded_pence=10_000)
    stranger = AssistantFactory(organization=OrganizationFactory(funded_pence=10_000))
    call.assistant = stranger

    answer = vapi.send(call.assistant_request(START))

    assert answer["assistantId"] == call.number.assistant.vapi_assistant_id
    assert_money(call.number.organization, balance=10_000, reserved=245)
    assert_money(stranger.organization, balance=10_000)
    known = call_of(call)
    assert known.assistant == call.number.assistant
    for name in (call.number, call.number.organization, stranger, stranger.organization):
        assert str(name) in known.attention
    assert "the number's owner pays" in known.attention


@pytest.mark.parametrize("name", ["organization_id", "organizationId", "orgId", "org_id"])
def test_given_metadata_naming_another_organization_when_asked_then_it_has_no_effect(
    vapi: Vapi, name: str
) -> None:
    call = inbound(funded_pence=10_000)
    other = OrganizationFactory(funded_pence=10_000)
    call.metadata = {name: str(other.pk)}

    assert is_accepted(vapi.send(call.assistant_request(START)))
    vapi.send(call.report(after(0), after(60)))

    assert_money(call.number.organization, balance=10_000 - 49)
    assert_money(other, balance=10_000)
    assert call_of(call).attention == ""


def test_given_metadata_alone_when_asked_then_it_makes_nobody_pay(vapi: Vapi) -> None:
    other = OrganizationFactory(funded_pence=10_000)
    call = VapiCall(type="webCall", metadata={"organization_id": str(other.pk)})

    assert not is_accepted(vapi.send(call.assistant_request(START)))
    vapi.send(call.report(after(0), after(60)))

    assert_money(other, balance=10_000)


def test_given_a_number_known_by_its_digits_only_when_asked_then_its_owner_pays(
    vapi: Vapi,
) -> None:
    call = inbound(funded_pence=10_000)
    call.number.vapi_phone_number_id = "not-recorded-yet"

    assert is_accepted(vapi.send(call.assistant_request(START)))
    assert_money(call.number.organization, balance=10_000, reserved=245)


def test_given_the_organization_was_fixed_when_another_number_is_named_then_it_stays(
    vapi: Vapi, clock: Clock
) -> None:
    call = inbound(funded_pence=10_000)
    other = inbound(funded_pence=10_000)
    vapi.send(call.assistant_request(START))

    own_number, call.number = call.number, other.number
    vapi.send(call.report(after(0), after(60)))

    assert_money(own_number.organization, balance=10_000 - 49)
    assert_money(other.number.organization, balance=10_000)


def test_given_a_change_of_tariff_when_the_call_runs_then_it_pays_the_tariff_of_its_start(
    vapi: Vapi,
) -> None:
    call = inbound(funded_pence=10_000)
    vapi.send(call.assistant_request(START))
    Organization.objects.update(rate_pence_per_minute=980, billing_increment_seconds=1)

    vapi.send(call.report(START, START + timedelta(seconds=61)))

    assert_money(call.number.organization, balance=10_000 - 98)


# --- Refused, and connected all the same --------------------------------------------------------


def test_given_a_refused_call_that_vapi_connects_when_it_has_heard_why_then_it_is_ended(
    vapi: Vapi, clock: Clock, control_server: ControlServer
) -> None:
    call = inbound(funded_pence=0)
    call.control_url = control_server.url("call")
    assert_refused(vapi.send(call.assistant_request(START)))

    vapi.send(call.status("in-progress", clock.at(1)))
    clock.at(20)
    live.watch()
    assert control_server.received == []
    clock.at(21)
    live.watch()

    assert control_server.received == [("/call/control", {"type": "end-call"})]
    assert "Vapi connected it all the same" in call_of(call).attention


def test_given_a_refused_call_that_vapi_ends_when_its_time_comes_then_nothing_is_sent(
    vapi: Vapi, clock: Clock, control_server: ControlServer
) -> None:
    call = inbound(funded_pence=0)
    call.control_url = control_server.url("call")
    vapi.send(call.assistant_request(START))
    vapi.send(call.status("in-progress", clock.at(1)))
    vapi.send(call.ended(clock.at(5), "assistant-request-returned-error"))

    clock.at(21)
    live.watch()

    assert control_server.received == []
