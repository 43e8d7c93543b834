"""Every command of the ledger in every order that hypothesis thinks of, on PostgreSQL.

A small reference ledger predicts each result. After every step the figures are computed anew from
the rows, and everything that the database would check at commit is checked.
"""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.factories import OrganizationFactory
from tests.wallets import steps
from tests.wallets.invariants import (
    WalletFigures,
    assert_ledger_intact,
    check_deferred_constraints,
    ledger_snapshot,
    wallet_figures,
)
from tests.wallets.reference_ledger import ReferenceLedger, Wallet
from wallets import ledger
from wallets.models import Organization
from wallets.selectors import ledger_differences

# Few of each, so that replays, conflicts and the ids of other organizations come up all the time.
WALLETS = st.integers(0, 2)
CALL_IDS = st.sampled_from(["call-1", "call-2", "call-3", "call-4", "call-5"])
KEYS = st.sampled_from(["key-1", "key-2", "key-3"])
TARIFFS = st.sampled_from([(49, 60), (49, 1), (7, 6), (100, 30), (1, 60)])
AMOUNTS = st.sampled_from([1, 48, 49, 100, 245, 300])
SECONDS = st.sampled_from([0, 1, 59, 60, 61, 300, 1000])


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # Every example is rolled back; the constraints that wait for a commit are asked each step.
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.clock = time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC), tick=False)
        self.traveller = self.clock.start()
        self.model = ReferenceLedger()

    def teardown(self) -> None:
        self.clock.stop()
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    @initialize(tariffs=st.tuples(TARIFFS, TARIFFS, TARIFFS), recovers=st.booleans())
    def three_organizations(self, tariffs, recovers):
        self.wallets = [Wallet(tariff=tariff, recovers=recovers) for tariff in tariffs]
        self.organizations = [
            OrganizationFactory(
                rate_pence_per_minute=rate,
                billing_increment_seconds=increment,
                recovers_owed_from_topups=recovers,
            )
            for rate, increment in tariffs
        ]
        for number in (0, 1):
            self.model.credit(self.wallets[number], 300, "topup", "opening")
            steps.top_up(self.organizations[number], 300, idempotency_key="opening")

    def both(self, command, expected, *, duplicate_may_write=False, can_be_repeated=True):
        """Run the command, and hold it to what the reference ledger said of it."""
        before = ledger_snapshot()
        result, refused_as = None, None
        try:
            result = command()
        except ledger.LedgerError as refusal:
            refused_as = type(refusal).__name__
        if refused_as is not None:
            assert refused_as == expected
            assert ledger_snapshot() == before, "refused, and yet something changed"
            return
        assert not isinstance(expected, str), f"{expected} was expected, and {result} came"
        for name, figure in (expected or {}).items():
            assert getattr(result, name) == figure, name
        if result is None or not can_be_repeated:
            return
        after = ledger_snapshot()
        if result.duplicate and not duplicate_may_write:
            assert after == before, "a duplicate, and yet something changed"
        repeated = command()
        assert repeated.duplicate
        assert ledger_snapshot() == after, "done twice, it changed something twice"
        self.assert_same_figures(result, repeated)

    def assert_same_figures(self, first, repeated):
        """A replay has the first figures, but for the wallet's balance, which moves on."""
        moves_on = {"duplicate"}
        if getattr(first, "transaction_id", True) is None:  # settled at 0: no entry to read from
            moves_on |= {"balance_before_pence", "balance_after_pence"}
        for name, figure in vars(first).items():
            if name not in moves_on:
                assert getattr(repeated, name) == figure, name

    # --- calls ---

    @rule(
        number=WALLETS,
        call_id=CALL_IDS,
        vapi_call_id=st.none() | CALL_IDS,
        minutes=st.integers(1, 6),
    )
    def reserve(self, number, call_id, vapi_call_id, minutes):
        self.both(
            lambda: steps.reserve(
                self.organizations[number], call_id, minutes, vapi_call_id=vapi_call_id
            ),
            self.model.reserve(self.wallets[number], call_id, vapi_call_id, minutes),
            duplicate_may_write=vapi_call_id is not None,  # Vapi's id, learned late
        )

    @rule(call_id=CALL_IDS, seconds=SECONDS)
    def extend(self, call_id, seconds):
        self.both(
            lambda: steps.extend(call_id, seconds),
            self.model.extend(call_id, seconds),
            duplicate_may_write=True,  # a later expiry, also when it adds no money
        )

    @rule(call_id=CALL_IDS, seconds=SECONDS, number=st.none() | WALLETS)
    def commit(self, call_id, seconds, number):
        organization_id = None if number is None else self.organizations[number].pk
        self.both(
            lambda: steps.commit(call_id, seconds, organization_id=organization_id),
            self.model.commit(call_id, seconds, None if number is None else self.wallets[number]),
        )

    @rule(number=WALLETS, call_id=CALL_IDS, seconds=SECONDS)
    def correct(self, number, call_id, seconds):
        self.both(
            lambda: steps.correct(self.organizations[number], call_id, seconds),
            self.model.correct(self.wallets[number], call_id, seconds),
        )

    @rule(number=WALLETS, call_id=CALL_IDS)
    def give_up(self, number, call_id):
        self.both(
            lambda: steps.give_up(self.organizations[number], call_id),
            self.model.give_up(self.wallets[number], call_id),
            can_be_repeated=False,  # the id is gone
        )

    @rule(call_id=CALL_IDS)
    def release(self, call_id):
        self.both(lambda: steps.release(call_id), self.model.release(call_id))

    @rule(minutes=st.sampled_from([1, 15, 30, 31]))
    def time_passes_and_the_sweep_comes(self, minutes):
        self.traveller.shift(timedelta(minutes=minutes))
        self.model.now += minutes
        assert ledger.cleanup_expired_reservations() == self.model.expire()
        before = ledger_snapshot()
        assert ledger.cleanup_expired_reservations() == 0
        assert ledger_snapshot() == before

    # --- money ---

    @rule(
        number=WALLETS, pence=AMOUNTS, kind=st.sampled_from(["license", "phone_number"]), key=KEYS
    )
    def buy(self, number, pence, kind, key):
        organization = self.organizations[number]
        self.both(
            lambda: steps.buy(organization, pence, asset_type=kind, idempotency_key=key),
            self.model.buy(self.wallets[number], pence, kind, key),
        )

    @rule(number=WALLETS, pence=AMOUNTS, kind=st.sampled_from(["topup", "refund"]), key=KEYS)
    def credit(self, number, pence, kind, key):
        organization = self.organizations[number]
        self.both(
            lambda: steps.top_up(organization, pence, credit_type=kind, idempotency_key=key),
            self.model.credit(self.wallets[number], pence, kind, key),
        )

    @rule(number=WALLETS, pence=AMOUNTS, sign=st.sampled_from([1, -1]), key=KEYS)
    def adjust(self, number, pence, sign, key):
        self.both(
            lambda: steps.adjust(self.organizations[number], sign * pence, idempotency_key=key),
            self.model.adjust(self.wallets[number], sign * pence, key),
        )

    @rule(number=WALLETS, pence=AMOUNTS, key=KEYS)
    def claw_back(self, number, pence, key):
        self.both(
            lambda: steps.claw_back(self.organizations[number], pence, idempotency_key=key),
            self.model.claw_back(self.wallets[number], pence, key),
        )

    @precondition(lambda self: any(wallet.owed for wallet in self.wallets))
    @rule(number=WALLETS, pence=AMOUNTS, key=KEYS, pays=st.booleans())
    def reduce_owed(self, number, pence, key, pays):
        command = steps.recover if pays else steps.write_off
        self.both(
            lambda: command(self.organizations[number], pence, idempotency_key=key),
            self.model.reduce_owed(self.wallets[number], pence, key, pays=pays),
        )

    # --- what staff allow ---

    @rule(number=WALLETS, pence=st.sampled_from([0, 49, 100, 1000]))
    def set_debt_limit(self, number, pence):
        self.both(
            lambda: steps.set_debt_limit(self.organizations[number], pence),
            self.model.set_limit(self.wallets[number], pence),
        )

    @rule(number=WALLETS)
    def suspend(self, number):
        steps.suspend(self.organizations[number])
        self.wallets[number].suspended = True

    @rule(number=WALLETS)
    def resume(self, number):
        steps.resume(self.organizations[number])
        self.wallets[number].suspended = False

    @rule(number=WALLETS, tariff=TARIFFS)
    def change_tariff(self, number, tariff):
        rate, increment = self.wallets[number].tariff = tariff
        Organization.objects.filter(pk=self.organizations[number].pk).update(
            rate_pence_per_minute=rate, billing_increment_seconds=increment
        )

    # --- what is true after every step ---

    @invariant()
    def the_rows_agree_with_each_other(self):
        check_deferred_constraints()
        assert_ledger_intact()
        assert ledger_differences() == []

    @invariant()
    def the_wallets_are_what_the_reference_says(self):
        for organization, wallet in zip(self.organizations, self.wallets, strict=True):
            assert wallet_figures(organization) == WalletFigures(
                wallet.balance, wallet.reserved(self.model.calls), wallet.owed
            )


@pytest.mark.django_db
def test_the_ledger_does_what_the_reference_does_in_any_order_of_commands():
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
