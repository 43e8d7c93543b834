"""Vapi promises no order and repeats itself: whatever comes when, the money is the same."""

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import Clock, Vapi, after, assert_money, call_of
from tests.webhooks.vapi_payloads import VapiCall
from wallets.models import CreditTransaction, Organization

pytestmark = pytest.mark.django_db

LASTED_SECONDS = 154
PRICE_PENCE = 147
# All of it arrives after the call, and early enough for an assistant-request to count.
NOW_SECONDS = LASTED_SECONDS + 10

Message = Callable[[VapiCall, int], dict[str, Any]]
# The number makes a repetition's bytes differ, as they do when Vapi sends it again.
MESSAGES: dict[str, Message] = {
    "assistant-request": lambda call, n: call.assistant_request(after(n / 1000)),
    "queued": lambda call, n: call.status("queued", after(n / 1000)),
    "in-progress": lambda call, n: call.status("in-progress", after(n / 1000)),
    "ended": lambda call, n: call.ended(after(LASTED_SECONDS + n / 1000)),
    "report": lambda call, n: call.report(
        after(0), after(LASTED_SECONDS), cost=0.2317, timestamp=n
    ),
}


def play(vapi: Vapi, clock: Clock, funded_pence: int, sent: Sequence[tuple[str, int]]) -> None:
    """Send the messages about a new call in this order, and check the money after each."""
    clock.at(NOW_SECONDS)
    owner = OrganizationFactory(funded_pence=funded_pence)
    call = VapiCall(number=PhoneNumberFactory(organization=owner))
    for name, number in sent:
        vapi.send(MESSAGES[name](call, number))
        assert_conserved(owner)

    known = call_of(call)
    charged_pence = min(PRICE_PENCE, funded_pence)
    owed_pence = PRICE_PENCE - charged_pence
    assert (known.charged_pence, known.uncollected_pence) == (charged_pence, owed_pence)
    assert (known.duration_seconds, known.attention) == (LASTED_SECONDS, "")
    assert CreditTransaction.objects.filter(organization=owner, type="call_deduction").count() == 1
    assert_money(owner, balance=funded_pence - charged_pence, owed=owed_pence)


def assert_conserved(owner: Organization) -> None:
    """Nothing was made or lost: paid in less charged is there, and no more is held than that."""
    owner.refresh_from_db()
    signed = {"credit": 1, "debit": -1}
    entries = CreditTransaction.objects.filter(organization=owner)
    assert owner.balance_pence == sum(
        signed[entry.direction] * entry.amount_pence for entry in entries
    )
    assert 0 <= owner.reserved_pence <= owner.balance_pence


@pytest.mark.parametrize("first", MESSAGES)
def test_given_every_order_when_each_message_comes_once_then_the_money_is_the_same(
    vapi: Vapi, clock: Clock, first: str
) -> None:
    for rest in permutations(name for name in MESSAGES if name != first):
        play(vapi, clock, 10_000, [(name, 0) for name in (first, *rest)])


@pytest.mark.parametrize("funded_pence", [0, 100])
def test_given_a_wallet_that_cannot_pay_all_when_the_order_turns_then_the_money_is_the_same(
    vapi: Vapi, clock: Clock, funded_pence: int
) -> None:
    names = list(MESSAGES)
    for first in range(len(names)):
        turned = names[first:] + names[:first]
        play(vapi, clock, funded_pence, [(name, 0) for name in turned])
        play(vapi, clock, funded_pence, [(name, 0) for name in reversed(turned)])


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    sent=st.lists(st.sampled_from(list(MESSAGES)), max_size=5).flatmap(
        lambda again: st.permutations([*MESSAGES, *again])
    ),
    same_bytes=st.booleans(),
    funded_pence=st.sampled_from([0, 100, 147, 10_000]),
)
def test_given_any_order_and_any_repetition_when_all_has_come_then_the_money_is_the_same(
    vapi: Vapi, clock: Clock, sent: list[str], same_bytes: bool, funded_pence: int
) -> None:
    play(
        vapi,
        clock,
        funded_pence,
        [(name, 0 if same_bytes else position) for position, name in enumerate(sent)],
    )
