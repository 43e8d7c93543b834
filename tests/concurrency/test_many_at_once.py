"""Hundreds of requests at one wallet, over the product's bounded pool of connections."""

import pytest

from tests.concurrency.expectations import assert_one_reservation, assert_one_spends
from tests.concurrency.harness import run_together
from tests.factories import OrganizationFactory
from tests.wallets.invariants import WalletFigures, wallet_figures
from tests.wallets.steps import buy, reserve
from wallets import ledger

pytestmark = pytest.mark.django_db(transaction=True)


def test_given_50_requests_when_they_reserve_one_call_then_1_reservation_and_49_duplicates():
    organization = OrganizationFactory(funded_pence=1000)

    outcomes = run_together([lambda: reserve(organization)] * 50)

    assert_one_reservation(outcomes, "call-1")
    assert sum(outcome.result.duplicate for outcome in outcomes) == 49
    assert wallet_figures(organization) == WalletFigures(1000, 245, 0)


@pytest.mark.parametrize("requests", [100, 1000])
def test_given_money_for_one_when_many_buy_then_exactly_one_does(requests):
    organization = OrganizationFactory(funded_pence=1000)

    outcomes = run_together([lambda: buy(organization, 1000)] * requests)

    assert len(outcomes) == requests
    assert_one_spends(outcomes)
    assert wallet_figures(organization) == WalletFigures(0, 0, 0)


@pytest.mark.parametrize("requests", [100, 1000])
def test_given_money_for_one_when_many_calls_reserve_then_exactly_one_does(requests):
    organization = OrganizationFactory(funded_pence=245)

    outcomes = run_together(
        [
            lambda number=number: reserve(organization, f"call-{number}")
            for number in range(requests)
        ]
    )

    assert len(outcomes) == requests
    assert_one_spends(outcomes)
    assert wallet_figures(organization) == WalletFigures(245, 245, 0)


def test_given_money_for_one_when_purchases_and_calls_mix_then_exactly_one_succeeds():
    """Twenty minutes cost 980 p, which leaves less than an increment of 1000 p."""
    organization = OrganizationFactory(funded_pence=1000)
    commands = []
    for number in range(25):
        commands.append(lambda: buy(organization, 1000))
        commands.append(lambda number=number: reserve(organization, f"call-{number}", minutes=20))

    assert_one_spends(run_together(commands))


def test_given_one_key_when_50_buy_with_it_then_1_purchase_and_49_duplicates():
    organization = OrganizationFactory(funded_pence=1000)

    outcomes = run_together([lambda: buy(organization, 300, idempotency_key="one")] * 50)

    assert all(outcome.succeeded for outcome in outcomes)
    assert len({outcome.result.transaction_id for outcome in outcomes}) == 1
    assert sum(not outcome.result.duplicate for outcome in outcomes) == 1
    assert wallet_figures(organization).balance_pence == 700


def test_given_the_money_of_ten_when_100_buy_then_ten_do():
    organization = OrganizationFactory(funded_pence=1000)

    outcomes = run_together([lambda: buy(organization, 100)] * 100)

    assert sum(outcome.succeeded for outcome in outcomes) == 10
    assert {type(outcome.error) for outcome in outcomes} == {type(None), ledger.InsufficientBalance}
    assert wallet_figures(organization) == WalletFigures(0, 0, 0)
