"""A customer's program claims a call at the moment at which Vapi announces it to somebody else.

Whoever comes first, Vapi's facts decide who pays, and nobody's money is lost.
"""

import random
import time
from functools import partial
from unittest import mock

import pytest

from calls import identity, self_reported
from calls.models import Call
from calls.self_reported import SettledByVapi
from tests.concurrency.expectations import assert_no_surprises
from tests.concurrency.harness import run_together
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.wallets.invariants import assert_ledger_intact, wallet_figures
from tests.webhooks.fixtures import START, after
from tests.webhooks.vapi_payloads import VapiCall, encoded
from wallets import ledger
from wallets.locks import lock_organization
from wallets.selectors import ledger_differences
from webhooks import inbox
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)

SEEDS = range(20)
REFUSALS = (ledger.IdempotencyConflict, SettledByVapi)


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch):
    monkeypatch.setattr("calls.ends.send_end.delay", lambda call_pk: None)


def race(seed, *commands):
    """All at once, each held back around its locks for as long as the seed says."""

    def delayed(organization_id):
        choice = random.Random(f"{seed} {organization_id} {time.monotonic_ns() % 7}")
        time.sleep(choice.uniform(0, 0.004))
        organization = lock_organization(organization_id)
        time.sleep(choice.uniform(0, 0.002))
        return organization

    with (
        mock.patch.object(identity, "lock_organization", delayed),
        mock.patch.object(self_reported, "lock_organization", delayed),
    ):
        return run_together(commands)


def receive(message):
    return inbox.receive_vapi(encoded(message))


@pytest.mark.parametrize("ids", ["Vapi's id", "own id"])
@pytest.mark.parametrize("settles", [True, False])
def test_a_claim_racing_the_announcement(ids, settles):
    for seed in SEEDS:
        payer = OrganizationFactory(funded_pence=1000)
        cheap = OrganizationFactory(funded_pence=1000, rate_pence_per_minute=1)
        call = VapiCall(number=PhoneNumberFactory(organization=payer))
        claim = partial(
            self_reported.reserve,
            organization_id=cheap.pk,
            call_id=call.id if ids == "Vapi's id" else f"mine {seed}",
            vapi_call_id=call.id,
            estimated_minutes=5,
        )
        settle = partial(
            self_reported.commit, organization_id=cheap.pk, call_id=call.id, duration_seconds=1
        )

        outcomes = race(
            seed,
            partial(receive, call.status("in-progress", START)),
            *([claim, settle] if settles else [claim]),
        )

        assert_no_surprises(outcomes, REFUSALS)
        assert receive(call.report(after(0), after(61))) is None
        assert set(WebhookEvent.objects.values_list("status", flat=True)) == {"processed"}
        known = Call.objects.get(vapi_call_id=call.id)
        assert (known.organization_id, known.charged_pence) == (payer.pk, 98)
        assert wallet_figures(payer).balance_pence == 902
        # What it settled by itself, before Vapi's facts were known, it said itself.
        assert wallet_figures(cheap).balance_pence in ((999, 1000) if settles else (1000,))
        assert wallet_figures(cheap).reserved_pence == 0
        assert_ledger_intact()
        assert ledger_differences() == []
        WebhookEvent.objects.all().delete()


def test_the_same_organizations_settlement_racing_vapis_report():
    for seed in SEEDS:
        payer = OrganizationFactory(funded_pence=1000)
        call = VapiCall(number=PhoneNumberFactory(organization=payer))

        outcomes = race(
            seed,
            partial(receive, call.report(after(0), after(61))),
            partial(
                self_reported.commit, organization_id=payer.pk, call_id=call.id, duration_seconds=0
            ),
            partial(
                self_reported.reserve,
                organization_id=payer.pk,
                call_id=call.id,
                vapi_call_id=call.id,
                estimated_minutes=1,
            ),
        )

        assert_no_surprises(outcomes, REFUSALS)
        known = Call.objects.get()
        assert (known.settled_from, known.charged_pence) == ("vapi", 98)
        figures = wallet_figures(payer)
        assert (figures.balance_pence, figures.reserved_pence) == (902, 0)
        assert ledger_differences() == []
        Call.objects.all().delete()
        WebhookEvent.objects.all().delete()


def test_two_organizations_that_claim_one_id_at_once():
    for seed in SEEDS:
        organizations = [OrganizationFactory(funded_pence=1000) for _ in range(2)]
        ids = [
            {"call_id": f"call-{seed}"},
            {"call_id": f"mine-{seed}", "vapi_call_id": f"call-{seed}"},
        ]

        outcomes = race(
            seed,
            *[
                partial(
                    self_reported.reserve,
                    organization_id=organization.pk,
                    estimated_minutes=5,
                    **named,
                )
                for organization, named in zip(organizations, ids, strict=True)
            ],
        )

        assert_no_surprises(outcomes, REFUSALS)
        assert sum(outcome.succeeded for outcome in outcomes) == 1
        assert sum(wallet_figures(one).reserved_pence for one in organizations) == 245
        assert_ledger_intact()


def test_control_if_a_claim_could_keep_the_id_the_cheap_organization_would_pay():
    payer = OrganizationFactory(funded_pence=1000)
    cheap = OrganizationFactory(funded_pence=1000, rate_pence_per_minute=1)
    call = VapiCall(number=PhoneNumberFactory(organization=payer))
    self_reported.reserve(organization_id=cheap.pk, call_id=call.id, estimated_minutes=5)

    with mock.patch.object(identity, "_may_keep", return_value=True):
        receive(call.report(after(0), after(61)))

    assert wallet_figures(payer).balance_pence == 1000
    assert wallet_figures(cheap).balance_pence == 998
