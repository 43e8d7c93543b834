"""GET /api/billing/wallet."""

import pytest
from django.utils import timezone

from tests.api.history import write_history
from tests.factories import OrganizationFactory
from tests.wallets.steps import buy, commit, reserve, set_debt_limit, suspend, top_up
from wallets.models import Organization, PaymentProfile

pytestmark = pytest.mark.django_db
WALLET = "/api/billing/wallet"


def test_given_money_and_calls_then_every_figure_is_there(ask, viewer, organization):
    commit("call-1", 61, organization_id=organization.pk)
    buy(organization, 1_000)
    reserve(organization, "call-2", minutes=5)

    answer = ask("GET", WALLET, as_user=viewer)

    assert answer.status_code == 200
    assert answer.json() == {
        "balance_pence": 8_902,
        "balance_formatted": "£89.02",
        "reserved_pence": 245,
        "effective_balance_pence": 8_657,
        "debt_limit_pence": 0,
        "owed_pence": 0,
        "low_balance_pence": 1_000,
        "is_low_balance": False,
        "rate_pence_per_minute": 49,
        "estimated_minutes_remaining": 176,
        "status": "active",
        "auto_recharge_enabled": False,
        "has_payment_method": False,
        "summary": {"total_spent_pence": 1_098, "total_topped_up_pence": 10_000, "total_calls": 1},
    }


def test_given_a_debt_then_nothing_of_it_is_hidden(ask, staff):
    organization = OrganizationFactory()
    set_debt_limit(organization, 100)
    commit("call-1", 121, organization_id=organization.pk)
    suspend(organization)

    wallet = ask("GET", WALLET, as_user=staff, organization=organization).json()

    assert wallet["balance_pence"] == wallet["effective_balance_pence"] == -100
    assert wallet["balance_formatted"] == "−£1.00"
    assert wallet["owed_pence"] == 47
    assert wallet["is_low_balance"] is True
    assert wallet["estimated_minutes_remaining"] == 0
    assert wallet["status"] == "suspended"


@pytest.mark.parametrize(
    ("pence", "formatted"),
    [
        (0, "£0.00"),
        (5, "£0.05"),
        (-5, "−£0.05"),
        (100, "£1.00"),
        (-12_345, "−£123.45"),
        (123_456_789, "£1,234,567.89"),
    ],
)
def test_given_an_amount_then_it_is_written_in_pounds(pence, formatted):
    assert Organization(balance_pence=pence).balance_formatted == formatted


@pytest.mark.parametrize(
    ("balance", "reserved", "limit", "increment", "minutes"),
    [
        (0, 0, 0, 60, 0),
        (48, 0, 0, 60, 0),
        (49, 0, 0, 60, 1),
        (98, 49, 0, 60, 1),
        (0, 0, 49, 60, 1),
        (-49, 0, 49, 60, 0),
        # What lasts 90 seconds is one whole minute.
        (75, 0, 0, 30, 1),
    ],
)
def test_given_what_calls_can_spend_then_the_minutes_are_whole(
    balance, reserved, limit, increment, minutes
):
    organization = Organization(
        balance_pence=balance,
        reserved_pence=reserved,
        debt_limit_pence=limit,
        rate_pence_per_minute=49,
        billing_increment_seconds=increment,
    )

    assert organization.estimated_minutes_remaining == minutes


def test_given_a_card_that_is_kept_then_the_wallet_says_so_and_nothing_else_of_it(
    ask, owner, organization
):
    profile = PaymentProfile.objects.create(organization=organization, stripe_customer_id="cus_1")
    assert ask("GET", WALLET, as_user=owner).json()["has_payment_method"] is False
    profile.stripe_payment_method_id = "pm_1"
    profile.card_saved_at = timezone.now()
    profile.save()
    Organization.objects.update(auto_recharge_enabled=True)

    answer = ask("GET", WALLET, as_user=owner)

    assert answer.json()["has_payment_method"] is True
    assert answer.json()["auto_recharge_enabled"] is True
    assert "pm_1" not in answer.content.decode()


def test_given_a_balance_at_its_mark_then_it_is_low_only_below(ask, owner, organization):
    organization.low_balance_pence = 10_000
    organization.save()
    assert ask("GET", WALLET, as_user=owner).json()["is_low_balance"] is False
    buy(organization, 1)
    assert ask("GET", WALLET, as_user=owner).json()["is_low_balance"] is True


def test_given_more_history_then_no_more_statements_are_sent(
    ask, owner, organization, django_assert_num_queries
):
    """The person, the membership, and the wallet in its scope."""
    with django_assert_num_queries(7):
        ask("GET", WALLET, as_user=owner)
    write_history(organization, 10_000)
    with django_assert_num_queries(7):
        assert ask("GET", WALLET, as_user=owner).json()["balance_pence"] == 20_000


def test_given_another_wallet_that_moves_then_this_one_does_not(ask, owner, organization):
    before = ask("GET", WALLET, as_user=owner).json()
    top_up(OrganizationFactory(), 5_000)

    assert ask("GET", WALLET, as_user=owner).json() == before
