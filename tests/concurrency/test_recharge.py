"""Many commits take a wallet below its threshold at once: one recharge is started."""

import pytest

from tests.concurrency.harness import run_together
from tests.factories import OrganizationFactory
from tests.wallets.steps import commit
from tests.wallets.stripe import Stripe, keep_card, stripe
from wallets.models import Organization, TopUp
from wallets.payments import recharge

__all__ = ["stripe"]

pytestmark = pytest.mark.django_db(transaction=True)

COMMITS = 50


@pytest.fixture
def organization(db):
    """It has 3,000p, and recharges below 2,000p."""
    organization = OrganizationFactory(
        funded_pence=3_000, auto_recharge_enabled=True, auto_recharge_threshold_pence=2_000
    )
    keep_card(organization)
    return organization


def commit_and_recharge(organization):
    """Each commit does what the task that a crossing sends would do, and what a sweep would."""

    def command(number):
        commit(f"call-{number}", 60, organization_id=organization.pk)
        recharge.recharge(organization.pk)
        recharge.recharge_low_wallets()

    return [lambda number=number: command(number) for number in range(COMMITS)]


def test_given_fifty_commits_that_cross_at_once_then_one_recharge_is_started(
    organization, stripe: Stripe
):
    outcomes = run_together(commit_and_recharge(organization))

    assert [outcome.error for outcome in outcomes if not outcome.succeeded] == []
    assert len(stripe.intents) == 1
    assert TopUp.objects.count() == 1


def test_control_without_the_lock_more_than_one_is_tried_and_the_database_refuses(
    organization, stripe: Stripe, monkeypatch
):
    """The partial unique index stands behind the lock."""
    Organization.objects.filter(pk=organization.pk).update(auto_recharge_threshold_pence=5_000)
    monkeypatch.setattr(recharge, "lock_organization", lambda pk: Organization.objects.get(pk=pk))

    outcomes = run_together([lambda: recharge.recharge(organization.pk)] * 20)

    refused = [str(outcome.error) for outcome in outcomes if not outcome.succeeded]
    assert refused
    assert all("topups_one_recharge_in_flight" in error for error in refused)
    assert len(stripe.intents) == 1
