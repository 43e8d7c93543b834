"""The steps of an order after its purchase, to the number or the refund.

Each works on an order whose lease is ours, and writes its outcome down.
"""

from datetime import timedelta

import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from telephony import leases, twilio_client, vapi_client
from telephony.failures import (
    IMPORT_REFUSED,
    INTERRUPTED,
    NUMBER_IN_USE,
    UNAVAILABLE,
    Failure,
)
from telephony.models import Assistant, NumberOrder, PhoneNumber
from telephony.providers import OutcomeUnknown, Refused
from telephony.rentals import start_of_month
from wallets import ledger
from wallets.models import CreditTransaction

logger = structlog.get_logger(__name__)

Status = NumberOrder.Status

# A purchase that Twilio did not answer may still succeed; so long it may take to show.
SETTLING = timedelta(minutes=5)
# However long a provider is down, the customer's money is not gone for longer.
GIVE_UP_AFTER = timedelta(hours=1)
# When a refunded order is looked at once more, for a number that turned up even later.
LAST_LOOK_AFTER = timedelta(hours=1)
# Clocks differ: what Vapi says was made before the order by less than this may be the order's.
_CLOCKS_DIFFER = timedelta(hours=1)


def complete(order: NumberOrder) -> None:
    """Take an order from where it is to its end; a provider's failure on the way is raised."""
    # First, so that no failure, not even one of ours, keeps an order from its end.
    if order.status != Status.CANCELLING and order.is_open and _is_late(order):
        give_up(order, UNAVAILABLE)
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


def _ask_what_was_bought(order: NumberOrder) -> None:
    """For an order whose request is gone: adopt what it bought, or give it up."""
    if order.purchase_attempted_at is None:
        give_up(order, INTERRUPTED)
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
        give_up(order, INTERRUPTED)


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
                give_up(order, IMPORT_REFUSED, import_attempted_at=kept)
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
        give_up(order, NUMBER_IN_USE)


def give_up(order: NumberOrder, failure: Failure, **changes: object) -> None:
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
