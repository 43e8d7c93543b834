"""All of it over HTTP: our client asks the sandbox, whose signed events come back to us."""

import time
import uuid

import pytest

from tests.factories import OrganizationFactory, UserFactory
from tests.sandbox import running_sandbox
from tests.stripe_account import ACCOUNT_PAYS, DECLINED, PAYS, Account
from wallets.models import PaymentProfile, TopUp
from wallets.payments import asking, cards, refunds, stripe_client, topups
from wallets.selectors import ledger_differences
from webhooks import missed_events
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "whsec_shared_with_the_sandbox"
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def sandbox(live_server):
    with running_sandbox(
        stripe_webhook_url=f"{live_server.url}/api/stripe/webhook", stripe_webhook_secret=SECRET
    ) as url:
        yield url


@pytest.fixture
def account(sandbox, settings):
    settings.STRIPE_API_URL = f"{sandbox}/stripe"
    settings.STRIPE_SECRET_KEY = "sk_test_for_tests"
    settings.STRIPE_WEBHOOK_SECRET = SECRET
    settings.SITE_URL = "https://billing.example.com"
    account = Account(sandbox)
    yield account
    account.control("settings", webhooks="deliver", times=1, refunds_begin_as="succeeded")
    account.wait_until_quiet()
    account.close()


@pytest.fixture
def organization(db):
    return OrganizationFactory()


def begin(organization, *, save_card=False):
    topups.start_checkout(
        organization_id=organization.pk,
        amount_pence=5_000,
        user_id=UserFactory().pk,
        save_card=save_card,
    )
    topup = TopUp.objects.latest("created_at")
    return topup, stripe_client.retrieve_checkout_session(topup.stripe_checkout_session_id)


def pay(account, organization, **how):
    topup, session = begin(organization, **how)
    assert account.pay(session, PAYS).status_code == 303
    wait_for(lambda: status_of(topup) == "paid")
    return topup


def status_of(row):
    row.refresh_from_db()
    return row.status


def wait_for(done):
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < give_up_at, [
            (event.type, event.status, event.outcome, event.last_error)
            for event in WebhookEvent.objects.all()
        ]
        time.sleep(0.05)


def assert_wallet(organization, *, balance, suspended=False):
    organization.refresh_from_db()
    assert (organization.balance_pence, organization.owed_pence) == (balance, 0)
    assert organization.is_suspended == suspended
    assert ledger_differences() == []
    broken = WebhookEvent.objects.exclude(status="processed")
    assert list(broken.values_list("type", "status", "outcome", "last_error")) == []


def test_given_a_card_when_paid_and_told_three_times_then_it_is_credited_once_and_kept(
    account, organization
):
    account.control("settings", times=3)

    pay(account, organization, save_card=True)
    account.wait_until_quiet()
    cards.keep_cards()

    assert_wallet(organization, balance=5_000)
    profile = PaymentProfile.objects.get()
    assert (profile.card_brand, profile.card_last4) == ("visa", "4242")


def test_given_a_declined_card_when_another_is_tried_then_that_one_is_credited(
    account, organization
):
    topup, session = begin(organization)
    account.pay(session, DECLINED)
    account.wait_until_quiet()
    topup.refresh_from_db()
    assert (topup.status, topup.failure_code) == ("pending", "card_declined")

    account.pay(session, PAYS)

    wait_for(lambda: status_of(topup) == "paid")
    account.wait_until_quiet()
    assert_wallet(organization, balance=5_000)


@pytest.mark.parametrize(("end", "balance"), [("succeed", 5_000), ("fail", 0)])
def test_given_a_bank_debit_when_it_ends_days_later_then_the_topup_follows(
    account, organization, end, balance
):
    topup, session = begin(organization)
    account.pay_by_debit(session, ACCOUNT_PAYS)
    wait_for(lambda: status_of(topup) == "processing")
    account.wait_until_quiet()
    assert_wallet(organization, balance=0)

    account.control(f"payments/{topup.stripe_payment_intent_id}/{end}")

    wait_for(lambda: status_of(topup) in {"paid", "failed"})
    account.wait_until_quiet()
    assert_wallet(organization, balance=balance)


def test_given_lost_webhooks_when_they_are_fetched_then_the_payment_is_credited(
    account, organization
):
    account.control("settings", webhooks="lose")
    topup, session = begin(organization)
    account.pay(session, PAYS)
    assert status_of(topup) == "pending"

    # Those of other tests' payments, too, which nobody here knows any more.
    assert missed_events.fetch_missed_events() > 0

    assert status_of(topup) == "paid"
    organization.refresh_from_db()
    assert organization.balance_pence == 5_000


def test_given_lost_webhooks_when_stripe_is_asked_then_the_payment_is_credited(
    account, organization
):
    account.control("settings", webhooks="lose")
    topup, session = begin(organization)
    account.pay(session, PAYS)
    topup.refresh_from_db()

    asking.ask(topup)

    assert status_of(topup) == "paid"
    assert_wallet(organization, balance=5_000)


def give(topup, amount_pence):
    return refunds.refund(
        refund_id=uuid.uuid4(),
        topup_id=topup.pk,
        amount_pence=amount_pence,
        reason="Asked for",
        requested_by_id=UserFactory().pk,
    )


def test_given_refunds_by_staff_and_from_outside_when_told_then_each_is_taken_once(
    account, organization
):
    topup = pay(account, organization)

    refund = give(topup, 1_000)
    account.control("refunds", payment_intent=topup.stripe_payment_intent_id, amount=500)
    account.wait_until_quiet()

    assert refund.status == "accepted"
    topup.refresh_from_db()
    assert (topup.refunded_pence, topup.clawed_back_pence) == (1_000, 500)
    assert_wallet(organization, balance=3_500, suspended=True)


def test_given_a_refund_that_the_bank_sends_back_when_told_then_the_wallet_has_it(
    account, organization
):
    account.control("settings", refunds_begin_as="pending")
    topup = pay(account, organization)
    refund = give(topup, 1_000)

    account.control(f"refunds/{refund.stripe_refund_id}/fail")

    wait_for(lambda: status_of(refund) == "returned")
    account.wait_until_quiet()
    assert_wallet(organization, balance=5_000)


def test_given_a_payment_that_was_refunded_elsewhere_when_staff_refund_it_then_it_is_reversed(
    account, organization
):
    topup = pay(account, organization)
    account.wait_until_quiet()
    account.control("settings", webhooks="hold")
    account.control("refunds", payment_intent=topup.stripe_payment_intent_id, amount=5_000)

    refund = give(topup, 5_000)

    assert refund.status == "reversed"
    assert_wallet(organization, balance=5_000)
    account.control("webhooks/release")
    account.wait_until_quiet()
    assert_wallet(organization, balance=0, suspended=True)


@pytest.mark.parametrize("shuffle_by", range(4))
def test_given_a_dispute_that_is_won_when_told_in_any_order_then_the_wallet_is_as_before(
    account, organization, shuffle_by
):
    topup = pay(account, organization)
    account.wait_until_quiet()
    account.control("settings", webhooks="hold")
    dispute = account.control("disputes", payment_intent=topup.stripe_payment_intent_id)
    account.control(f"disputes/{dispute['id']}/win")

    account.control("webhooks/release", times=2, shuffle_by=shuffle_by)
    account.wait_until_quiet()

    assert_wallet(organization, balance=5_000, suspended=True)


def test_given_an_inquiry_that_becomes_a_dispute_when_lost_then_the_money_is_gone(
    account, organization
):
    topup = pay(account, organization)
    dispute = account.control(
        "disputes", payment_intent=topup.stripe_payment_intent_id, inquiry=True
    )
    account.wait_until_quiet()
    assert_wallet(organization, balance=5_000)

    account.control(f"disputes/{dispute['id']}/escalate")
    account.control(f"disputes/{dispute['id']}/lose")
    account.wait_until_quiet()

    assert_wallet(organization, balance=0, suspended=True)
