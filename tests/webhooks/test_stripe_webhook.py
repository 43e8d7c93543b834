"""POST /api/stripe/webhook: signed, stored once, processed once, and nothing private kept."""

import json
import time
from datetime import timedelta

import pytest
import stripe
import time_machine
from django.utils import timezone

from tests.factories import TopUpFactory
from tests.wallets.fake_stripe import fake_stripe
from tests.webhooks.stripe_payloads import PRIVATE, StripePayment, event
from voxbilling import untrusted
from wallets.models import CreditTransaction, TopUp
from wallets.payments import topups
from webhooks import inbox, missed_events, purge, stripe_events
from webhooks.models import StripeReading, WebhookEvent

__all__ = ["fake_stripe"]

pytestmark = pytest.mark.django_db

URL = "/api/stripe/webhook"
SECRET = "whsec_of_the_test"


@pytest.fixture(autouse=True)
def configured(settings):
    settings.STRIPE_WEBHOOK_SECRET = SECRET
    settings.STRIPE_SECRET_KEY = "sk_test_key"


@pytest.fixture
def topup():
    return TopUpFactory(amount_pence=5_000)


@pytest.fixture
def payment(topup):
    return StripePayment(topup.pk, 5_000)


def signature(body, *, secret=SECRET, timestamp=None):
    text = body.decode() if isinstance(body, bytes) else body
    return stripe.WebhookSignature.generate_signature_header(text, secret, timestamp)


@pytest.fixture
def post(client):
    def post(told, **headers):
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        headers = headers or {"Stripe-Signature": signature(body)}
        return client.post(URL, body, content_type="application/json", headers=headers)

    return post


def stored():
    return WebhookEvent.objects.get()


# --- Whose it is ---


def test_given_a_signed_event_when_posted_then_the_payment_is_credited(post, payment, topup):
    response = post(payment.session())

    assert (response.status_code, response.json()) == (200, {"received": True})
    topup.refresh_from_db()
    assert topup.status == "paid"
    assert (stored().status, stored().outcome) == ("processed", "Credited 5000p.")
    assert stored().organization == topup.organization


@pytest.mark.parametrize(
    "header",
    [
        lambda body: "",
        lambda body: "t=1,v1=",
        lambda body: "nonsense",
        lambda body: signature(body, secret="whsec_other"),
        lambda body: signature(body, timestamp=int(time.time()) - 301),
        lambda body: signature(body + b" "),
        lambda body: signature(body).replace("v1=", "v0="),
        lambda body: f"t={int(time.time())},v1=\u00e9",
        lambda body: "t=" + "9" * 400 + ",v1=00",
    ],
)
def test_given_an_event_that_is_not_stripes_when_posted_then_it_is_refused(post, payment, header):
    body = json.dumps(payment.session()).encode()

    response = post(body, **{"Stripe-Signature": header(body)})

    assert response.status_code == 400
    assert response.json()["code"] == "not_authenticated"
    assert "STRIPE_WEBHOOK_SECRET" in response.json()["error"]
    assert not WebhookEvent.objects.exists()


def test_given_bytes_that_are_no_text_when_posted_then_they_are_refused(post):
    response = post(b"\xff\xfe", **{"Stripe-Signature": "t=1,v1=00"})

    assert response.status_code == 400


@pytest.mark.parametrize("secret", ["", "   "])
def test_given_no_secret_when_an_event_is_signed_with_it_then_it_is_refused(
    post, payment, settings, secret
):
    settings.STRIPE_WEBHOOK_SECRET = secret
    body = json.dumps(payment.session()).encode()

    response = post(body, **{"Stripe-Signature": signature(body, secret=secret)})

    assert response.status_code == 400
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("body", [b"no json", b"[]", b"{}", b'{"id": 5}', b'{"id": ""}'])
def test_given_a_signed_body_that_is_no_event_when_posted_then_it_is_refused(post, body):
    response = post(body)

    assert (response.status_code, response.json()["code"]) == (400, "malformed_body")


def test_given_another_method_when_asked_then_it_is_told_to_post(client):
    assert client.get(URL).status_code == 405


# --- Once ---


def test_given_an_event_when_delivered_again_in_other_words_then_it_is_one(post, payment, topup):
    told = payment.session()
    post(told)

    post({**told, "pending_webhooks": 0})

    assert stored().attempts == 1
    assert CreditTransaction.objects.count() == 1


@pytest.mark.parametrize("days", [0, 4])
def test_given_a_processed_event_when_replayed_days_later_then_nothing_changes(
    post, payment, topup, days
):
    post(payment.session())

    with time_machine.travel(timezone.now() + timedelta(days=days)):
        inbox.replay(stored().pk)

    assert (stored().status, stored().outcome) == ("processed", "Credited before.")
    assert CreditTransaction.objects.count() == 1


def test_given_events_that_were_purged_when_they_come_again_then_no_money_moves(
    post, payment, topup
):
    events = [
        payment.session(),
        payment.intent(),
        payment.refunded(2_000),
        payment.dispute(),
    ]
    for each in events:
        post(each)

    def figures():
        topup.organization.refresh_from_db()
        organization = topup.organization
        entries = list(CreditTransaction.objects.order_by("pk").values())
        return organization.balance_pence, organization.owed_pence, entries

    before = figures()
    assert len(before[2]) >= 3
    WebhookEvent.objects.filter(status="processed").update(
        processed_at=timezone.now() - timedelta(days=365)
    )
    assert purge.purge_events() == len(events)

    for each in (*reversed(events), *events):
        post(each)
        WebhookEvent.objects.all().delete()

    assert figures() == before


def test_given_two_events_of_one_payment_when_posted_then_it_is_credited_once(post, payment):
    post(payment.intent())
    post(payment.session())
    post(payment.session("async_payment_succeeded"))

    assert CreditTransaction.objects.count() == 1


def test_given_a_session_that_is_not_paid_when_posted_then_nothing_is_credited(
    post, payment, topup
):
    post(payment.session(payment_status="unpaid"))

    topup.refresh_from_db()
    assert topup.status == "processing"
    assert not CreditTransaction.objects.exists()


# --- What is kept ---


def test_given_names_and_addresses_when_stored_then_none_of_them_is_kept(post, payment):
    for told in (
        payment.session(),
        payment.intent("payment_failed", last_payment_error={"code": "x", "message": "No."}),
        payment.refunded(1),
        payment.dispute(evidence={"customer_name": "Ada Byron"}),
    ):
        assert PRIVATE["customer_details"]["name"] in json.dumps(told)
        post(told)

    kept = json.dumps(list(WebhookEvent.objects.values_list("payload", flat=True)))
    assert WebhookEvent.objects.count() == 4
    for private in ("Ada", "ada@example.com", "St James", "4242", "pi_secret", "request"):
        assert private not in kept


@pytest.mark.parametrize("stored_json", [None, [], {}, 5, "text", {"data": []}, {"type": 5}])
def test_given_any_json_when_read_then_nothing_is_raised(stored_json):
    assert isinstance(stripe_events.read(stored_json), stripe_events.Event)


@pytest.mark.parametrize("kind", stripe_events.TYPES)
@pytest.mark.parametrize("thing", [{}, {"metadata": {"topup_id": "t"}}, {"payment_intent": "pi_1"}])
def test_given_an_event_that_lacks_what_is_needed_when_read_then_it_is_told(kind, thing):
    told = {**event(kind, {}), "data": {"object": thing}}

    fact = stripe_events.read(told).fact

    assert isinstance(
        fact,
        stripe_events.Unusable
        | stripe_events.NotNeeded
        | stripe_events.Expired
        | stripe_events.Failure,
    )


@pytest.mark.parametrize("amount", [True, -1, 50.0, "5000", 10**13, None])
def test_given_an_amount_that_is_none_when_posted_then_nothing_is_credited(post, payment, amount):
    post(payment.intent(amount=amount))

    assert (stored().status, "amount" in stored().outcome) == ("unusable", True)
    assert not CreditTransaction.objects.exists()


# --- What is not ours, or not real ---


def test_given_a_payment_of_another_business_when_posted_then_it_is_passed_over(post):
    stranger = StripePayment(None, 5_000)
    for told in (
        stranger.session(),
        stranger.intent(),
        stranger.session("expired"),
        stranger.intent("payment_failed"),
        stranger.refunded(1),
        stranger.refund("created", "re_1", 1, status="succeeded"),
    ):
        post(told)

    for seen in WebhookEvent.objects.all():
        assert (seen.status, "not a payment of ours" in seen.outcome.lower()) == ("processed", True)


@pytest.mark.parametrize(("key", "livemode"), [("sk_live_1", False), ("sk_test_1", True)])
def test_given_play_money_and_a_real_key_when_posted_then_nothing_is_credited(
    post, payment, settings, key, livemode
):
    settings.STRIPE_SECRET_KEY = key

    assert post({**payment.session(), "livemode": livemode}).status_code == 200

    assert stored().status == "unusable"
    assert "other mode" in stored().outcome
    assert not CreditTransaction.objects.exists()


def test_given_an_event_of_a_type_that_nobody_needs_when_posted_then_it_is_passed_over(post):
    assert post(event("customer.created", {"id": "cus_1"})).status_code == 200
    assert stored().status == "processed"


# --- Errors ---


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "prevented", "balance_transactions": []},
        {"status": "warning_needs_response", "balance_transactions": []},
        # After a full refund, there is nothing left to take.
        {"status": "needs_response", "balance_transactions": []},
        {"status": "won", "balance_transactions": [{"amount": 5_000}]},
    ],
)
def test_given_a_dispute_for_which_stripe_takes_nothing_when_posted_then_nothing_is_taken(
    post, payment, topup, fields
):
    post(payment.intent())

    post(payment.dispute(**fields))

    topup.organization.refresh_from_db()
    assert (topup.organization.balance_pence, topup.organization.is_suspended) == (5_000, False)


@pytest.mark.parametrize("kind", ["created", "funds_withdrawn"])
def test_given_a_dispute_for_which_stripe_takes_money_when_posted_then_it_is_taken(
    post, payment, topup, kind
):
    post(payment.intent())

    post(payment.dispute(kind))

    topup.organization.refresh_from_db()
    assert (topup.organization.balance_pence, topup.organization.is_suspended) == (0, True)


def test_given_a_new_dispute_that_says_nothing_of_money_when_read_then_its_status_decides(payment):
    def is_withdrawn(status):
        told = payment.dispute(status=status)
        del told["data"]["object"]["balance_transactions"]
        return stripe_events.read(told).fact.is_withdrawn

    assert is_withdrawn("needs_response")
    assert not is_withdrawn("warning_needs_response")
    assert not is_withdrawn("prevented")


def test_given_a_dispute_before_its_payment_when_retried_then_it_is_taken(post, payment, topup):
    assert post(payment.dispute()).status_code == 200
    dispute = stored()
    assert (dispute.status, payment.id in dispute.last_error) == ("pending", True)
    post(payment.intent())

    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        assert inbox.retry_due_events() == 1

    dispute.refresh_from_db()
    assert dispute.status == "processed"
    topup.organization.refresh_from_db()
    assert (topup.organization.balance_pence, topup.organization.is_suspended) == (0, True)


def test_given_a_dispute_of_a_payment_that_never_comes_when_retried_then_staff_are_shown_it(
    post, payment
):
    post(payment.dispute())

    for _ in range(inbox.MAX_ATTEMPTS):
        inbox.process(stored().pk)

    assert stored().status == "failed"


def test_given_an_error_of_ours_when_posted_then_it_is_stored_and_retried(
    post, payment, topup, monkeypatch
):
    def broken(_payment):
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(topups, "credit", broken)
        assert post(payment.session()).status_code == 200
    assert stored().last_error == "RuntimeError: broken"
    assert not CreditTransaction.objects.exists()

    inbox.process(stored().pk)

    assert TopUp.objects.get().status == "paid"


# --- Events that were never delivered ---


def test_given_events_that_were_not_delivered_when_fetched_then_each_is_processed_once(
    fake_stripe, payment, topup
):
    fake_stripe.undelivered = [payment.session(), payment.intent()]

    assert missed_events.fetch_missed_events() == 2
    assert missed_events.fetch_missed_events() == 2

    assert WebhookEvent.objects.count() == 2
    assert CreditTransaction.objects.count() == 1
    asked = fake_stripe.forms[0]
    assert asked["delivery_success"] == "false"
    assert {asked[f"types[{number}]"] for number in range(len(stripe_events.TYPES))} == set(
        stripe_events.TYPES
    )


def test_given_more_than_a_sweep_reads_when_fetched_then_the_next_one_goes_on(
    fake_stripe, monkeypatch
):
    monkeypatch.setattr(missed_events, "PAGES_PER_SWEEP", 2)
    fake_stripe.undelivered = [event("customer.created", {"id": "cus"}) for _ in range(450)]

    listed = [missed_events.fetch_missed_events() for _ in range(4)]

    # After the last page, the list is begun anew.
    assert listed == [200, 200, 50, 200]
    assert WebhookEvent.objects.count() == 450


def test_given_a_stripe_that_fails_when_fetched_then_the_next_sweep_goes_on(fake_stripe, payment):
    fake_stripe.undelivered = [payment.session()]
    fake_stripe.fail("events", 500)

    assert missed_events.fetch_missed_events() is None
    assert missed_events.fetch_missed_events() == 1


def test_given_a_place_in_the_list_that_is_gone_when_fetched_then_it_is_begun_anew(
    fake_stripe, payment
):
    StripeReading.objects.create(after_event_id="evt_gone")
    fake_stripe.undelivered = [payment.session()]
    fake_stripe.fail("events", 404, type="invalid_request_error", message="No such event.")

    assert missed_events.fetch_missed_events() is None
    assert missed_events.fetch_missed_events() == 1

    assert TopUp.objects.get().status == "paid"


def test_given_a_sweep_at_work_when_another_begins_then_it_leaves_the_list_to_it(fake_stripe):
    StripeReading.objects.create(reading_until=timezone.now() + timedelta(minutes=1))

    assert missed_events.fetch_missed_events() is None
    assert fake_stripe.asked == []


def test_given_no_id_when_received_then_it_is_malformed():
    with pytest.raises(untrusted.MalformedBody):
        inbox.receive_stripe({"type": "charge.refunded"})
