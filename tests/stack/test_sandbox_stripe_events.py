"""Events of the sandbox's Stripe on their way: signed, repeated, held back, shuffled and lost."""

import time

import pytest
import stripe

from tests.sandbox import running_sandbox
from tests.stripe_account import PAYS, Account
from tests.stripe_listener import SECRET, listening


@pytest.fixture
def listener():
    with listening() as listener:
        yield listener


@pytest.fixture
def account(listener):
    with running_sandbox(stripe_webhook_url=listener.url, stripe_webhook_secret=SECRET) as url:
        account = Account(url)
        yield account
        account.close()


def undelivered(account, **params):
    page = account.v1.events.list(params={"delivery_success": False, **params})
    return [event.id for event in page.auto_paging_iter()]


def test_what_is_delivered_is_signed_and_is_what_the_api_shows(account, listener):
    account.customer(email="owner@example.com")

    account.wait_until_heard(listener, "customer.created")
    account.wait_until_quiet()

    [event] = listener.events
    shown = account.v1.events.retrieve(event.id)
    assert shown.data.object.to_dict() == event.data.object.to_dict()
    assert event.data.object.email == "owner@example.com"
    assert shown.pending_webhooks == 0


def test_with_another_secret_nothing_is_taken(listener):
    with running_sandbox(stripe_webhook_url=listener.url, stripe_webhook_secret="other") as url:
        account = Account(url)
        account.customer()
        while not (events := account.sandbox.get("/webhooks").json()["events"])[0]["attempts"]:
            time.sleep(0.02)
        account.close()

    assert listener.events == []
    assert (events[0]["attempts"][0]["outcome"], events[0]["was_delivered"]) == (400, False)


def test_an_event_tells_what_was_and_not_what_is(account, listener):
    account.control("settings", webhooks="hold")
    intent = account.paid()
    account.control("refunds", payment_intent=intent.id, amount=1000)
    account.control("refunds", payment_intent=intent.id)
    account.control("webhooks/release")

    account.wait_until_quiet()

    refunded = [each.data.object for each in listener.events if each.type == "charge.refunded"]
    assert [charge.amount_refunded for charge in refunded] == [1000, 2500]
    assert [charge.refunded for charge in refunded] == [False, True]


def test_what_is_refused_is_sent_again_until_it_is_taken(account, listener):
    problems = [500]
    listener.status_of = lambda _event: problems[0] if problems else 200

    account.customer()
    account.wait_until_heard(listener, "customer.created")
    pending = undelivered(account)
    problems.clear()
    account.wait_until_quiet()

    assert len(listener.events) >= 2
    assert len({event.id for event in listener.events}) == 1
    assert pending == [listener.events[0].id]
    assert undelivered(account) == []


def test_held_events_wait_and_come_in_the_order_that_they_were_made(account, listener):
    account.control("settings", webhooks="hold")
    account.paid()
    heard_before = list(listener.events)

    account.control("webhooks/release")
    account.wait_until_quiet()

    assert heard_before == []
    assert listener.types == [
        *("customer.created", "charge.succeeded"),
        *("payment_intent.succeeded", "checkout.session.completed"),
    ]


def test_released_events_are_shuffled_and_repeated_by_a_seed(account, listener):
    account.control("settings", webhooks="hold")
    account.paid()

    sent = account.control("webhooks/release", times=2, shuffle_by=7)["sent"]
    account.wait_until_quiet()

    assert [event.id for event in listener.events] == sent
    assert len(sent) == 8
    assert len(set(sent)) == 4
    assert sent[:4] != sent[4:]


def test_lost_events_are_found_by_the_api_alone_and_can_be_sent_late(account, listener):
    account.control("settings", webhooks="lose")
    account.paid()
    account.control("settings", webhooks="deliver")
    account.customer()
    account.wait_until_heard(listener, "customer.created")
    account.wait_until_quiet()

    lost = undelivered(account, types=["payment_intent.succeeded", "checkout.session.completed"])
    account.control(f"webhooks/{lost[0]}/send", delay_seconds=0.1)
    account.wait_until_heard(listener, "checkout.session.completed")
    account.wait_until_quiet()

    assert len(lost) == 2
    assert len(undelivered(account)) == 3
    assert lost[0] not in undelivered(account)


def test_events_come_twice_when_asked_for(account, listener):
    account.control("settings", times=2)
    account.customer()

    account.wait_until_quiet()

    assert listener.types == ["customer.created"] * 2
    assert len({event.id for event in listener.events}) == 1


def test_events_are_listed_by_type_and_time_page_by_page(account):
    for _ in range(3):
        account.customer()
    account.paid()

    def listed(**params):
        page = account.v1.events.list(params={"limit": 2, **params})
        return [event.type for event in page.auto_paging_iter()]

    assert listed(types=["customer.created"]) == ["customer.created"] * 4
    assert listed(type="charge.succeeded") == ["charge.succeeded"]
    assert listed(created={"gte": int(time.time()) + 60}) == []
    newest = account.v1.events.list(params={"limit": 1}).data[0]
    older = account.v1.events.list(params={"starting_after": newest.id, "limit": 100}).data
    assert len(older) == 6


def refund(account, intent, **params):
    return account.v1.refunds.create(params={"payment_intent": intent.id, **params})


def test_refunds_add_up_on_the_charge_and_never_to_more_than_it(account, listener):
    intent = account.paid(2500)

    part = refund(account, intent, amount=1000, metadata={"refund_id": "r1"})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        refund(account, intent, amount=1501)
    rest = refund(account, intent)
    with pytest.raises(stripe.InvalidRequestError) as nothing_left:
        refund(account, intent)

    assert (part.status, part.metadata["refund_id"], rest.amount) == ("succeeded", "r1", 1500)
    assert nothing_left.value.code == "charge_already_refunded"
    listed = account.v1.refunds.list(params={"payment_intent": intent.id}).data
    assert [each.id for each in listed] == [rest.id, part.id]
    charge = account.v1.charges.retrieve(intent.latest_charge)
    assert (charge.amount_refunded, charge.refunded) == (2500, True)
    account.wait_until_heard(listener, "refund.created", "charge.refunded")


def test_a_refund_fails_days_later_and_the_money_is_back(account, listener):
    intent = account.paid(2500)
    made = refund(account, intent)

    account.control(f"refunds/{made.id}/fail")

    account.wait_until_heard(listener, "refund.failed", "refund.updated")
    assert account.v1.refunds.retrieve(made.id).status == "failed"
    charge = account.v1.charges.retrieve(intent.latest_charge)
    assert (charge.amount_refunded, charge.refunded) == (0, False)


def test_a_refund_may_be_pending_first(account, listener):
    account.control("settings", refunds_begin_as="pending")
    made = refund(account, account.paid())

    account.control(f"refunds/{made.id}/complete")

    assert made.status == "pending"
    account.wait_until_heard(listener, "refund.updated")
    assert account.v1.refunds.retrieve(made.id).status == "succeeded"


def test_what_is_not_paid_is_not_refunded(account):
    session = account.session(account.customer().id)
    account.pay_by_debit(session, "00012345")

    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        refund(account, account.intent_of(session))


@pytest.mark.parametrize(
    ("act", "status", "told", "moved"),
    [
        ("win", "won", "charge.dispute.funds_reinstated", [-2500, 2500]),
        ("lose", "lost", "charge.dispute.closed", [-2500]),
    ],
)
def test_a_dispute_takes_the_money_until_it_is_won(account, listener, act, status, told, moved):
    intent = account.paid(2500)

    opened = account.control("disputes", payment_intent=intent.id)
    account.wait_until_heard(listener, "charge.dispute.created", "charge.dispute.funds_withdrawn")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        refund(account, intent)
    account.control(f"disputes/{opened['id']}/{act}")

    account.wait_until_heard(listener, told, "charge.dispute.closed")
    dispute = account.v1.disputes.retrieve(opened["id"])
    assert (opened["status"], dispute.status) == ("needs_response", status)
    assert [entry.amount for entry in dispute.balance_transactions] == moved
    assert refused.value.code == "charge_disputed"
    assert ("charge.dispute.funds_reinstated" in listener.types) is (act == "win")


def test_an_inquiry_takes_no_money_unless_it_escalates(account, listener):
    intent = account.paid(2500)
    asked = account.control("disputes", payment_intent=intent.id, inquiry=True)
    account.wait_until_quiet()
    before = list(listener.types)

    account.control(f"disputes/{asked['id']}/escalate")

    assert asked["status"] == "warning_needs_response"
    assert "charge.dispute.created" in before
    assert "charge.dispute.funds_withdrawn" not in before
    account.wait_until_heard(listener, "charge.dispute.funds_withdrawn")


def test_an_inquiry_that_is_closed_moved_nothing(account, listener):
    asked = account.control("disputes", payment_intent=account.paid().id, inquiry=True)

    closed = account.control(f"disputes/{asked['id']}/win")

    account.wait_until_heard(listener, "charge.dispute.closed")
    assert (closed["status"], closed["balance_transactions"]) == ("warning_closed", [])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("settings", {"webhooks": "explode"}),
        ("settings", {"times": 21}),
        ("settings", {"delay_seconds": "soon"}),
        ("settings", {"spelling": 1}),
        ("cards", {"customer": "cus_nobody", "number": PAYS}),
        ("disputes", {"payment_intent": "pi_nobody"}),
        ("refunds", ["pi_x"]),
    ],
)
def test_a_control_that_makes_no_sense_says_so_and_changes_nothing(account, path, body):
    before = account.sandbox.get("/settings").json()

    answer = account.sandbox.post(f"/{path}", json=body)

    assert answer.status_code in {400, 404}
    assert answer.json()["error"]
    assert account.sandbox.get("/settings").json() == before
