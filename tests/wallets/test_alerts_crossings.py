"""Low and empty wallets are told of once per crossing, and a refill is asked for at one."""

from contextlib import suppress
from unittest import mock

import pytest
from celery import current_app
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tests.factories import OrganizationFactory
from tests.wallets.steps import (
    adjust,
    buy,
    claw_back,
    commit,
    extend,
    release,
    reserve,
    set_debt_limit,
    top_up,
)
from tests.wallets.test_ledger_statements import statements_of
from wallets import ledger
from wallets.ledger.crossings import RECHARGE_TASK
from wallets.models import Alert

PRICE_OF_A_MINUTE = 49


@pytest.fixture
def organization(db):
    """Its balance is 2,000p, low below 1,000p, and it is empty below 49p."""
    return OrganizationFactory(funded_pence=2_000)


def told(organization) -> list[str]:
    alerts = Alert.objects.filter(organization=organization).order_by("created_at")
    return list(alerts.values_list("kind", flat=True))


def test_given_many_charges_then_low_and_empty_are_told_once_each(organization):
    for number in range(45):
        commit(f"call-{number}", 60, organization_id=organization.pk)

    assert told(organization) == ["low_balance", "empty"]


def test_what_is_told_is_the_crossing_charges_figures(organization):
    buy(organization, 1_000)
    assert told(organization) == []

    buy(organization, 1)

    alert = Alert.objects.get()
    assert (alert.key, alert.context) == (
        "3",
        {"balance_pence": 999, "low_balance_pence": 1_000, "owed_pence": 0},
    )


def test_given_a_top_up_between_then_the_next_crossing_is_told_again(organization):
    buy(organization, 1_500)
    top_up(organization, 1_500)
    buy(organization, 1_500)

    assert told(organization) == ["low_balance", "low_balance"]


def test_given_a_charge_from_well_filled_to_empty_then_only_empty_is_told(organization):
    claw_back(organization, 3_000)

    alert = Alert.objects.get()
    assert (alert.kind, alert.context) == (
        "empty",
        {"balance_pence": 0, "debt_limit_pence": 0, "owed_pence": 1_000},
    )


def test_empty_means_that_the_shortest_call_cannot_be_paid(organization):
    buy(organization, 2_000 - PRICE_OF_A_MINUTE)
    assert told(organization) == ["low_balance"]

    adjust(organization, -1)

    assert told(organization) == ["low_balance", "empty"]


def test_given_a_debt_limit_then_it_is_empty_when_that_is_used_up_too(organization):
    set_debt_limit(organization, 500)
    commit("call-1", 41 * 60, organization_id=organization.pk)
    assert told(organization) == ["low_balance"]

    commit("call-2", 10 * 60, organization_id=organization.pk)

    empty = Alert.objects.get(kind="empty")
    assert empty.context == {"balance_pence": -499, "debt_limit_pence": 500, "owed_pence": 0}


def test_given_a_debt_limit_that_staff_lower_then_the_wallet_is_empty_by_that(db):
    organization = OrganizationFactory()
    set_debt_limit(organization, 500)
    set_debt_limit(organization, 0)
    set_debt_limit(organization, 500)
    set_debt_limit(organization, 0)

    assert told(organization) == ["empty"]


def test_given_holds_that_come_and_go_then_nobody_is_told(organization):
    for number in range(3):
        reserve(organization, f"call-{number}", minutes=40)
        release(f"call-{number}")

    assert told(organization) == []


def test_given_a_top_up_that_pays_what_was_owed_then_it_is_no_crossing(db):
    organization = OrganizationFactory(funded_pence=100)
    commit("call-1", 60 * 60, organization_id=organization.pk)
    assert told(organization) == ["empty"]

    top_up(organization, 3_000)  # 2,840p of it are owed

    assert told(organization) == ["empty"]


@pytest.mark.parametrize("pence", [10, 1_001])
def test_a_crossing_costs_one_statement_and_nothing_else_costs_any(organization, pence):
    with mock.patch("wallets.ledger.posting.announce_crossings"):
        without = len(statements_of(lambda: buy(organization, pence)))
    adjust(organization, pence)

    statements = statements_of(lambda: buy(organization, pence))

    assert len(statements) - without == len(told(organization)) == (1 if pence > 1_000 else 0)


class TestCommandsInAnyOrder(TestCase):
    """Against a reference that knows only the balances before and after each command."""

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["in", "out", "call"]), st.integers(1, 2_500))))
    def test_there_are_as_many_alerts_as_crossings(self, steps):
        organization = OrganizationFactory()
        expected = []
        for number, (step, pence) in enumerate(steps):
            organization.refresh_from_db()
            before = organization.balance_pence
            if step == "in":
                top_up(organization, pence)
            elif step == "out" and pence <= before:
                buy(organization, pence)
            elif step == "call":
                reserve_if_possible(organization, f"call-{number}")
                commit(f"call-{number}", pence, organization_id=organization.pk)
            organization.refresh_from_db()
            after = organization.balance_pence
            if after < PRICE_OF_A_MINUTE <= before:
                expected.append("empty")
            elif PRICE_OF_A_MINUTE <= after < 1_000 <= before:
                expected.append("low_balance")

        assert told(organization) == expected


def reserve_if_possible(organization, call_id):
    with suppress(ledger.InsufficientBalance):
        reserve(organization, call_id)


# --- the refill ---


@pytest.fixture
def recharges(django_capture_on_commit_callbacks):
    """How often a refill is asked for by what a function does."""

    def count(command) -> int:
        with (
            mock.patch.object(current_app, "send_task") as send_task,
            django_capture_on_commit_callbacks(execute=True),
        ):
            command()
        return [call.args[0] for call in send_task.call_args_list].count(RECHARGE_TASK)

    return count


@pytest.fixture
def recharging(organization):
    organization.auto_recharge_enabled = True
    organization.auto_recharge_threshold_pence = 1_500
    organization.save()
    return organization


def test_given_a_charge_below_the_threshold_then_a_refill_is_asked_for_once(recharging, recharges):
    assert recharges(lambda: buy(recharging, 500)) == 0
    assert recharges(lambda: buy(recharging, 1)) == 1
    assert recharges(lambda: buy(recharging, 1)) == 0


def test_the_task_is_told_whose_wallet_it_is(recharging, django_capture_on_commit_callbacks):
    with (
        mock.patch.object(current_app, "send_task") as send_task,
        django_capture_on_commit_callbacks(execute=True),
    ):
        buy(recharging, 501)

    send_task.assert_called_once_with(RECHARGE_TASK, args=[str(recharging.pk)], expires=60)


def test_given_a_hold_below_the_threshold_then_its_call_asks_and_its_charge_does_not(
    recharging, recharges
):
    assert recharges(lambda: reserve(recharging, minutes=10)) == 0
    assert recharges(lambda: extend("call-1", 11 * 60)) == 1
    assert recharges(lambda: extend("call-1", 12 * 60)) == 0
    assert recharges(lambda: commit("call-1", 12 * 60)) == 0


def test_given_holds_raised_by_the_sweep_then_each_wallet_that_crosses_asks(recharging, recharges):
    reserve(recharging, minutes=10)
    extensions = [ledger.Extension(call_id="call-1", cover_seconds=11 * 60)]

    assert recharges(lambda: ledger.extend_reservations(extensions=extensions)) == 1
    assert recharges(lambda: ledger.extend_reservations(extensions=extensions)) == 0


def test_given_that_refills_are_off_then_none_is_asked_for(organization, recharges):
    assert recharges(lambda: buy(organization, 1_990)) == 0
