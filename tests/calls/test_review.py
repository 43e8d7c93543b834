"""Calls whose record cannot be believed: nothing is charged blindly, and nothing is forgotten."""

from datetime import timedelta

import pytest

from calls import reconciliation, review, self_reported
from calls.models import Call
from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.wallets.steps import release
from tests.webhooks.fixtures import START, Clock, Vapi, after, assert_money, call_of
from tests.webhooks.vapi_payloads import VapiCall
from wallets.models import Organization

pytestmark = pytest.mark.django_db

FUNDED = 10_000
CAP = 600


@pytest.fixture
def in_review(vapi: Vapi, clock: Clock) -> VapiCall:
    """A call that was capped at 600 s, and reported to have lasted 3,000."""
    organization = OrganizationFactory(funded_pence=FUNDED)
    assistant = AssistantFactory(organization=organization, max_duration_seconds=CAP)
    call = VapiCall(number=PhoneNumberFactory(organization=organization, assistant=assistant))
    clock.at(0)
    vapi.send(call.assistant_request(START))
    vapi.send(call.status("in-progress", START))
    clock.at(3000)
    vapi.send(call.report(START, after(3000)))
    return call


def wallet_of(call: VapiCall) -> Organization:
    assert call.number is not None
    return call.number.organization


def settle(call: VapiCall, seconds: int, reason: str = "Asked Vapi's support") -> Call:
    return review.settle(
        call_pk=call_of(call).pk, duration_seconds=seconds, reason=reason, staff_name="alice"
    )


def test_given_an_impossible_duration_when_reported_then_it_waits_for_staff(
    in_review: VapiCall,
) -> None:
    assert list(review.waiting()) == [call_of(in_review)]
    assert "lasted 3000 s, but it was capped at 600 s" in call_of(in_review).review_reason
    assert_money(wallet_of(in_review), balance=FUNDED, reserved=245)


def test_given_a_call_in_review_when_its_hold_would_expire_then_it_is_kept(
    in_review: VapiCall, clock: Clock
) -> None:
    for minute in range(50, 300):
        clock.at(minute * 60)
        assert reconciliation.expire_holds() == 0
    assert_money(wallet_of(in_review), balance=FUNDED, reserved=245)


@pytest.mark.parametrize(
    ("seconds", "charged"), [(3000, 50 * 49), (600, 490), (61, 98), (1, 49), (0, 0)]
)
def test_given_a_decision_when_settled_then_just_that_is_charged_and_said_who_and_why(
    in_review: VapiCall, seconds: int, charged: int
) -> None:
    settled = settle(in_review, seconds)

    assert settled.charged_pence == charged
    known = call_of(in_review)
    assert (known.settled_from, known.duration_seconds) == ("staff", seconds)
    assert known.review_decision == f"{seconds} s, by alice: Asked Vapi's support"
    assert known.review_reason == ""
    assert list(review.waiting()) == []
    assert_money(wallet_of(in_review), balance=FUNDED - charged)


def test_given_a_hold_that_staff_released_when_settled_then_it_is_charged_all_the_same(
    in_review: VapiCall,
) -> None:
    release(in_review.id)
    settle(in_review, 61)
    assert_money(wallet_of(in_review), balance=FUNDED - 98)


def test_given_a_settled_review_when_settled_again_then_refused_and_nothing_is_charged(
    in_review: VapiCall,
) -> None:
    settle(in_review, 61)
    with pytest.raises(review.NotInReview):
        settle(in_review, 600)
    assert_money(wallet_of(in_review), balance=FUNDED - 98)


@pytest.mark.parametrize(("seconds", "reason"), [(-1, "why"), (10**9, "why"), (61, " ")])
def test_given_nonsense_when_settled_then_refused_and_the_review_goes_on(
    in_review: VapiCall, seconds: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=r".+"):
        settle(in_review, seconds, reason)
    assert review.waiting().count() == 1
    assert_money(wallet_of(in_review), balance=FUNDED, reserved=245)


def test_given_a_decision_when_vapi_reports_again_then_it_stands_and_both_figures_are_shown(
    in_review: VapiCall, vapi: Vapi
) -> None:
    settle(in_review, 61)
    vapi.send(in_review.report(START, after(120)))
    assert "Settled at 61 s; a later report says 120 s." in call_of(in_review).attention
    assert_money(wallet_of(in_review), balance=FUNDED - 98)


def test_given_a_call_in_review_when_a_report_comes_that_can_be_believed_then_it_is_charged(
    in_review: VapiCall, vapi: Vapi
) -> None:
    vapi.send(in_review.report(START, after(120)))
    assert call_of(in_review).settled_from == "vapi"
    assert list(review.waiting()) == []
    assert_money(wallet_of(in_review), balance=FUNDED - 98)


def test_given_a_call_in_review_when_a_report_says_no_duration_then_vapi_is_asked(
    in_review: VapiCall, vapi: Vapi, clock: Clock
) -> None:
    vapi.send(in_review.report())
    known = call_of(in_review)
    assert (known.review_reason, known.reconcile_at) == ("", after(3000))


def test_given_a_call_in_review_when_vapi_shows_it_live_then_it_stays_in_review(
    in_review: VapiCall, vapi: Vapi
) -> None:
    vapi.send(in_review.status("in-progress", after(3001)))
    assert list(review.waiting()) == [call_of(in_review)]


def test_given_a_call_that_the_customer_settled_when_staff_decide_then_it_is_corrected(
    vapi: Vapi, clock: Clock
) -> None:
    organization = OrganizationFactory(funded_pence=FUNDED)
    call = VapiCall(number=PhoneNumberFactory(organization=organization))
    clock.at(0)
    self_reported.commit(organization_id=organization.pk, call_id=call.id, duration_seconds=1)
    vapi.send(call.report(after(60), START))
    assert call_of(call).review_reason
    settle(call, 61)
    assert "corrected to the 61 s of staff's decision" in call_of(call).attention
    assert_money(organization, balance=FUNDED - 98)


def test_given_dates_in_the_future_when_their_time_has_come_then_staff_still_decide(
    vapi: Vapi, clock: Clock
) -> None:
    organization = OrganizationFactory(funded_pence=FUNDED)
    call = VapiCall(number=PhoneNumberFactory(organization=organization))
    clock.at(0)
    vapi.send(call.assistant_request(START))
    vapi.send(call.report(START, START + timedelta(hours=1)))
    clock.at(7200)
    assert reconciliation.settle_missing_reports() == 0
    assert review.waiting().count() == 1


@pytest.mark.parametrize(("started", "is_settled"), [(5, True), (4.001, True), (4, False)])
def test_given_a_report_of_no_time_at_all_when_the_call_was_seen_for_a_second_then_staff_decide(
    vapi: Vapi, clock: Clock, started: float, is_settled: bool
) -> None:
    """A call that begins and ends in the same millisecond costs nothing."""
    organization = OrganizationFactory(funded_pence=FUNDED)
    call = VapiCall(assistant=AssistantFactory(organization=organization), type="webCall")
    clock.at(started)
    vapi.send(call.status("in-progress", after(started)))
    clock.at(10)
    vapi.send(call.report(after(5), after(5)))

    known = call_of(call)
    assert (known.settled_at is not None, known.review_reason == "") == (is_settled, is_settled)
    assert_money(organization, balance=FUNDED, reserved=0 if is_settled else 245)
