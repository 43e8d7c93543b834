"""extend_reservations: the holds of many live calls are raised as one by one, in few statements."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import commit, extend, release, reserve, suspend
from wallets import ledger
from wallets.models import CreditReservation

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def extend_all(*wanted, **more):
    return ledger.extend_reservations(
        extensions=[
            ledger.Extension(call_id=call_id, cover_seconds=seconds, **more)
            for call_id, seconds in wanted
        ]
    )


@pytest.mark.django_db
def test_given_calls_of_two_wallets_when_extended_then_each_pays_for_its_own():
    first, second = OrganizationFactory(funded_pence=500), OrganizationFactory(funded_pence=100)
    reserve(first, "a", minutes=1)
    reserve(first, "b", minutes=1)
    reserve(second, "c", minutes=1)

    held = extend_all(("a", 121), ("b", 61), ("c", 61))

    assert {call_id: hold.reserved_pence for call_id, hold in held.items()} == {
        "a": 147,
        "b": 98,
        "c": 98,
    }
    assert wallet_figures(first) == WalletFigures(500, 245, 0)
    assert wallet_figures(second) == WalletFigures(100, 98, 0)
    assert_ledger_intact()


@pytest.mark.django_db
def test_given_money_for_one_of_two_when_extended_then_the_first_in_order_gets_it():
    organization = OrganizationFactory(funded_pence=3 * 49)
    reserve(organization, "a", minutes=1)
    reserve(organization, "b", minutes=1)

    held = extend_all(("b", 61), ("a", 61))

    assert (held["b"].reserved_pence, held["a"].reserved_pence) == (98, 49)
    assert (held["b"].duplicate, held["a"].duplicate) == (False, False)
    assert wallet_figures(organization) == WalletFigures(147, 147, 0)


@pytest.mark.django_db
def test_given_a_closed_hold_or_an_unknown_call_when_extended_then_neither_is_raised():
    organization = OrganizationFactory(funded_pence=500)
    reserve(organization, "released")
    release("released")
    reserve(organization, "settled")
    commit("settled", 1)

    with nothing_changes():
        held = extend_all(("released", 600), ("settled", 600), ("unknown", 600))

    assert {call_id: hold.active for call_id, hold in held.items()} == {
        "released": False,
        "settled": False,
    }


@pytest.mark.django_db
def test_given_a_suspended_organization_when_extended_then_its_hold_is_renewed_and_not_raised():
    organization = OrganizationFactory(funded_pence=500)
    with time_machine.travel(NOON, tick=False):
        reserve(organization, "a", minutes=1)
    suspend(organization)
    with time_machine.travel(NOON + timedelta(minutes=20), tick=False):
        held = extend_all(("a", 600), live_until=NOON + timedelta(hours=2))

    assert held["a"].reserved_pence == 49
    assert CreditReservation.objects.get().expires_at == NOON + timedelta(hours=2)


@pytest.mark.django_db
def test_asking_twice_for_the_same_seconds_changes_nothing():
    organization = OrganizationFactory(funded_pence=500)
    with time_machine.travel(NOON, tick=False):
        reserve(organization, "a", minutes=1)
        extend_all(("a", 61))
        with nothing_changes():
            assert extend_all(("a", 61))["a"].duplicate


@pytest.mark.django_db
def test_the_number_of_statements_does_not_depend_on_how_many_calls_there_are():
    def statements(prefix, count):
        organizations = [OrganizationFactory(funded_pence=100_000) for _ in range(count // 5)]
        for number in range(count):
            reserve(organizations[number % len(organizations)], f"{prefix}-{number}", minutes=1)
        with CaptureQueriesContext(connection) as captured:
            held = extend_all(*((f"{prefix}-{number}", 61) for number in range(count)))
        assert len(held) == count
        return len(captured)

    assert statements("few", 5) == statements("many", 100)


@pytest.mark.django_db
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    funds=st.integers(0, 1500),
    debt_limit=st.sampled_from([0, 100]),
    wanted=st.lists(st.integers(0, 900), min_size=1, max_size=6),
)
def test_all_at_once_comes_to_the_same_as_one_by_one(funds, debt_limit, wanted):
    def holds_after(extend_them):
        organization = OrganizationFactory(funded_pence=funds + 49 * len(wanted))
        if debt_limit:
            ledger.set_debt_limit(organization_id=organization.pk, debt_limit_pence=debt_limit)
        names = [f"{organization.pk}-{number}" for number in range(len(wanted))]
        for name in names:
            reserve(organization, name, minutes=1)
        extend_them(list(zip(names, wanted, strict=True)))
        held = dict(CreditReservation.objects.values_list("call_id", "reserved_pence"))
        return [held[name] for name in names], wallet_figures(organization)

    def one_by_one(calls):
        for name, seconds in calls:
            extend(name, seconds)

    assert holds_after(lambda calls: extend_all(*calls)) == holds_after(one_by_one)
    assert_ledger_intact()
