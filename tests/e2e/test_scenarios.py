"""The ten scenarios that users know, over HTTP, on a live server.

Customers come with tokens, and Vapi with the secret of its webhooks.
"""

import asyncio
import uuid
from datetime import UTC, datetime

import httpx
import pytest

from tests.running_stack import open_accounts
from voxbilling import vapi_payloads as payloads
from voxbilling.operations.simulation.vapi import SimulatedVapi
from voxbilling.vapi_payloads import SimulatedCall

pytestmark = pytest.mark.e2e

# What each wallet has when its scenario begins. A minute of a call costs 49p, a number 1000p.
FUNDED_PENCE = {
    "too poor": 999,
    "buyer": 1_500,
    "hasty buyer": 2_500,
    "reserves": 1_000,
    "releases": 1_000,
    "settles twice": 1_000,
    "runs dry": 3 * 49,
    "has money": 10_000,
    "reads": 1_234,
    "has a history": 1_000,
}
RESERVE, COMMIT = "/api/billing/reserve-credits", "/api/billing/commit-credits"
PROVISION = "/api/managed-telephony/provision"
WALLET, TRANSACTIONS = "/api/billing/wallet", "/api/billing/wallet/transactions"
NUMBER = {"country": "GB", "numberType": "local"}


@pytest.fixture(scope="module")
def accounts(stack):
    return open_accounts(stack, FUNDED_PENCE)


@pytest.fixture
def sign_in(stack, accounts):
    """A client with the token of an account's owner."""
    clients = []

    def sign_in(name):
        client = httpx.Client(base_url=stack["base_url"], timeout=60, trust_env=False)
        clients.append(client)
        credentials = {key: accounts[name][key] for key in ("username", "password")}
        answer = client.post("/api/auth/token/", json=credentials)
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['access']}"
        return client

    yield sign_in
    for client in clients:
        client.close()


@pytest.fixture
def play(stack, accounts):
    """Play a part of a call at the server as Vapi: a coroutine that is given Vapi and the call."""

    def play(name, part):
        account = accounts[name]
        call = SimulatedCall(
            call_type="inboundPhoneCall",
            assistant_id=None,
            phone_number_id=account["vapi_phone_number_id"],
            phone_number=account["phone_number"],
            control_base_url=stack["sandbox_url"],
        )

        async def with_vapi():
            async with SimulatedVapi(
                base_url=stack["base_url"],
                secret=stack["vapi_webhook_secret"],
                sandbox_url=stack["sandbox_url"],
            ) as vapi:
                return await part(vapi, call)

        return asyncio.run(with_vapi())

    return play


def wallet_of(customer):
    answer = customer.get(WALLET)
    assert answer.status_code == 200, answer.text
    return answer.json()


def entries_of(customer, **query):
    answer = customer.get(TRANSACTIONS, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["transactions"]


def new_call_id():
    return f"call-{uuid.uuid4()}"


def ask(customer, path, **body):
    answer = customer.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_provision_refused_for_lack_of_money(sign_in):
    # Given a wallet that lacks a penny
    customer = sign_in("too poor")

    # When its owner buys a number
    answer = customer.post(PROVISION, json=NUMBER)

    # Then it is refused with every figure, and nothing is charged
    assert answer.status_code == 402
    refusal = answer.json()
    assert refusal["error"].startswith("Insufficient")
    assert (refusal["required"], refusal["current"]) == (1_000, 999)
    assert (refusal["shortfallPence"], refusal["canRetry"]) == (1, True)
    assert wallet_of(customer)["balance_pence"] == 999
    assert [entry["type"] for entry in entries_of(customer)] == ["topup"]


def test_provision_succeeds(sign_in):
    # Given a wallet with enough money
    customer = sign_in("buyer")

    # When its owner buys a number
    answer = customer.post(PROVISION, json=NUMBER)

    # Then it has a number, and was charged for it once
    assert answer.status_code == 201, answer.text
    bought = answer.json()
    assert bought["success"] is True
    assert bought["phoneNumber"].startswith("+44")
    assert bought["vapiPhoneId"]
    assert bought["balanceAfterPence"] == 500
    assert wallet_of(customer)["balance_pence"] == 500
    purchase, _opening = entries_of(customer)
    assert (purchase["id"], purchase["type"]) == (bought["transactionId"], "phone_provisioning")
    assert (purchase["direction"], purchase["amount_pence"]) == ("debit", 1_000)


def test_double_provision_prevented(stack, sign_in):
    # Given a wallet with enough for two numbers, and an owner who clicks ten times
    customer = sign_in("hasty buyer")
    headers = {**customer.headers, "Idempotency-Key": "one click"}

    async def click_ten_times():
        async with httpx.AsyncClient(
            base_url=stack["base_url"], headers=headers, timeout=60, trust_env=False
        ) as browser:
            return await asyncio.gather(*(browser.post(PROVISION, json=NUMBER) for _ in range(10)))

    # When all of it arrives at once
    answers = asyncio.run(click_ten_times())

    # Then one of them buys, the others are told so, and asking again gives the same number
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409}
    [bought] = [answer.json() for answer in answers if answer.status_code == 201]
    again = customer.post(PROVISION, json=NUMBER, headers={"Idempotency-Key": "one click"})
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    for name in ("phoneNumber", "vapiPhoneId", "transactionId"):
        assert again.json()[name] == bought[name]
    assert wallet_of(customer)["balance_pence"] == 1_500
    assert len(entries_of(customer, type="phone_provisioning")) == 1


def test_reservation_lifecycle(sign_in):
    # Given a customer's program that announces a call of five minutes
    customer, call_id = sign_in("reserves"), new_call_id()
    held = ask(customer, RESERVE, callId=call_id, estimatedMinutes=5)

    # Then its price is held, once
    assert (held["success"], held["duplicate"]) == (True, False)
    assert (held["reservedPence"], held["activeReservationsPence"]) == (245, 245)
    assert (held["balancePence"], held["effectiveBalancePence"]) == (1_000, 755)
    again = ask(customer, RESERVE, callId=call_id, estimatedMinutes=5)
    assert (again["duplicate"], again["reservationId"]) == (True, held["reservationId"])
    wallet = wallet_of(customer)
    assert (wallet["balance_pence"], wallet["reserved_pence"]) == (1_000, 245)

    # When the call ends after 200 seconds
    settled = ask(customer, COMMIT, callId=call_id, durationSeconds=200)

    # Then four minutes are charged, and nothing is held
    assert (settled["actualCostPence"], settled["releasedPence"]) == (196, 49)
    wallet = wallet_of(customer)
    assert (wallet["balance_pence"], wallet["reserved_pence"]) == (804, 0)


def test_commit_with_release(sign_in):
    # Given a hold for ten minutes
    customer, call_id = sign_in("releases"), new_call_id()
    ask(customer, RESERVE, callId=call_id, estimatedMinutes=10)

    # When the call took a little over a minute
    settled = ask(customer, COMMIT, callId=call_id, durationSeconds=61)

    # Then two minutes are charged, and eight are given back
    assert settled["success"] is True
    assert settled["reservedPence"] == 490
    assert settled["actualCostPence"] == 98
    assert settled["releasedPence"] == 392
    assert settled["uncollectedPence"] == 0
    assert (settled["balanceBefore"], settled["balanceAfter"]) == (1_000, 902)
    assert settled["durationSeconds"] == 61
    assert wallet_of(customer)["effective_balance_pence"] == 902


def test_duplicate_commit(sign_in):
    # Given a call that is settled
    customer, call_id = sign_in("settles twice"), new_call_id()
    ask(customer, RESERVE, callId=call_id, estimatedMinutes=5)
    first = ask(customer, COMMIT, callId=call_id, durationSeconds=120)

    # When it is settled again
    again = ask(customer, COMMIT, callId=call_id, durationSeconds=120)

    # Then the first settlement is told again, and nothing more is charged
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert again == {**first, "duplicate": True}
    assert wallet_of(customer)["balance_pence"] == 902
    assert len(entries_of(customer, type="call_deduction")) == 1


def test_kill_switch_on_depletion(sign_in, play):
    # Given a call whose wallet pays for three minutes
    async def call_until_it_is_ended(vapi, call):
        now = datetime.now(UTC)
        answer = await vapi.send(payloads.assistant_request(call, at=now))
        assert "error" not in answer
        await vapi.send(payloads.status_update(call, "in-progress", at=now))
        # When the last two seconds begin
        goes_on = await vapi.ask_status(payloads.status_check(call, elapsed_seconds=177))
        ends = await vapi.ask_status(payloads.status_check(call, elapsed_seconds=178))
        return goes_on, ends, await vapi.was_told_to_end(call.id)

    goes_on, ends, was_told = play("runs dry", call_until_it_is_ended)

    # Then it is ended, in the answer and by its control URL, and not before
    assert (goes_on["endCall"], goes_on["remaining_seconds"]) == (False, 3)
    assert (ends["endCall"], ends["remaining_seconds"]) == (True, 2)
    assert was_told
    assert wallet_of(sign_in("runs dry"))["effective_balance_pence"] == 0


def test_kill_switch_held_back_with_money(sign_in, play):
    # Given a call whose wallet pays for hours, and whose first hold pays for five minutes
    async def talk_for_ten_minutes(vapi, call):
        now = datetime.now(UTC)
        await vapi.send(payloads.assistant_request(call, at=now))
        await vapi.send(payloads.status_update(call, "in-progress", at=now))
        # When it is checked every minute
        return [
            await vapi.ask_status(payloads.status_check(call, elapsed_seconds=60 * minute))
            for minute in range(1, 11)
        ]

    verdicts = play("has money", talk_for_ten_minutes)

    # Then it goes on, and its hold is kept ahead of it
    assert [verdict["endCall"] for verdict in verdicts] == [False] * 10
    assert all(verdict["remaining_seconds"] > 60 for verdict in verdicts)
    wallet = wallet_of(sign_in("has money"))
    assert wallet["balance_pence"] == 10_000
    assert wallet["reserved_pence"] >= 11 * 49


def test_wallet_balance(sign_in):
    # Given a wallet of which a call holds one minute
    customer = sign_in("reads")
    ask(customer, RESERVE, callId=new_call_id(), estimatedMinutes=1)

    # When its owner looks at it
    wallet = wallet_of(customer)

    # Then every figure is there
    assert wallet["balance_pence"] == 1_234
    assert wallet["balance_formatted"] == "£12.34"
    assert wallet["reserved_pence"] == 49
    assert wallet["effective_balance_pence"] == 1_185
    assert (wallet["debt_limit_pence"], wallet["owed_pence"]) == (0, 0)
    assert wallet["rate_pence_per_minute"] == 49
    assert wallet["estimated_minutes_remaining"] == 1_185 // 49
    assert (wallet["low_balance_pence"], wallet["is_low_balance"]) == (1_000, False)
    assert wallet["summary"] == {
        "total_spent_pence": 0,
        "total_topped_up_pence": 1_234,
        "total_calls": 0,
    }


def test_transaction_history(sign_in):
    # Given a wallet that paid for three calls of 1, 2 and 3 minutes
    customer = sign_in("has a history")
    for minutes in (1, 2, 3):
        ask(customer, COMMIT, callId=new_call_id(), durationSeconds=60 * minutes)

    # When its owner reads page after page
    pages, cursor = [], {}
    while cursor is not None:
        answer = customer.get(TRANSACTIONS, params={"limit": 2, **cursor}).json()
        pages.append([entry["amount_pence"] for entry in answer["transactions"]])
        assert answer["pagination"]["limit"] == 2
        following = answer["pagination"]["next"]
        cursor = {"cursor": following} if following else None

    # Then every entry is there once, newest first, and a type can be chosen
    assert pages == [[147, 98], [49, 1_000]]
    calls = entries_of(customer, type="call_deduction")
    assert [entry["balance_after_pence"] for entry in calls] == [706, 853, 951]
    assert [entry["type"] for entry in entries_of(customer, type="topup")] == ["topup"]
