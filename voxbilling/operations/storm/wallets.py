"""The organizations of a storm."""

import uuid
from dataclasses import dataclass

from telephony.models import Assistant, PhoneNumber
from voxbilling.operations.storm.plan import RATE_PENCE_PER_MINUTE
from wallets import ledger
from wallets.models import Organization


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where calls to an organization arrive."""

    assistant_id: str
    phone_number_id: str
    phone_number: str


def open_accounts(balances_pence: list[int]) -> list[Account]:
    """An organization, billed by the second, for each opening balance."""
    return [_open(number, pence) for number, pence in enumerate(balances_pence)]


def _open(number: int, balance_pence: int) -> Account:
    organization = Organization.objects.create(
        name=f"Storm {number:05}",
        rate_pence_per_minute=RATE_PENCE_PER_MINUTE,
        billing_increment_seconds=1,
    )
    assistant = Assistant.objects.create(
        organization=organization,
        name=f"{organization.name}'s assistant",
        vapi_assistant_id=str(uuid.uuid4()),
    )
    phone_number = PhoneNumber.objects.create(
        organization=organization,
        assistant=assistant,
        # No country has this code, so nobody is there.
        number=f"+999{number:07}",
        vapi_phone_number_id=str(uuid.uuid4()),
    )
    if balance_pence:
        ledger.add_credits(
            organization_id=organization.pk,
            amount_pence=balance_pence,
            credit_type="bonus",
            description="For the storm",
            idempotency_key="opening",
        )
    return Account(
        assistant_id=assistant.vapi_assistant_id,
        phone_number_id=phone_number.vapi_phone_number_id or "",
        phone_number=phone_number.number,
    )
