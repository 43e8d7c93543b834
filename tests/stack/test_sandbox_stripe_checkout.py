"""Checkout's page at the sandbox's Stripe, as people and browsers use it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe

from tests.sandbox import running_sandbox
from tests.stripe_account import (
    ACCOUNT_FAILS,
    ACCOUNT_PAYS,
    AUTHENTICATES_ALWAYS,
    AUTHENTICATES_ONCE,
    DECLINED,
    DECLINED_OFF_SESSION,
    PAYS,
    Account,
)
from tests.stripe_listener import SECRET, listening


@pytest.fixture(scope="module")
def world():
    """The sandbox's URL, and who hears its events."""
    with (
        listening() as listener,
        running_sandbox(stripe_webhook_url=listener.url, stripe_webhook_secret=SECRET) as url,
    ):
        yield url, listener


@pytest.fixture
def listener(world):
    world[1].events.clear()
    return world[1]


@pytest.fixture
def account(world, listener):
    account = Account(world[0])
    yield account
    account.control("settings", debit_seconds=20, card_seconds=0)
    account.wait_until_quiet()
    account.close()


@pytest.fixture
def customer(account):
    return account.customer().id


def now(account, session):
    return account.v1.checkout.sessions.retrieve(session.id)


def cards_of(account, customer):
    return account.v1.customers.payment_methods.list(customer).data


def test_a_session_is_paid_on_its_page_which_leads_back(account, customer, listener):
    session = account.session(customer, 2500)
    page = account.browser.get(session.url).text

    answer = account.pay(session, "4242 4242 4242 4242")

    assert "£25.00" in page
    assert (session.status, session.payment_status, session.payment_intent) == (
        *("open", "unpaid"),
        None,
    )
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"http://seller.example/paid?session={session.id}"
    paid = now(account, session)
    assert (paid.status, paid.payment_status, paid.amount_total) == ("complete", "paid", 2500)
    account.wait_until_heard(
        listener, "checkout.session.completed", "payment_intent.succeeded", "charge.succeeded"
    )
    [completed] = [event for event in listener.events if "session" in event.type]
    assert completed.data.object.payment_intent == paid.payment_intent
    assert completed.data.object.metadata["topup"] == "one"
    assert account.v1.payment_intents.retrieve(paid.payment_intent).metadata["topup"] == "one"


def test_a_paid_page_cannot_be_paid_again(account, customer):
    session = account.session(customer)
    account.pay(session, PAYS)

    again = account.pay(session, PAYS)

    assert again.status_code == 409
    assert len(account.v1.payment_intents.list(params={"customer": customer}).data) == 1
    assert "This is done" in account.browser.get(session.url).text


def test_a_declined_card_is_told_on_the_page_and_another_one_pays(account, customer, listener):
    session = account.session(customer)

    declined = account.pay(session, DECLINED)
    wrong = account.pay(session, "1234")
    paid = account.pay(session, PAYS)

    assert (declined.status_code, wrong.status_code, paid.status_code) == (402, 402, 303)
    assert "Your card was declined." in declined.text
    assert "Your card number is invalid." in wrong.text
    account.wait_until_heard(
        listener, "payment_intent.payment_failed", "charge.failed", "checkout.session.completed"
    )
    assert len({event.data.object.id for event in listener.events if "intent" in event.type}) == 1


def test_a_card_is_kept_only_with_consent_which_the_page_asks_for(account, customer):
    once = account.session(customer)
    account.pay(once, PAYS)
    kept_before = cards_of(account, customer)
    keeping = account.session(customer, keeps_card=True)
    page = account.browser.get(keeping.url).text
    account.pay(keeping, PAYS)

    [card] = cards_of(account, customer)

    assert kept_before == []
    assert "you let the seller keep" in page
    assert (card.card.brand, card.card.last4) == ("visa", "4242")
    assert account.charge_off_session(customer, card.id).status == "succeeded"


@pytest.mark.parametrize("number", [AUTHENTICATES_ONCE, AUTHENTICATES_ALWAYS])
def test_a_bank_asks_for_the_holder_and_the_payment_goes_through(account, customer, number):
    session = account.session(customer, keeps_card=True)

    to_bank = account.pay(session, number).headers["Location"]
    asked = account.intent_of(session)
    page = account.browser.get(to_bank).text
    back = account.browser.post(to_bank, data={"outcome": "complete"})

    assert "Complete authentication" in page
    assert asked.status == "requires_action"
    assert back.headers["Location"] == f"http://seller.example/paid?session={session.id}"
    assert now(account, session).payment_status == "paid"
    assert len(cards_of(account, customer)) == 1


def test_who_fails_to_authenticate_can_try_another_card(account, customer, listener):
    session = account.session(customer)
    to_bank = account.pay(session, AUTHENTICATES_ALWAYS).headers["Location"]

    back = account.browser.post(to_bank, data={"outcome": "fail"}).headers["Location"]

    assert back == session.url
    assert "unable to authenticate" in account.browser.get(back).text
    assert now(account, session).status == "open"
    assert account.pay(session, PAYS).status_code == 303
    account.wait_until_heard(
        listener, "payment_intent.requires_action", "payment_intent.payment_failed"
    )


def test_a_card_that_pays_with_its_holder_may_be_declined_without(account, customer):
    account.pay(account.session(customer, keeps_card=True), DECLINED_OFF_SESSION)
    [card] = cards_of(account, customer)

    with pytest.raises(stripe.CardError) as refused:
        account.charge_off_session(customer, card.id)

    assert refused.value.code == "card_declined"


@pytest.mark.parametrize(
    ("number", "event", "payment_status", "intent_status"),
    [
        (ACCOUNT_PAYS, "async_payment_succeeded", "paid", "succeeded"),
        (ACCOUNT_FAILS, "async_payment_failed", "unpaid", "requires_payment_method"),
    ],
)
def test_a_bank_debit_is_complete_at_once_and_paid_or_not_later(
    account, customer, listener, number, event, payment_status, intent_status
):
    session = account.session(customer)

    answer = account.pay_by_debit(session, number)
    account.wait_until_heard(listener, "checkout.session.completed")
    [completed] = [each for each in listener.events if "session" in each.type]
    meanwhile = account.intent_of(session)
    act = "succeed" if payment_status == "paid" else "fail"
    account.control(f"payments/{meanwhile.id}/{act}")

    assert answer.status_code == 303
    assert (completed.data.object.payment_status, meanwhile.status) == ("unpaid", "processing")
    account.wait_until_heard(listener, f"checkout.session.{event}")
    assert now(account, session).payment_status == payment_status
    assert account.intent_of(session).status == intent_status


def test_a_bank_debit_ends_by_itself(account, customer, listener):
    account.control("settings", debit_seconds=0.1)
    account.pay_by_debit(account.session(customer), ACCOUNT_FAILS)

    account.wait_until_heard(listener, "checkout.session.async_payment_failed")


def test_a_session_expires_and_takes_its_payment_along(account, customer, listener):
    session = account.session(customer)
    account.pay(session, DECLINED)

    expired = account.v1.checkout.sessions.expire(session.id)

    assert (expired.status, expired.url) == ("expired", None)
    assert account.intent_of(session).status == "canceled"
    assert account.pay(session, PAYS).status_code == 409
    assert account.browser.get(session.url).status_code == 410
    account.wait_until_heard(listener, "checkout.session.expired", "payment_intent.canceled")
    with pytest.raises(stripe.InvalidRequestError):
        account.v1.checkout.sessions.expire(session.id)


def test_a_payment_of_a_page_is_not_cancelled_beside_it(account, customer):
    session = account.session(customer)
    account.pay(session, DECLINED)

    with pytest.raises(stripe.InvalidRequestError, match="expire the Checkout Session"):
        account.v1.payment_intents.cancel(account.intent_of(session).id)


def test_two_that_pay_one_page_at_once_pay_once(account, customer, listener):
    session = account.session(customer)
    account.control("settings", card_seconds=0.3)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: account.pay(session, PAYS).status_code, range(2)))

    assert sorted(answers) == [303, 409]
    account.wait_until_quiet()
    assert listener.types.count("payment_intent.succeeded") == 1


def test_sessions_are_listed_by_customer_and_by_payment(account, customer):
    first, second = account.session(customer), account.session(customer)
    account.pay(first, PAYS)

    def listed(**params):
        return [each.id for each in account.v1.checkout.sessions.list(params=params).data]

    assert listed(customer=customer) == [second.id, first.id]
    assert listed(payment_intent=account.intent_of(first).id) == [first.id]


@pytest.mark.parametrize(
    "more",
    [
        {"expires_at": int(time.time()) + 60},
        {"customer": "cus_nobody"},
        {"mode": "subscription"},
        {"success_url": ""},
    ],
)
def test_a_session_that_stripe_would_refuse_is_refused(account, customer, more):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        account.session(**{"customer": customer, **more})

    assert refused.value.param in more


def test_what_sellers_write_is_text_on_the_page(account, customer):
    session = account.session(customer, cancel_url='http://x/"><script>')

    assert "<script>" not in account.browser.get(session.url).text
