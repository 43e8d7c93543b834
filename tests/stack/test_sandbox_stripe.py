"""The sandbox's Stripe, asked through Stripe's own SDK: payments, their kept cards, and keys."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import stripe

from tests.sandbox import running_sandbox
from tests.stripe_account import (
    AUTHENTICATES_ALWAYS,
    AUTHENTICATES_ONCE,
    DECLINED,
    DECLINED_OFF_SESSION,
    PAYS,
    WITHOUT_FUNDS,
    Account,
)


@pytest.fixture(scope="module")
def url():
    with running_sandbox() as url:
        yield url


@pytest.fixture
def account(url):
    account = Account(url)
    yield account
    account.control("settings", card_seconds=0)
    account.faults.delete("/faults")
    account.close()


@pytest.fixture
def customer(account):
    return account.customer().id


def refusal(ask, *arguments, **details):
    with pytest.raises(stripe.StripeError) as refused:
        ask(*arguments, **details)
    return refused.value


def test_a_customer_is_found_again_and_an_unknown_one_is_not(account):
    made = account.customer(email="owner@example.com", metadata={"organization_id": "7"})

    found = account.v1.customers.retrieve(made.id)

    assert (found.email, found.metadata["organization_id"]) == ("owner@example.com", "7")
    refused = refusal(account.v1.customers.retrieve, "cus_nobody")
    assert (refused.http_status, refused.code) == (404, "resource_missing")


@pytest.mark.parametrize("key", ["sk_live_real", "nonsense"])
def test_only_test_keys_are_taken(url, key):
    client = stripe.StripeClient(key, base_addresses={"api": f"{url}/stripe"})

    with pytest.raises(stripe.AuthenticationError):
        client.v1.customers.create()


def test_a_misspelt_parameter_is_refused_by_its_name(account, customer):
    misspelt = {"amount": 2500, "currency": "gbp", "of_session": True}

    refused = refusal(account.v1.payment_intents.create, params=misspelt)

    assert (refused.code, refused.param) == ("parameter_unknown", "of_session")


def test_a_kept_card_is_charged_while_nobody_is_there(account, customer):
    card = account.kept_card(customer, PAYS)

    intent = account.charge_off_session(customer, card, 3000)

    assert (intent.status, intent.amount_received, intent.payment_method) == (
        *("succeeded", 3000),
        card,
    )
    charge = account.v1.charges.retrieve(intent.latest_charge)
    assert (charge.amount, charge.paid, charge.payment_intent) == (3000, True, intent.id)
    assert charge.metadata["topup"] == "two"
    assert charge.payment_method_details.card.last4 == "4242"


@pytest.mark.parametrize(
    ("number", "code", "decline_code"),
    [
        (DECLINED, "card_declined", "generic_decline"),
        (WITHOUT_FUNDS, "card_declined", "insufficient_funds"),
        (DECLINED_OFF_SESSION, "card_declined", "generic_decline"),
        (AUTHENTICATES_ALWAYS, "authentication_required", "authentication_required"),
    ],
)
def test_a_refused_charge_is_a_card_error_that_names_its_payment(
    account, customer, number, code, decline_code
):
    card = account.kept_card(customer, number)

    refused = refusal(account.charge_off_session, customer, card)

    assert isinstance(refused, stripe.CardError)
    assert (refused.http_status, refused.code) == (402, code)
    assert refused.error.decline_code == decline_code
    intent = account.v1.payment_intents.retrieve(refused.error.payment_intent.id)
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert intent.last_payment_error.code == code
    assert intent.last_payment_error.payment_method.id == card


def test_a_card_that_authenticated_when_it_was_kept_is_not_asked_again(account, customer):
    card = account.kept_card(customer, AUTHENTICATES_ONCE)

    assert account.charge_off_session(customer, card).status == "succeeded"


def test_a_card_of_another_customer_or_one_that_was_detached_is_refused(account, customer):
    card = account.kept_card(account.customer().id, PAYS)
    other = refusal(account.charge_off_session, customer, card)
    own = account.kept_card(customer, PAYS)
    account.charge_off_session(customer, own)
    account.v1.payment_methods.detach(own)

    detached = refusal(account.charge_off_session, customer, own)

    assert (other.http_status, other.param) == (400, "payment_method")
    assert (detached.http_status, detached.param) == (400, "payment_method")
    assert account.v1.payment_methods.list(params={"customer": customer}).data == []


def test_a_payment_with_its_holder_there_goes_by_way_of_the_bank(account, customer):
    card = account.kept_card(customer, AUTHENTICATES_ALWAYS)
    intent = account.v1.payment_intents.create(
        params={"amount": 2500, "currency": "gbp", "customer": customer, "payment_method": card}
    )
    asked = account.v1.payment_intents.confirm(
        intent.id, params={"return_url": "http://seller.example/back"}
    )

    back = account.browser.post(asked.next_action.redirect_to_url.url, data={"outcome": "complete"})

    assert (intent.status, asked.status) == ("requires_confirmation", "requires_action")
    query = httpx.QueryParams({"payment_intent": intent.id, "redirect_status": "succeeded"})
    assert back.headers["Location"] == f"http://seller.example/back?{query}"
    assert account.v1.payment_intents.retrieve(intent.id).status == "succeeded"


def test_a_payment_is_cancelled_until_it_is_paid(account, customer):
    card = account.kept_card(customer, DECLINED)
    declined = refusal(account.charge_off_session, customer, card).error.payment_intent.id
    paid = account.charge_off_session(customer, account.kept_card(customer, PAYS)).id

    cancelled = account.v1.payment_intents.cancel(declined)
    refused = refusal(account.v1.payment_intents.cancel, paid)

    assert cancelled.status == "canceled"
    assert refused.code == "payment_intent_unexpected_state"


def test_payments_are_listed_newest_first_by_customer_and_time_page_by_page(account, customer):
    card = account.kept_card(customer, PAYS)
    paid = [account.charge_off_session(customer, card, 2500 + n).id for n in range(5)]
    account.charge_off_session(*(other := account.customer().id, account.kept_card(other, PAYS)))

    def listed(since):
        page = account.v1.payment_intents.list(
            params={
                "customer": customer,
                "created": {"gte": since},
                "limit": 2,
                "expand": ["data.latest_charge"],
            }
        )
        return list(page.auto_paging_iter())

    assert [each.id for each in listed(int(time.time()) - 60)] == paid[::-1]
    assert [each.latest_charge.amount for each in listed(0)] == [2504, 2503, 2502, 2501, 2500]
    assert listed(int(time.time()) + 60) == []


def test_a_key_gets_its_first_answer_again_and_pays_once(account, customer):
    card, key = account.kept_card(customer, PAYS), uuid.uuid4().hex
    first = account.charge_off_session(customer, card, key=key)

    again = account.charge_off_session(customer, card, key=key)

    assert again.id == first.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert len(account.v1.payment_intents.list(params={"customer": customer}).data) == 1


def test_a_key_gets_its_first_error_again(account, customer):
    card, key = account.kept_card(customer, DECLINED), uuid.uuid4().hex
    first = refusal(account.charge_off_session, customer, card, key=key)

    again = refusal(account.charge_off_session, customer, card, key=key)

    assert again.error.payment_intent.id == first.error.payment_intent.id
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_key_with_other_parameters_is_refused(account, customer):
    card, key = account.kept_card(customer, PAYS), uuid.uuid4().hex
    account.charge_off_session(customer, card, 2500, key=key)

    refused = refusal(account.charge_off_session, customer, card, 2501, key=key)

    assert isinstance(refused, stripe.IdempotencyError)


def test_a_key_is_free_after_an_answer_about_parameters(account):
    key = {"idempotency_key": uuid.uuid4().hex}
    refusal(account.v1.customers.create, params={"e_mail": "x"}, options=key)

    assert account.v1.customers.create(params={"email": "x@example.com"}, options=key).id


def test_a_key_that_is_at_work_is_refused_and_pays_once(account, customer):
    card, key = account.kept_card(customer, PAYS), uuid.uuid4().hex
    account.control("settings", card_seconds=1)

    def ask(_number):
        try:
            return account.charge_off_session(customer, card, key=key).status
        except stripe.StripeError as error:
            return error.http_status, error.error.code

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(ask, range(5)))

    assert answers.count("succeeded") == 1
    assert answers.count((409, "idempotency_key_in_use")) == 4
    assert len(account.v1.payment_intents.list(params={"customer": customer}).data) == 1


def test_work_whose_answer_was_lost_is_found_under_its_key(account, customer):
    card, key = account.kept_card(customer, PAYS), uuid.uuid4().hex
    account.fault("payment_intents.create", "timeout_after", seconds=0)
    lost = refusal(account.charge_off_session, customer, card, key=key)

    found = account.charge_off_session(customer, card, key=key)

    assert isinstance(lost, stripe.APIConnectionError)
    assert found.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(account.v1.payment_intents.list(params={"customer": customer}).data) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "done"),
    [
        ("429", stripe.RateLimitError, 0),
        ("401", stripe.AuthenticationError, 0),
        ("500", stripe.APIError, 0),
        ("500_after", stripe.APIError, 1),
    ],
)
def test_faults_answer_in_stripes_words(account, customer, fault, kind, done):
    card = account.kept_card(customer, PAYS)
    account.fault("payment_intents.create", fault)

    refused = refusal(account.charge_off_session, customer, card)

    assert isinstance(refused, kind)
    assert len(account.v1.payment_intents.list(params={"customer": customer}).data) == done


def test_it_remembers_over_a_restart(tmp_path):
    file, key = tmp_path / "sandbox.json", uuid.uuid4().hex
    with running_sandbox(file) as url:
        account = Account(url)
        customer = account.customer().id
        card = account.kept_card(customer, PAYS)
        paid = account.charge_off_session(customer, card, key=key)
        account.close()

    with running_sandbox(file) as url:
        account = Account(url)
        again = account.charge_off_session(customer, card, key=key)
        new = account.charge_off_session(customer, card)
        account.close()

    assert again.id == paid.id
    assert new.id != paid.id


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("customers", "metadata[a"),
        ("customers", "metadata=a"),
        ("customers", "email[a]=b"),
        ("customers", "email=a&email[b]=c"),
        ("customers", "metadata[a]=b&metadata[a][c]=d"),
        ("customers", "metadata" + "[a]" * 20 + "=b"),
        ("customers", "&".join(f"metadata[{n}]=x" for n in range(51))),
        ("payment_intents", "amount=25.00&currency=gbp"),
        ("payment_intents", "amount=29&currency=gbp"),
        ("payment_intents", "amount=2500"),
        ("payment_intents", "amount=2500&currency=gbp&confirm=perhaps"),
        ("payment_intents", "amount=2500&currency=gbp&off_session=true"),
        ("checkout/sessions", "mode=payment&line_items=x"),
        ("refunds", "amount=100"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused_in_stripes_shape(url, path, form):
    answer = httpx.post(
        f"{url}/stripe/v1/{path}",
        content=form,
        headers={"Authorization": "Bearer sk_test_x"},
        trust_env=False,
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "starting_after=evt_x", "created=x", "expand[]=data.id"]
)
def test_a_list_that_cannot_be_is_refused(account, url, query):
    account.customer()

    answer = httpx.get(
        f"{url}/stripe/v1/events?{query}",
        headers={"Authorization": "Bearer sk_test_x"},
        trust_env=False,
    )

    assert answer.status_code == 400
