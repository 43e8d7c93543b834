"""The judgement over a storm: what is right passes, and each thing that is wrong is named."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from calls.models import Call
from tests.factories import OrganizationFactory
from tests.operations.test_commands import falsify
from voxbilling.operations.storm.judge import Verdict, judge, unsettled
from voxbilling.operations.storm.play import Truth
from wallets import ledger
from wallets.models import CreditTransaction, Organization

pytestmark = pytest.mark.django_db

ENDED_AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def truth(**facts: Any) -> Truth:
    usual = {
        "id": "a",
        "connected": True,
        "seconds": 10,
        "ended_at": ENDED_AT,
        "ended_reason": "customer-ended-call",
        "end_accepted_at": None,
        "control_requests": 0,
        "messages": [{"message": "report", "outcome": "lost"}],
    }
    return Truth(**(usual | facts))


@pytest.fixture
def organization() -> Organization:
    return OrganizationFactory(
        funded_pence=100, rate_pence_per_minute=49, billing_increment_seconds=1
    )


def hold(organization: Organization, call_id: str = "a") -> None:
    ledger.reserve_call_credits(
        organization_id=organization.pk, call_id=call_id, vapi_call_id=call_id
    )


def charge(organization: Organization, seconds: int, call_id: str = "a") -> None:
    ledger.commit_reserved_credits(
        call_id=call_id, duration_seconds=seconds, organization_id=organization.pk
    )


def only_problem(verdict: Verdict) -> str:
    assert len(verdict.problems) == 1, verdict.problems
    return verdict.problems[0]


def test_given_a_call_that_was_charged_when_judged_then_all_is_well(
    organization: Organization,
) -> None:
    hold(organization)
    charge(organization, 10)

    verdict = judge([truth(), truth(id="never", connected=False, seconds=0)])

    assert verdict.problems == []
    assert (verdict.connected, verdict.charged_pence) == (1, 9)
    assert (verdict.not_billed, verdict.billed_twice, verdict.overrun_pence) == (0, 0, 0)
    assert verdict.cut_percentiles is None
    assert unsettled([truth()]) == 0


def test_given_a_call_that_was_not_charged_when_judged_then_it_counts(
    organization: Organization,
) -> None:
    verdict = judge([truth()])

    assert verdict.not_billed == 1
    assert only_problem(verdict) == (
        "Call a (customer-ended-call, 10 s; report lost; control URL asked 0 times) "
        "was not charged."
    )
    assert unsettled([truth()]) == 1


def test_given_a_connected_call_that_was_settled_at_nothing_when_judged_then_it_is_not_billed(
    organization: Organization,
) -> None:
    hold(organization)
    charge(organization, 0)

    assert judge([truth()]).not_billed == 1
    assert unsettled([truth()]) == 1


@pytest.mark.parametrize("seconds", [9, 11])
def test_given_a_call_that_was_charged_for_other_seconds_when_judged_then_it_is_named(
    organization: Organization, seconds: int
) -> None:
    charge(organization, seconds)

    assert "costs 9p, and was charged" in only_problem(judge([truth()]))


def test_given_other_seconds_of_the_same_price_when_judged_then_they_are_wrong_all_the_same(
    organization: Organization,
) -> None:
    # 6 s and 5 s cost 5p both.
    charge(organization, 6)

    assert "costs 5p, and was charged 5p for [6] s" in only_problem(judge([truth(seconds=5)]))


def test_given_a_call_that_never_connected_when_it_was_charged_then_it_is_named(
    organization: Organization,
) -> None:
    charge(organization, 10)

    assert "costs 0p, and was charged 9p" in only_problem(
        judge([truth(connected=False, seconds=0)])
    )


def test_given_a_charge_for_nothing_when_judged_then_it_is_named(
    organization: Organization,
) -> None:
    charge(organization, 10)

    assert only_problem(judge([])) == "Call a was charged, and never was a call."


def test_given_a_second_charge_when_judged_then_it_counts(organization: Organization) -> None:
    charge(organization, 10)
    charge(organization, 10, call_id="b")
    # The database itself refuses this.
    falsify("DROP INDEX credit_transactions_one_charge_per_call")
    falsify(
        "UPDATE credit_transactions SET reservation_id = "
        "(SELECT id FROM credit_reservations WHERE call_id = 'a') WHERE type = 'call_deduction'"
    )

    verdict = judge([truth()])

    assert verdict.billed_twice == 1
    assert any("was charged 2 times" in problem for problem in verdict.problems)


def test_given_a_hold_that_is_left_when_judged_then_it_is_named(
    organization: Organization,
) -> None:
    hold(organization, "b")
    charge(organization, 10)

    assert "is left, though all calls are over" in only_problem(judge([truth()]))
    assert unsettled([truth()]) == 1


def test_given_a_ledger_that_does_not_add_up_when_judged_then_it_is_named(
    organization: Organization,
) -> None:
    charge(organization, 10)
    falsify("UPDATE organizations SET balance_pence = 1 WHERE id = %s", organization.pk)

    assert "balance_pence is recorded as 1" in only_problem(judge([truth()]))


def test_given_calls_that_cost_more_than_there_was_when_judged_then_that_is_the_overrun(
    organization: Organization,
) -> None:
    hold(organization)
    charge(organization, 130)

    verdict = judge([truth(seconds=130)])

    # 107p, of which 100p were there.
    assert verdict.problems == []
    assert (verdict.charged_pence, verdict.overrun_pence) == (100, 7)
    assert verdict.overrun_pence_per_1000_calls == 7_000


def test_given_calls_that_were_ended_for_want_of_money_when_judged_then_their_delay_is_told(
    organization: Organization,
) -> None:
    truths = []
    for number, delay_seconds in enumerate([-2, -1, 3]):
        call_id = f"call-{number}"
        charge(organization, 10, call_id)
        Call.objects.create(
            organization=organization,
            call_id=call_id,
            vapi_call_id=call_id,
            money_ended_at=ENDED_AT - timedelta(seconds=delay_seconds),
        )
        truths.append(truth(id=call_id))

    verdict = judge(truths)

    assert verdict.problems == []
    assert verdict.cut_percentiles == (-1_000, 3_000)
    (latest,) = verdict.latest_cuts(1)
    assert latest.startswith("Call call-2 ")
    assert latest.endswith(" ended +3,000 ms")
    assert CreditTransaction.objects.filter(type="call_deduction").count() == 3
