"""reserve_call_credits: what a call holds before it starts."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    assert_ledger_intact,
    charges,
    nothing_changes,
    wallet_figures,
)
from tests.wallets.steps import (
    commit,
    expire_all_holds,
    release,
    reserve,
    set_debt_limit,
    suspend,
    top_up,
)
from wallets import ledger
from wallets.models import CreditReservation, Organization

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def organization():
    return OrganizationFactory(funded_pence=1000)


def test_given_no_estimate_when_reserved_then_five_minutes_are_held(organization):
    result = ledger.reserve_call_credits(organization_id=organization.pk, call_id="call-1")
    assert result.reserved_pence == 245


@pytest.mark.parametrize(
    ("funded_pence", "held_pence"), [(245, 245), (244, 196), (196, 196), (97, 49), (49, 49)]
)
def test_given_less_than_the_estimate_when_reserved_then_whole_increments_are_held(
    funded_pence, held_pence
):
    organization = OrganizationFactory(funded_pence=funded_pence)
    assert reserve(organization, minutes=5).reserved_pence == held_pence
    assert_ledger_intact()


@pytest.mark.parametrize("funded_pence", [0, 1, 48])
def test_given_less_than_one_increment_when_reserved_then_refused(funded_pence):
    organization = OrganizationFactory(funded_pence=funded_pence)

    with pytest.raises(ledger.InsufficientBalance) as refusal, nothing_changes():
        reserve(organization)

    assert refusal.value.required_pence == 49
    assert refusal.value.balance_pence == funded_pence
    assert refusal.value.shortfall_pence == 49 - funded_pence


def test_given_a_tariff_by_the_second_when_reserved_then_every_second_counts():
    organization = OrganizationFactory(funded_pence=48, billing_increment_seconds=1)
    # 58 s cost 47.37 p, rounded up to 48 p; 59 s would cost 49 p.
    assert reserve(organization).reserved_pence == 48

    penniless = OrganizationFactory(billing_increment_seconds=1)
    with pytest.raises(ledger.InsufficientBalance) as refusal:
        reserve(penniless, "call-2")
    assert refusal.value.required_pence == 1


def test_given_other_holds_when_reserved_then_only_the_rest_can_be_spent(organization):
    reserve(organization, "call-1", minutes=15)  # 735 p
    second = reserve(organization, "call-2", minutes=15)

    assert second.reserved_pence == 245
    assert second.active_reservations_pence == 980
    with pytest.raises(ledger.InsufficientBalance) as refusal, nothing_changes():
        reserve(organization, "call-3")
    assert refusal.value.effective_balance_pence == 20
    assert refusal.value.shortfall_pence == 29


def test_given_a_debt_limit_when_reserved_then_calls_may_use_it():
    organization = OrganizationFactory()
    set_debt_limit(organization, 100)

    result = reserve(organization, "call-1", minutes=5)
    assert result.reserved_pence == 98
    assert result.effective_balance_pence == -98

    with pytest.raises(ledger.InsufficientBalance) as refusal, nothing_changes():
        reserve(organization, "call-2")
    assert refusal.value.effective_balance_pence == -98
    assert refusal.value.shortfall_pence == 47
    assert_ledger_intact()


def test_given_suspension_when_reserved_then_refused_although_there_is_money(organization):
    suspend(organization)
    with pytest.raises(ledger.OrganizationSuspended), nothing_changes():
        reserve(organization)


def test_given_a_hold_and_suspension_when_reserved_again_then_still_the_first_hold(organization):
    first = reserve(organization)
    suspend(organization)
    assert reserve(organization).reservation_id == first.reservation_id


def test_given_a_hold_when_reserved_again_then_the_wallets_figures_are_todays(organization):
    reserve(organization)
    top_up(organization, 500)
    again = reserve(organization)
    assert (again.balance_pence, again.effective_balance_pence) == (1500, 1255)


@pytest.mark.parametrize(
    "close",
    [
        lambda: commit("call-1", 61),
        lambda: commit("call-1", 0),
        lambda: release("call-1"),
        expire_all_holds,
    ],
    ids=["committed", "committed at 0", "released", "expired"],
)
def test_given_a_closed_hold_when_reserved_again_then_it_is_not_held_again(organization, close):
    first = reserve(organization)
    close()

    with nothing_changes():
        again = reserve(organization)

    assert again.duplicate
    assert not again.active
    assert again.reservation_id == first.reservation_id
    assert wallet_figures(organization).reserved_pence == 0


def test_given_a_call_charged_without_a_hold_when_reserved_then_it_is_not_held(organization):
    commit("call-1", 30, organization_id=organization.pk)

    with nothing_changes():
        result = reserve(organization)

    assert result.duplicate
    assert not result.active


@pytest.mark.parametrize(
    "again",
    [
        {"call_id": "ours", "vapi_call_id": "vapis"},
        {"call_id": "ours"},
        {"call_id": "vapis"},
        {"call_id": "vapis", "vapi_call_id": "vapis"},
        {"call_id": "something new", "vapi_call_id": "vapis"},
        {"call_id": "something new", "vapi_call_id": "ours"},
    ],
)
def test_given_a_call_with_two_ids_when_reserved_by_either_then_it_is_the_same(organization, again):
    first = reserve(organization, "ours", vapi_call_id="vapis")

    with nothing_changes():
        result = reserve(organization, **again)

    assert result.duplicate
    assert result.reservation_id == first.reservation_id


def test_given_a_call_known_by_our_id_when_vapis_is_learned_then_its_report_finds_the_hold(
    organization,
):
    first = reserve(organization, "ours")

    again = reserve(organization, "ours", vapi_call_id="vapis")

    assert again.duplicate
    assert again.reservation_id == first.reservation_id
    settled = commit("vapis", 61, organization_id=organization.pk)
    assert settled.reserved_pence == 245
    assert commit("ours", 61).transaction_id == settled.transaction_id
    assert charges(organization) == [(98, 0)]
    assert_ledger_intact()


@pytest.mark.parametrize("close", [lambda: commit("call-1", 1), lambda: release("call-1")])
def test_given_a_closed_hold_when_vapis_id_comes_then_it_is_not_given_to_it(organization, close):
    reserve(organization)
    close()

    with pytest.raises(ledger.IdempotencyConflict, match="has closed"), nothing_changes():
        reserve(organization, vapi_call_id="vapis")
    with nothing_changes():
        assert reserve(organization, vapi_call_id="call-1").duplicate


def test_given_two_calls_when_an_id_of_each_is_named_then_vapis_id_decides(organization):
    reserve(organization, "a")
    by_vapi = reserve(organization, "b", vapi_call_id="v")
    by_call = reserve(organization, "c")

    assert reserve(organization, "a", vapi_call_id="v").reservation_id == by_vapi.reservation_id
    assert reserve(organization, "c", vapi_call_id="a").reservation_id == by_call.reservation_id
    assert_ledger_intact()


@pytest.mark.parametrize(
    "ids",
    [
        {"call_id": "theirs"},
        {"call_id": "theirs-vapi"},
        {"call_id": "new", "vapi_call_id": "theirs"},
        {"call_id": "new", "vapi_call_id": "theirs-vapi"},
        {"call_id": "mine", "vapi_call_id": "theirs"},
        {"call_id": "mine", "vapi_call_id": "theirs-vapi"},
        {"call_id": "theirs", "vapi_call_id": "mine"},
        {"call_id": "theirs-vapi", "vapi_call_id": "mine"},
    ],
)
def test_given_a_call_of_another_organization_when_reserved_then_refused_and_nothing_revealed(
    organization, ids
):
    other = OrganizationFactory(name="Secret Ltd", funded_pence=1000)
    theirs = reserve(other, "theirs", vapi_call_id="theirs-vapi")
    reserve(organization, "mine")

    with pytest.raises(ledger.IdempotencyConflict) as refusal, nothing_changes():
        reserve(organization, **ids)

    said = str(refusal.value)
    for secret in (other.pk, theirs.reservation_id, "Secret", "245", "1000", "another"):
        assert str(secret) not in said


def test_given_a_change_of_tariff_when_the_call_goes_on_then_it_keeps_the_tariff_it_started_with(
    organization,
):
    reserve(organization, "old")
    Organization.objects.filter(pk=organization.pk).update(
        rate_pence_per_minute=1, billing_increment_seconds=1
    )
    ledger.extend_reservation(call_id="old", cover_seconds=301)
    assert wallet_figures(organization).reserved_pence == 294
    assert commit("old", 301).actual_cost_pence == 294

    assert reserve(organization, "new").reserved_pence == 5
    assert commit("new", 61).actual_cost_pence == 2


def test_a_hold_lasts_half_an_hour_and_keeps_what_was_asked(organization):
    with time_machine.travel(NOON, tick=False):
        result = reserve(organization, "call-1", minutes=7, vapi_call_id="v")

    assert result.expires_at == NOON + timedelta(minutes=30)
    hold = CreditReservation.objects.get(pk=result.reservation_id)
    assert (hold.created_at, hold.expires_at) == (NOON, result.expires_at)
    assert (hold.call_id, hold.vapi_call_id, hold.estimated_minutes) == ("call-1", "v", 7)
    assert (hold.rate_pence_per_minute, hold.billing_increment_seconds) == (49, 60)
