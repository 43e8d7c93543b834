"""Buying a phone number, all or nothing: charge → buy → import → activate, or refund.

The charge and the order are one transaction. Every step after it asks a provider, outside of any
transaction, and is then written down. Before a purchase is sent, that is written down, too: so
whoever takes an order over after a crash knows whether Twilio has to be asked first.

Only the customer's own request buys. The sweep completes what was bought, and gives up what was
not: a number that nobody waits for any more is not bought minutes later. What could not be
completed within the hour is given up, too.

An order that is given up is refunded at once. It stays due until nothing of it is left at the
providers, which may take them longer than the customer should wait for the money.
"""

from dataclasses import dataclass
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from telephony import leases, order_steps, purchasing
from telephony.models import NumberOrder
from telephony.numbering import beginning_of_numbers
from wallets import ledger
from wallets.locks import lock_organization
from wallets.models import CreditTransaction


@dataclass(frozen=True, kw_only=True)
class Provisioned:
    """A number that was bought. `transaction_id` and the balance are those of its charge."""

    phone_number_id: UUID
    number: str
    vapi_phone_number_id: str
    transaction_id: UUID
    balance_after_pence: int
    duplicate: bool


class ProvisioningInProgress(Exception):
    """The order is at work, or its outcome not known yet; ask again with the same key."""

    def __init__(self, idempotency_key: str) -> None:
        super().__init__(
            "This number is being bought. Ask again with the same Idempotency-Key: you get the "
            "number, or your money back."
        )
        self.idempotency_key = idempotency_key


class ProvisioningFailed(Exception):
    """No number was bought, and the price was refunded; the text says what to do."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def provision(
    *,
    organization_id: UUID | str,
    country: str,
    number_type: str,
    area_code: str = "",
    idempotency_key: str | None = None,
) -> Provisioned:
    """Charge the wallet and buy a number, or do neither.

    The same key again returns the first number, marked `duplicate`, or raises what the first
    raised. A refusal of the ledger leaves nothing, and does not use up the key.

    Raises ProvisioningInProgress, ProvisioningFailed, AreaCodeNotSupported, and what
    `check_balance_and_deduct_asset_cost` raises. Never called in a transaction.
    """
    if area_code:
        beginning_of_numbers(country, area_code)
    order, duplicate = _open_order(
        organization_id, country, number_type, area_code, idempotency_key
    )
    if not duplicate:
        leases.do(order, _buy_and_complete)
        order = NumberOrder.objects.select_related("charge", "phone_number").get(pk=order.pk)
    return _result(order, duplicate=duplicate)


def resume_orders() -> int:
    """Bring the orders on that nobody works on; returns how many were looked at."""
    return leases.sweep(NumberOrder.objects.all(), order_steps.complete)


# Durable: the charge is there for the sweep before any provider hears of the order.
@transaction.atomic(durable=True)
def _open_order(
    organization_id: UUID | str,
    country: str,
    number_type: str,
    area_code: str,
    idempotency_key: str | None,
) -> tuple[NumberOrder, bool]:
    """The order of this key, and whether it was there before; a new one is charged and ours."""
    organization = lock_organization(organization_id)
    pk = uuid4()
    key = str(pk) if idempotency_key is None else idempotency_key
    first = (
        NumberOrder.objects.select_related("charge", "phone_number")
        .filter(organization=organization, idempotency_key=key)
        .first()
    )
    if first is not None:
        if (first.country, first.number_type, first.area_code) != (country, number_type, area_code):
            raise ledger.IdempotencyConflict(
                "This idempotency key was used before with other details; use a new key."
            )
        return first, True
    price_pence = settings.PHONE_NUMBER_COST_PENCE
    charge = ledger.check_balance_and_deduct_asset_cost(
        organization_id=organization.pk,
        cost_pence=price_pence,
        asset_type=CreditTransaction.Type.PHONE_PROVISIONING,
        description=f"Phone number: {country} {number_type} {area_code}".strip(),
        idempotency_key=f"number-order:{pk}",
    )
    return NumberOrder.objects.create(
        pk=pk,
        organization=organization,
        idempotency_key=key,
        country=country,
        number_type=number_type,
        area_code=area_code,
        price_pence=price_pence,
        charge_id=charge.transaction_id,
        created_at=timezone.now(),
        work_due_at=leases.lease_end(),
    ), False


def _result(order: NumberOrder, *, duplicate: bool) -> Provisioned:
    if order.is_open:
        raise ProvisioningInProgress(order.idempotency_key)
    if order.phone_number is None:
        raise ProvisioningFailed(order.failure_code, order.failure)
    return Provisioned(
        phone_number_id=order.phone_number.pk,
        number=order.phone_number.number,
        vapi_phone_number_id=order.vapi_phone_number_id or "",
        transaction_id=order.charge.pk,
        balance_after_pence=order.charge.balance_after_pence,
        duplicate=duplicate,
    )


def _buy_and_complete(order: NumberOrder) -> None:
    purchasing.buy(order)
    order_steps.complete(order)
