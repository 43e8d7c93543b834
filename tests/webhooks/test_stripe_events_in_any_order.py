"""Stripe's events come shuffled, repeated and late: what is in the wallets at the end is the same.

What a wallet has less what it owes is the same always; how it divides into the two may depend on
the order if it may go into debt, if staff let it owe, or if calls hold its money.

A random story of several payments is told once in its own order, and once in another, with some
events told twice and all of them replayed at the end.
"""

import random
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import OrganizationFactory, TopUpFactory
from tests.wallets.steps import reserve
from tests.webhooks.stripe_payloads import Event, StripePayment
from wallets import ledger
from wallets.models import CreditTransaction, Dispute, Organization, TopUp
from wallets.payments import topups
from wallets.selectors import ledger_differences
from webhooks import inbox
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Story:
    """What happened to one payment: refunds from outside in parts, and how its dispute went."""

    amount: int
    method: str
    refunds: tuple[int, ...]
    dispute: str
    disputed_amount: int
    spent_before: int


stories = st.builds(
    Story,
    amount=st.integers(100, 10_000),
    method=st.sampled_from(["card", "delayed", "never"]),
    refunds=st.lists(st.integers(1, 60), max_size=3).map(tuple),
    dispute=st.sampled_from(["none", "none", "inquiry", "lost", "won", "inquiry_lost"]),
    disputed_amount=st.integers(1, 10_000),
    spent_before=st.integers(0, 3_000),
)


@dataclass(frozen=True)
class Terms:
    """What an organization is allowed, and what its live calls hold, in pence."""

    debt_limit: int
    recovers: bool
    held: int


PLAIN = Terms(0, recovers=True, held=0)
terms = st.one_of(
    st.just(PLAIN),
    st.builds(
        Terms,
        debt_limit=st.sampled_from([0, 500, 5_000]),
        recovers=st.booleans(),
        held=st.sampled_from([0, 60]),
    ),
)


def events_of(story: Story, payment: StripePayment) -> list[Event]:
    if story.method == "never":
        return [
            payment.intent("payment_failed", last_payment_error={"code": "card_declined"}),
            payment.session("expired", payment_status="unpaid", payment_intent=None),
        ]
    told = [payment.intent(), payment.session()]
    if story.method == "delayed":
        told = [
            payment.session(payment_status="unpaid"),
            payment.intent("processing"),
            payment.session("async_payment_succeeded"),
            payment.intent(),
        ]
    total = 0
    for percent in story.refunds:
        total = min(total + story.amount * percent // 100, story.amount)
        told.append(payment.refunded(total))
    amount = min(story.disputed_amount, story.amount)
    steps = {
        "none": [],
        "inquiry": [("created", "warning_needs_response")],
        "inquiry_lost": [
            ("created", "warning_needs_response"),
            ("funds_withdrawn", "needs_response"),
        ],
        "lost": [("created", "needs_response"), ("funds_withdrawn", "needs_response")],
        "won": [
            ("created", "needs_response"),
            ("funds_withdrawn", "needs_response"),
            ("funds_reinstated", "won"),
        ],
    }[story.dispute]
    return told + [payment.dispute(kind, status=status, amount=amount) for kind, status in steps]


def net_pence(story: Story) -> int:
    """What a story leaves in the wallet, worked out without the product."""
    if story.method == "never":
        return 0
    refunded = 0
    for percent in story.refunds:
        refunded = min(refunded + story.amount * percent // 100, story.amount)
    is_lost = story.dispute in {"lost", "inquiry_lost"}
    return story.amount - refunded - is_lost * min(story.disputed_amount, story.amount)


def most_taken(story: Story) -> int:
    """What refunds and a dispute take together before any of it comes back."""
    disputed = story.dispute in {"lost", "won", "inquiry_lost"}
    refunded = story.amount - net_pence(replace(story, dispute="none"))
    return refunded + disputed * min(story.disputed_amount, story.amount)


def make_wallet(told: list[Story], on: Terms) -> tuple[Organization, list[StripePayment]]:
    """A wallet that has spent what it had, and as much more as it owes, and its open top-ups."""
    organization = OrganizationFactory(
        rate_pence_per_minute=1, funded_pence=on.held, recovers_owed_from_topups=on.recovers
    )
    if on.held:
        reserve(organization, f"{organization.pk} live", minutes=on.held)
    for number, story in enumerate(told):
        # At a penny a minute. None of it can be paid, so all of it is owed.
        if story.spent_before:
            ledger.commit_reserved_credits(
                call_id=f"{organization.pk} {number}",
                duration_seconds=story.spent_before * 60,
                organization_id=organization.pk,
            )
    ledger.set_debt_limit(organization_id=organization.pk, debt_limit_pence=on.debt_limit)
    return organization, [
        StripePayment(
            TopUpFactory(organization=organization, amount_pence=story.amount).pk, story.amount
        )
        for story in told
    ]


def tell(events: list[Event]) -> None:
    for event in events:
        inbox.receive_stripe(event)
    # What came before the payment that it is about waits, as it would for the sweep.
    while waiting := list(
        WebhookEvent.objects.filter(status="pending", source="stripe").values_list("pk", flat=True)
    ):
        for event_id in waiting:
            inbox.process(event_id)


def figures(organization: Organization) -> tuple[int, int]:
    organization.refresh_from_db()
    return organization.balance_pence, organization.owed_pence


def hear_all(told: list[Story], seed: int | None, on: Terms = PLAIN) -> tuple[int, int]:
    organization, payments = make_wallet(told, on)
    events = [
        event
        for story, payment in zip(told, payments, strict=True)
        for event in events_of(story, payment)
    ]
    if seed is not None:
        choice = random.Random(seed)
        events += choice.sample(events, len(events) // 2)
        choice.shuffle(events)
    tell(events)
    after = figures(organization)
    # Days later, once more.
    for event_id in WebhookEvent.objects.filter(source="stripe").values_list("pk", flat=True):
        inbox.replay(event_id)
    assert figures(organization) == after
    check(organization, told)
    return after


def check(organization: Organization, told: list[Story]) -> None:
    assert ledger_differences() == []
    credited = CreditTransaction.objects.filter(
        organization=organization, type="topup", topup__isnull=False
    )
    assert Counter(credited.values_list("amount_pence", flat=True)) == Counter(
        story.amount for story in told if story.method != "never"
    )
    flagged = set(
        TopUp.objects.filter(organization=organization)
        .exclude(attention="")
        .values_list("amount_pence", flat=True)
    )
    # More was taken back than was paid, in the end or at some time before.
    assert flagged >= {story.amount for story in told if net_pence(story) < 0}
    assert flagged <= {story.amount for story in told if most_taken(story) > story.amount}
    taken = any(
        story.method != "never"
        and (story.dispute in {"lost", "won", "inquiry_lost"} or net_pence(story) < story.amount)
        for story in told
    )
    assert organization.is_suspended == taken
    assert Dispute.objects.filter(organization=organization, is_given_back=True).count() == sum(
        story.dispute == "won" and story.method != "never" for story in told
    )


@given(told=st.lists(stories, min_size=1, max_size=4), seed=st.integers(0, 2**32), on=terms)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_given_any_payments_when_told_in_any_order_then_the_wallet_ends_the_same(told, seed, on):
    with transaction.atomic():
        in_order = hear_all(told, None, on)
        WebhookEvent.objects.all().delete()
        shuffled = hear_all(told, seed, on)
        transaction.set_rollback(True)

    net = on.held + sum(net_pence(story) - story.spent_before for story in told)
    for balance, owed in (in_order, shuffled):
        assert balance - owed == net
        assert balance >= on.held - on.debt_limit
    if on == PLAIN:
        assert in_order == shuffled == (max(net, 0), max(-net, 0))


def test_given_no_look_at_what_was_credited_when_told_twice_then_it_is_found(monkeypatch):
    """The control: without the one rule that a payment is credited once, the test above fails."""
    told = [Story(1_000, "card", (), "none", 1, 0)]
    real = ledger.add_credits

    def under_a_key_of_its_own(**asked):
        key = f"{asked.pop('idempotency_key')} {random.random()}"
        return real(**asked, idempotency_key=key)

    monkeypatch.setattr(ledger, "add_credits", under_a_key_of_its_own)
    monkeypatch.setattr(topups.TopUp, "is_paid", False)

    with pytest.raises(AssertionError):
        hear_all(told, None)
