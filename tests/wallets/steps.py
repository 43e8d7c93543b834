"""The ledger's commands with what most tests do not care about filled in."""

import itertools
from datetime import timedelta

import time_machine
from django.utils import timezone

from wallets import ledger
from wallets.models import CreditReservation

_numbers = itertools.count(1)


def fresh_key() -> str:
    return f"key-{next(_numbers)}"


def top_up(organization, pence, **changes):
    return ledger.add_credits(
        **{
            "organization_id": organization.pk,
            "amount_pence": pence,
            "credit_type": "topup",
            "description": "Top-up",
            "idempotency_key": fresh_key(),
        }
        | changes
    )


def give_back(organization, pence, **changes):
    return ledger.return_payment(
        **{
            "organization_id": organization.pk,
            "amount_pence": pence,
            "reason": "It came back",
            "idempotency_key": fresh_key(),
        }
        | changes
    )


def buy(organization, pence, **changes):
    return ledger.check_balance_and_deduct_asset_cost(
        **{
            "organization_id": organization.pk,
            "cost_pence": pence,
            "asset_type": "phone_provisioning",
            "description": "A number",
            "idempotency_key": fresh_key(),
        }
        | changes
    )


def reserve(organization, call_id="call-1", minutes=5, **changes):
    return ledger.reserve_call_credits(
        **{
            "organization_id": organization.pk,
            "call_id": call_id,
            "estimated_minutes": minutes,
        }
        | changes
    )


def extend(call_id, seconds, **changes):
    return ledger.extend_reservation(call_id=call_id, cover_seconds=seconds, **changes)


def commit(call_id, seconds, **changes):
    return ledger.commit_reserved_credits(call_id=call_id, duration_seconds=seconds, **changes)


def correct(organization, call_id, seconds):
    return ledger.correct_settlement(
        organization_id=organization.pk, call_id=call_id, duration_seconds=seconds
    )


def give_up(organization, call_id):
    return ledger.give_up_call_id(organization_id=organization.pk, call_id=call_id)


def release(call_id):
    return ledger.release_reservation(call_id=call_id)


def adjust(organization, pence, **changes):
    return ledger.adjust_balance(
        **{
            "organization_id": organization.pk,
            "change_pence": pence,
            "reason": "A correction",
            "idempotency_key": fresh_key(),
        }
        | changes
    )


def claw_back(organization, pence, **changes):
    return ledger.claw_back(
        **{
            "organization_id": organization.pk,
            "amount_pence": pence,
            "description": "A disputed payment",
            "idempotency_key": fresh_key(),
        }
        | changes
    )


def recover(organization, pence, **changes):
    return ledger.recover_owed(
        **{
            "organization_id": organization.pk,
            "amount_pence": pence,
            "description": "Recovered",
            "idempotency_key": fresh_key(),
        }
        | changes
    )


def write_off(organization, pence, **changes):
    return ledger.write_off_owed(
        **{
            "organization_id": organization.pk,
            "amount_pence": pence,
            "reason": "Given up",
            "idempotency_key": fresh_key(),
        }
        | changes
    )


def set_debt_limit(organization, pence):
    ledger.set_debt_limit(organization_id=organization.pk, debt_limit_pence=pence)


def suspend(organization):
    ledger.suspend_organization(organization_id=organization.pk)


def resume(organization):
    ledger.resume_organization(organization_id=organization.pk)


def expire_all_holds() -> int:
    """Sweep, as if half an hour and a minute had passed."""
    with time_machine.travel(timezone.now() + timedelta(minutes=31), tick=False):
        return ledger.cleanup_expired_reservations()


def make_overdue(call_id: str) -> None:
    """As if the hold's half hour were over, for tests on threads, where the clock must run."""
    CreditReservation.objects.filter(call_id=call_id).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
