"""Top-ups: begun on Stripe's page, and credited once when it says that they are paid."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
import time_machine

from tests.factories import OrganizationFactory, TopUpFactory, UserFactory
from tests.wallets.invariants import assert_ledger_intact
from tests.wallets.steps import suspend
from wallets import ledger
from wallets.models import Alert, CreditTransaction, PaymentProfile, TopUp
from wallets.payments import asking, stripe_client, topups
from wallets.payments.facts import Failure, Payment
from wallets.selectors import ledger_differences

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def payment(topup, intent="pi_1", *, amount=None, currency="gbp", topup_id=None):
    return Payment(
        topup_id=str(topup.pk) if topup_id is None else topup_id,
        payment_intent_id=intent,
        amount_pence=topup.amount_pence if amount is None else amount,
        currency=currency,
    )


def start(organization, amount_pence=5_000, *, save_card=False):
    return topups.start_checkout(
        organization_id=organization.pk,
        amount_pence=amount_pence,
        user_id=UserFactory().pk,
        save_card=save_card,
    )


def assert_wallet(organization, *, balance, owed=0):
    organization.refresh_from_db()
    assert (organization.balance_pence, organization.owed_pence) == (balance, owed)
    assert ledger_differences() == []
    assert_ledger_intact()


# --- Beginning ---


def test_given_an_amount_when_begun_then_stripe_has_a_page_for_it_and_nothing_is_credited(
    fake_stripe,
):
    organization = OrganizationFactory()

    url = start(organization, 5_000, save_card=True)

    topup = TopUp.objects.get()
    assert url == f"https://checkout.stripe.com/c/pay/{topup.stripe_checkout_session_id}"
    assert (topup.amount_pence, topup.status, topup.saves_card) == (5_000, "pending", True)
    asked = fake_stripe.forms[-1]
    assert asked["line_items[0][price_data][unit_amount]"] == "5000"
    assert asked["line_items[0][price_data][currency]"] == "gbp"
    assert asked["client_reference_id"] == asked["metadata[topup_id]"] == str(topup.pk)
    assert asked["payment_intent_data[metadata][topup_id]"] == str(topup.pk)
    assert asked["payment_intent_data[metadata][organization_id]"] == str(organization.pk)
    assert asked["payment_intent_data[setup_future_usage]"] == "off_session"
    assert asked["success_url"] == f"https://billing.example.com/wallet/top-up/{topup.pk}/"
    assert_wallet(organization, balance=0)


def test_given_no_consent_when_begun_then_stripe_is_not_asked_to_keep_the_card(fake_stripe):
    start(OrganizationFactory())

    assert "payment_intent_data[setup_future_usage]" not in fake_stripe.forms[-1]


def test_given_a_second_topup_when_begun_then_it_is_of_the_same_customer(fake_stripe):
    organization = OrganizationFactory()

    start(organization)
    start(organization)

    assert fake_stripe.count("POST customers") == 1
    assert fake_stripe.forms[-1]["customer"] == PaymentProfile.objects.get().stripe_customer_id


@pytest.mark.django_db(transaction=True)
def test_given_a_topup_when_begun_then_stripe_is_asked_in_no_transaction(fake_stripe):
    start(OrganizationFactory())

    assert fake_stripe.in_transaction == []
    assert fake_stripe.asked == ["POST customers", "POST checkout/sessions"]


@pytest.mark.parametrize("amount", [2_499, 1_000_001, 0, -5_000])
def test_given_an_amount_that_is_not_allowed_when_begun_then_nothing_is_written(
    fake_stripe, amount
):
    with pytest.raises(topups.AmountNotAllowed, match=r"from £25\.00 to £10,000\.00"):
        start(OrganizationFactory(), amount)

    assert not TopUp.objects.exists()
    assert fake_stripe.asked == []


def test_given_a_suspended_organization_when_begun_then_it_may_pay(fake_stripe):
    organization = OrganizationFactory()
    suspend(organization)

    assert start(organization)


@pytest.mark.parametrize("path", ["customers", "checkout/sessions"])
@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    ("what", "error"),
    [
        (500, stripe_client.PaymentOutcomeUnknown),
        (429, stripe_client.PaymentUnavailable),
        (400, stripe_client.PaymentRefused),
        (httpx.ReadTimeout, stripe_client.PaymentOutcomeUnknown),
        (httpx.ConnectError, stripe_client.PaymentUnavailable),
    ],
)
def test_given_a_stripe_that_fails_when_begun_then_the_topup_failed_and_the_next_one_works(
    fake_stripe, path, done, what, error
):
    organization = OrganizationFactory()
    fake_stripe.fail(path, what, done=done, type="api_error", message="No.")

    with pytest.raises(error):
        start(organization)

    assert TopUp.objects.get().status == "failed"
    assert start(organization)


# --- Crediting ---


def test_given_a_payment_when_told_twice_then_it_is_credited_once_with_a_receipt():
    topup = TopUpFactory()

    first = topups.credit(payment(topup))
    again = topups.credit(payment(topup))

    assert (first.text, again.text) == ("Credited 5000p.", "Credited before.")
    topup.refresh_from_db()
    entry = CreditTransaction.objects.get()
    assert (topup.status, topup.entry, topup.stripe_payment_intent_id) == ("paid", entry, "pi_1")
    assert (entry.type, entry.amount_pence, entry.created_by) == ("topup", 5_000, None)
    assert Alert.objects.get(kind="topup_receipt").context["balance_pence"] == 5_000
    assert_wallet(topup.organization, balance=5_000)


@pytest.mark.parametrize(
    ("amount", "currency"), [(4_999, "gbp"), (5_001, "gbp"), (5_000, "usd"), (0, "gbp")]
)
def test_given_another_amount_than_ours_when_told_then_staff_see_both_and_nothing_is_credited(
    amount, currency
):
    topup = TopUpFactory()

    heard = topups.credit(payment(topup, amount=amount, currency=currency))

    assert not heard.usable
    topup.refresh_from_db()
    assert topup.attention == heard.text
    assert f"{amount} {currency}" in heard.text
    assert "5000 gbp" in heard.text
    assert topup.status == "pending"
    assert_wallet(topup.organization, balance=0)
    # The right one is credited still.
    assert topups.credit(payment(topup)).usable
    assert_wallet(topup.organization, balance=5_000)


def test_given_a_second_payment_of_a_topup_when_told_then_staff_see_it():
    topup = TopUpFactory()
    topups.credit(payment(topup, "pi_1"))

    heard = topups.credit(payment(topup, "pi_2"))

    assert not heard.usable
    topup.refresh_from_db()
    assert "pi_2" in topup.attention
    assert topup.stripe_payment_intent_id == "pi_1"
    assert_wallet(topup.organization, balance=5_000)


def test_given_a_payment_that_names_another_topup_when_told_then_neither_changes():
    topup = TopUpFactory()
    other = TopUpFactory()
    topups.credit(payment(topup, "pi_1"))

    heard = topups.credit(payment(other, "pi_1"))

    assert not heard.usable
    assert_wallet(topup.organization, balance=5_000)
    assert_wallet(other.organization, balance=0)


@pytest.mark.parametrize("topup_id", ["", "no id", "0197a3f0-0000-7000-8000-000000000000"])
def test_given_a_payment_of_nobody_here_when_told_then_nothing_is_credited(topup_id):
    topup = TopUpFactory()

    heard = topups.credit(payment(topup, topup_id=topup_id))

    # One that names a top-up should be here.
    assert heard.usable == (topup_id == "")
    assert not CreditTransaction.objects.exists()


@pytest.mark.parametrize("end", ["expired", "failed"])
def test_given_a_topup_that_ended_when_it_is_paid_after_all_then_it_is_credited(end):
    topup = TopUpFactory()
    if end == "expired":
        topups.expired(str(topup.pk))
    else:
        fail(topup, is_final=True)
    topup.refresh_from_db()
    assert topup.status == end

    topups.credit(payment(topup))

    topup.refresh_from_db()
    assert (topup.status, topup.failure) == ("paid", "")
    assert_wallet(topup.organization, balance=5_000)


def test_given_a_paid_topup_when_its_end_is_told_late_then_it_stays_paid():
    topup = TopUpFactory()
    topups.credit(payment(topup))

    topups.expired(str(topup.pk))
    topups.processing(payment(topup))
    fail(topup, is_final=True)

    topup.refresh_from_db()
    assert topup.status == "paid"


def test_given_what_is_owed_when_a_payment_is_credited_then_the_receipt_has_what_is_left():
    topup = TopUpFactory()
    ledger.commit_reserved_credits(
        call_id="call-1", duration_seconds=60, organization_id=topup.organization.pk
    )

    topups.credit(payment(topup))

    assert_wallet(topup.organization, balance=4_951)
    told = Alert.objects.get(kind="topup_receipt").context
    assert (told["balance_pence"], told["owed_pence"]) == (4_951, 0)


# --- Failing ---


def fail(topup, *, is_final, intent="pi_1"):
    return topups.failed(
        Failure(
            topup_id=str(topup.pk),
            payment_intent_id=intent,
            code="card_declined",
            message="Your card was declined.",
            is_final=is_final,
        )
    )


def test_given_a_declined_card_when_told_then_another_may_be_tried_on_the_page():
    topup = TopUpFactory()

    fail(topup, is_final=False)

    topup.refresh_from_db()
    assert (topup.status, topup.failure) == ("pending", "Your card was declined.")


def test_given_a_delayed_payment_when_it_fails_then_it_is_over_in_whatever_order_it_is_told():
    first, second = TopUpFactory(), TopUpFactory()
    topups.processing(payment(first, "pi_1"))
    first.refresh_from_db()
    assert first.status == "processing"

    fail(first, is_final=True)
    fail(second, is_final=True, intent="pi_2")
    topups.processing(payment(second, "pi_2"))

    assert set(TopUp.objects.values_list("status", flat=True)) == {"failed"}


# --- Asking ---


def begun(fake_stripe, **intent):
    """A top-up whose page Stripe knows, with a payment on it if one is given."""
    organization = OrganizationFactory()
    with time_machine.travel(NOW, tick=False):
        start(organization)
    topup = TopUp.objects.get(organization=organization)
    if intent:
        fake_stripe.add_intent("pi_1", metadata={"topup_id": str(topup.pk)}, **intent)
        fake_stripe.sessions[topup.stripe_checkout_session_id]["payment_intent"] = "pi_1"
    return topup


def ask_later(after=timedelta(minutes=11)):
    with time_machine.travel(NOW + after, tick=False):
        return asking.ask_about_topups()


def test_given_a_lost_webhook_when_stripe_is_asked_then_the_payment_is_credited_once(fake_stripe):
    topup = begun(fake_stripe, status="succeeded")

    assert ask_later(timedelta(minutes=9)) == 0
    assert ask_later() == 1
    assert ask_later(timedelta(hours=2)) == 0

    topup.refresh_from_db()
    assert topup.status == "paid"
    assert_wallet(topup.organization, balance=5_000)
    # The webhook comes days later.
    topups.credit(payment(topup))
    assert_wallet(topup.organization, balance=5_000)


@pytest.mark.parametrize(
    ("intent", "status"),
    [
        ({"status": "processing"}, "processing"),
        ({"status": "canceled"}, "failed"),
        # The page is open still: another card may be tried.
        ({"status": "requires_payment_method"}, "pending"),
        ({"status": "succeeded", "amount": 4_000}, "pending"),
    ],
)
def test_given_a_payment_when_stripe_is_asked_then_the_topup_follows_it(
    fake_stripe, intent, status
):
    topup = begun(fake_stripe, **intent)

    ask_later()

    topup.refresh_from_db()
    assert topup.status == status


def test_given_a_delayed_payment_that_failed_when_stripe_is_asked_then_the_topup_failed(
    fake_stripe,
):
    topup = begun(fake_stripe, status="processing")
    ask_later()
    fake_stripe.intents["pi_1"]["status"] = "requires_payment_method"

    ask_later(timedelta(hours=2))

    topup.refresh_from_db()
    assert topup.status == "failed"


def test_given_a_page_that_expired_when_stripe_is_asked_then_the_topup_expired(fake_stripe):
    topup = begun(fake_stripe)
    fake_stripe.sessions[topup.stripe_checkout_session_id]["status"] = "expired"

    ask_later()

    topup.refresh_from_db()
    assert topup.status == "expired"


def test_given_a_process_that_died_before_it_knew_the_page_then_the_topup_expires_after_a_day(
    fake_stripe,
):
    topup = TopUpFactory(created_at=NOW)

    ask_later(timedelta(hours=24))
    topup.refresh_from_db()
    assert topup.status == "pending"
    ask_later(timedelta(hours=26))

    topup.refresh_from_db()
    assert topup.status == "expired"
    assert fake_stripe.asked == []


def test_given_one_topup_that_stripe_fails_at_when_asked_then_the_others_have_their_turn(
    fake_stripe,
):
    broken = begun(fake_stripe)
    other = begun(fake_stripe, status="succeeded")
    fake_stripe.fail(f"checkout/sessions/{broken.stripe_checkout_session_id}", 500)

    assert ask_later() == 2

    other.refresh_from_db()
    assert other.status == "paid"


# --- A customer that was deleted at Stripe ---


def test_given_a_customer_deleted_at_stripe_when_topped_up_then_there_is_a_new_one_with_no_card(
    fake_stripe,
):
    organization = OrganizationFactory(auto_recharge_enabled=True)
    start(organization)
    first = PaymentProfile.objects.get()
    PaymentProfile.objects.update(stripe_payment_method_id="pm_1", card_saved_at=NOW)
    fake_stripe.fail(
        "checkout/sessions",
        400,
        type="invalid_request_error",
        code="resource_missing",
        param="customer",
    )

    url = start(organization)

    assert url.startswith("https://checkout.stripe.com/")
    now = PaymentProfile.objects.get()
    assert now.stripe_customer_id not in (None, first.stripe_customer_id)
    assert fake_stripe.forms[-1]["customer"] == now.stripe_customer_id
    assert not now.has_payment_method
    organization.refresh_from_db()
    assert not organization.auto_recharge_enabled


def test_given_another_refusal_when_topped_up_then_the_customer_stays(fake_stripe):
    organization = OrganizationFactory()
    start(organization)
    customer_id = PaymentProfile.objects.get().stripe_customer_id
    fake_stripe.fail(
        "checkout/sessions", 400, type="invalid_request_error", code="parameter_invalid"
    )

    with pytest.raises(stripe_client.PaymentRefused):
        start(organization)

    assert PaymentProfile.objects.get().stripe_customer_id == customer_id
