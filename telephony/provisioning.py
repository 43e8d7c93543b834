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

import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from telephony import leases, twilio_client, vapi_client
from telephony.failures import (
    IMPORT_REFUSED,
    INTERRUPTED,
    NUMBER_IN_USE,
    UNAVAILABLE,
    Failure,
    address_required,
    failure_of_purchase,
    failure_of_search,
    none_available,
)
from telephony.models import HOLDS_ITS_NUMBER, Assistant, NumberOrder, PhoneNumber
from telephony.numbering import beginning_of_numbers
from telephony.providers import NotProcessed, OutcomeUnknown, Refused
from telephony.rentals import start_of_month
from wallets import ledger
from wallets.locks import lock_organization
from wallets.models import CreditTransaction

logger = structlog.get_logger(__name__)

Status = NumberOrder.Status

# A purchase that Twilio did not answer may still succeed; so long it may take to show.
SETTLING = timedelta(minutes=5)
# However long a provider is down, the customer's money is not gone for longer.
GIVE_UP_AFTER = timedelta(hours=1)
# When a refunded order is looked at once more, for a number that turned up even later.
LAST_LOOK_AFTER = timedelta(hours=1)
# Numbers that others take at the same moment are no reason to give up.
MOST_CANDIDATES = 5
_CANDIDATES_ASKED_FOR = 20
# Clocks differ: what Vapi says was made before the order by less than this may be the order's.
_CLOCKS_DIFFER = timedelta(hours=1)


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


def buyable(
    order: NumberOrder, offered: list[twilio_client.AvailableNumber]
) -> list[twilio_client.AvailableNumber]:
    """Those that Twilio would sell us for this order, which may be one that is not made yet.

    Some need an address, which the operator has registered for the kind, or not.
    """
    has_address = order.kind in settings.TWILIO_ADDRESS_SIDS
    return [each for each in offered if has_address or not each.needs_address]


def resume_orders() -> int:
    """Bring the orders on that nobody works on; returns how many were looked at."""
    return leases.sweep(NumberOrder.objects.all(), _complete)


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


# --- Steps. Each works on an order whose lease is ours, and writes its outcome down. ---


def _buy_and_complete(order: NumberOrder) -> None:
    _buy(order)
    _complete(order)


def _complete(order: NumberOrder) -> None:
    """Take an order from where it is to its end; a provider's failure on the way is raised."""
    # First, so that no failure, not even one of ours, keeps an order from its end.
    if order.status != Status.CANCELLING and order.is_open and _is_late(order):
        _give_up(order, UNAVAILABLE)
    if order.status == Status.CHARGED:
        _ask_what_was_bought(order)
    if order.status == Status.BOUGHT:
        _import(order)
    if order.status == Status.IMPORTED:
        _activate(order)
    if order.status == Status.CANCELLING:
        _refund(order)
    if order.status == Status.REFUNDED:
        _release_what_there_is(order)
        _rest(order)


def _is_late(order: NumberOrder) -> bool:
    return timezone.now() >= order.created_at + GIVE_UP_AFTER


def _buy(order: NumberOrder) -> None:
    """Buy one of the numbers that Twilio offers. Raises OutcomeUnknown, once one was asked for."""
    try:
        offered = twilio_client.search_numbers(
            country=order.country,
            number_type=order.number_type,
            area_code=order.area_code,
            limit=_CANDIDATES_ASKED_FOR,
        )
    except (Refused, NotProcessed, OutcomeUnknown) as error:
        _give_up(order, failure_of_search(error))
        return
    if not offered:
        _give_up(order, none_available(order))
        return
    candidates = buyable(order, offered)
    if not candidates:
        _give_up(order, address_required(order))
        return
    numbers = [each.number for each in candidates]
    free, others_hold_some = _not_taken_here(numbers)
    # Not all customers who ask at this moment try the same number first.
    secrets.SystemRandom().shuffle(free)
    asked_for = 0
    for number in free:
        if asked_for == MOST_CANDIDATES:
            break
        if not _claim(order, number):
            others_hold_some = True
            continue
        asked_for += 1
        try:
            bought = twilio_client.buy_number(
                number=number, key=order.provider_key, kind=order.kind
            )
        except Refused as refusal:
            if refusal.code in twilio_client.ANOTHER_NUMBER_WOULD_DO:
                continue
            # An answer that it was not done: nothing is in doubt.
            _give_up(order, failure_of_purchase(order, refusal), purchase_attempted_at=None)
            return
        except NotProcessed:
            _give_up(order, UNAVAILABLE, purchase_attempted_at=None)
            return
        leases.record(order, status=Status.BOUGHT, twilio_sid=bought.sid, number=bought.number)
        return
    # What others hold may be free again soon, so it would not be true that there is none.
    failure = UNAVAILABLE if others_hold_some else none_available(order)
    _give_up(order, failure, purchase_attempted_at=None)


def _not_taken_here(numbers: list[str]) -> tuple[list[str], bool]:
    """Those that are nobody's here, and whether other orders hold any of the rest."""
    held = set(
        NumberOrder.objects.filter(HOLDS_ITS_NUMBER, number__in=numbers).values_list(
            "number", flat=True
        )
    )
    owned = set(
        PhoneNumber.objects.filter(number__in=numbers, released_at=None).values_list(
            "number", flat=True
        )
    )
    return [each for each in numbers if each not in held | owned], bool(held)


def _claim(order: NumberOrder, number: str) -> bool:
    """Write down that this number is about to be bought; False if it is somebody's here.

    Twilio may sell us a number that we have, and only give it the new name: so two orders never
    ask for one number. An order that may have something at Twilio either holds the number or has
    become one, so one look at each, in this order, finds it.
    """
    try:
        with transaction.atomic():
            leases.record(order, number=number, purchase_attempted_at=timezone.now())
    except IntegrityError:
        return False
    return not PhoneNumber.objects.filter(number=number, released_at=None).exists()


def _ask_what_was_bought(order: NumberOrder) -> None:
    """For an order whose request is gone: adopt what it bought, or give it up."""
    if order.purchase_attempted_at is None:
        _give_up(order, INTERRUPTED)
        return
    found = _found_at_twilio(order)
    if found:
        # There should never be a second.
        kept = next((each for each in found if each.number == order.number), found[0])
        for each in found:
            if each != kept:
                twilio_client.release_number(each.sid)
        leases.record(order, status=Status.BOUGHT, twilio_sid=kept.sid, number=kept.number)
    elif timezone.now() < order.purchase_attempted_at + SETTLING:
        raise OutcomeUnknown("Twilio does not have the number yet, and may still get it.")
    else:
        _give_up(order, INTERRUPTED)


def _import(order: NumberOrder) -> None:
    asked_before = order.import_attempted_at is not None
    vapi_id = _find_at_vapi(order) if asked_before else None
    if vapi_id is None:
        leases.record(order, import_attempted_at=timezone.now())
        try:
            vapi_id = vapi_client.import_number(number=order.number, key=order.provider_key)
        except Refused:
            # Refused because it is there: what was asked before came through meanwhile.
            vapi_id = _find_at_vapi(order) if asked_before else None
            if vapi_id is None:
                logger.exception("number_import_refused", order_id=str(order.pk))
                kept = order.import_attempted_at if asked_before else None
                _give_up(order, IMPORT_REFUSED, import_attempted_at=kept)
                return
    leases.record(order, status=Status.IMPORTED, vapi_phone_number_id=vapi_id)


def _activate(order: NumberOrder) -> None:
    """Give the number to the organization, answered by its assistant if it has only one."""
    assistants = list(Assistant.objects.filter(organization_id=order.organization_id)[:2])
    paid_until = start_of_month(order.created_at, 1)
    try:
        with transaction.atomic():
            number = PhoneNumber.objects.create(
                organization_id=order.organization_id,
                number=order.number,
                vapi_phone_number_id=order.vapi_phone_number_id,
                twilio_sid=order.twilio_sid,
                assistant=assistants[0] if len(assistants) == 1 else None,
                monthly_price_pence=order.price_pence,
                purchased_at=order.created_at,
                months_paid=1,
                paid_until=paid_until,
                rent_attempt_at=paid_until,
            )
            leases.record(
                order,
                status=Status.ACTIVE,
                phone_number=number,
                finished_at=timezone.now(),
                work_due_at=None,
                attention="",
            )
    except IntegrityError:
        logger.exception("number_in_use_already", order_id=str(order.pk), number=order.number)
        _give_up(order, NUMBER_IN_USE)


def _give_up(order: NumberOrder, failure: Failure, **changes: object) -> None:
    leases.record(
        order,
        status=Status.CANCELLING,
        failure_code=failure.code,
        failure=failure.sentence,
        **changes,
    )


def _release_what_there_is(order: NumberOrder) -> None:
    """Leave nothing of a failed order at Vapi or Twilio, whether it was heard of or not."""
    if order.vapi_phone_number_id is not None:
        vapi_client.release_number(order.vapi_phone_number_id)
    if order.import_attempted_at is not None:
        for vapi_id in _list_at_vapi(order):
            vapi_client.release_number(vapi_id)
    if order.twilio_sid is not None and not _sids_of_others(order, [order.twilio_sid]):
        twilio_client.release_number(order.twilio_sid)
    if order.purchase_attempted_at is not None:
        for each in _found_at_twilio(order):
            twilio_client.release_number(each.sid)


@transaction.atomic
def _refund(order: NumberOrder) -> None:
    """Give the price back, once: with the mark that it was given back."""
    refund = ledger.add_credits(
        organization_id=order.organization_id,
        amount_pence=order.price_pence,
        credit_type=CreditTransaction.Type.REFUND,
        description=f"Phone number not bought: {order.country} {order.number_type}",
        idempotency_key=f"number-order:{order.pk}",
    )
    leases.record(
        order,
        status=Status.REFUNDED,
        refund_id=refund.transaction_id,
        finished_at=timezone.now(),
        work_attempts=0,
        attention="",
    )


def _rest(order: NumberOrder) -> None:
    """Nothing of a refunded order is left: wait for the last look, or be done."""
    last_look_at = None
    if order.finished_at is not None and order.purchase_attempted_at is not None:
        last_look_at = order.finished_at + LAST_LOOK_AFTER
        if timezone.now() >= last_look_at:
            last_look_at = None
    leases.record(order, work_due_at=last_look_at, work_attempts=0, attention="")


def _found_at_twilio(order: NumberOrder) -> list[twilio_client.OwnedNumber]:
    """What Twilio has under the order's key, but for what became somebody's number."""
    found = twilio_client.find_numbers_by_key(order.provider_key)
    others = _sids_of_others(order, [each.sid for each in found])
    return [each for each in found if each.sid not in others]


def _sids_of_others(order: NumberOrder, sids: list[str]) -> set[str | None]:
    """Those of Twilio's ids that are somebody's number, or another order's."""
    numbers = PhoneNumber.objects.filter(twilio_sid__in=sids)
    orders = NumberOrder.objects.exclude(pk=order.pk).filter(twilio_sid__in=sids)
    return {
        *numbers.values_list("twilio_sid", flat=True),
        *orders.values_list("twilio_sid", flat=True),
    }


def _list_at_vapi(order: NumberOrder) -> list[str]:
    return vapi_client.find_numbers_by_key(
        order.provider_key, since=order.created_at - _CLOCKS_DIFFER
    )


def _find_at_vapi(order: NumberOrder) -> str | None:
    return next(iter(_list_at_vapi(order)), None)
