"""Keys: what a client chooses can never be what the system, or another operation, uses itself."""

import pytest

from tests.factories import OrganizationFactory
from tests.wallets.invariants import assert_ledger_intact, rows
from tests.wallets.steps import (
    adjust,
    buy,
    claw_back,
    commit,
    recover,
    reserve,
    top_up,
    write_off,
)

pytestmark = pytest.mark.django_db

OPERATIONS = {
    "credit": top_up,
    "adjustment": adjust,
    "asset": buy,
    "clawback": claw_back,
    "recovery": recover,
    "write_off": write_off,
}


@pytest.fixture
def organization():
    """It owes 245 p, and has 1000 p."""
    organization = OrganizationFactory(recovers_owed_from_topups=False)
    commit("owed call", 300, organization_id=organization.pk)
    top_up(organization, 1000)
    return organization


def stored_keys(organization):
    found = rows(
        "SELECT idempotency_key FROM credit_transactions WHERE organization_id = %s"
        " ORDER BY sequence",
        (organization.pk,),
    )
    return [key for (key,) in found]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_key_is_kept_with_its_operation_in_front(organization, operation):
    OPERATIONS[operation](organization, 1, idempotency_key="mine")
    assert stored_keys(organization)[-1] == f"{operation}:mine"


def test_one_key_for_every_operation_makes_an_entry_each(organization):
    ordered = sorted(OPERATIONS, key=lambda name: name == "clawback")  # last: it suspends
    for operation in ordered:
        assert not OPERATIONS[operation](organization, 1, idempotency_key="same").duplicate
    assert stored_keys(organization)[-6:] == [f"{operation}:same" for operation in ordered]
    assert_ledger_intact()


def test_given_a_client_that_guesses_a_calls_key_when_it_buys_then_the_call_is_still_charged(
    organization,
):
    hold = reserve(organization)
    system_key = f"call:{hold.reservation_id}"
    buy(organization, 10, idempotency_key=system_key)
    buy(organization, 10, idempotency_key=str(hold.reservation_id))

    result = commit("call-1", 61)

    assert (result.actual_cost_pence, result.duplicate) == (98, False)
    assert stored_keys(organization)[-3:] == [
        f"asset:{system_key}",
        f"asset:{hold.reservation_id}",
        system_key,
    ]
    assert_ledger_intact()


@pytest.mark.parametrize("prefix", [*OPERATIONS, "call"])
def test_no_operations_key_can_be_spelled_through_another(organization, prefix):
    """Whatever a client writes, its own operation's name comes first, up to the first colon."""
    buy(organization, 1, idempotency_key=f"{prefix}:mine")
    stored = stored_keys(organization)[-1]
    assert stored.partition(":")[0] == "asset"


def test_keys_are_compared_exactly(organization):
    for key in ("key", "KEY", "key ", " key", "kéy", "ke\u0301y", "k%y", "k_y", "key\n"):
        assert not buy(organization, 1, idempotency_key=key).duplicate
