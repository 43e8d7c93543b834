"""Buying one of the numbers that Twilio offers for an order, whose lease is ours."""

import secrets

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from telephony import leases, twilio_client
from telephony.failures import (
    UNAVAILABLE,
    address_required,
    failure_of_purchase,
    failure_of_search,
    none_available,
)
from telephony.models import HOLDS_ITS_NUMBER, NumberOrder, PhoneNumber
from telephony.order_steps import give_up
from telephony.providers import NotProcessed, OutcomeUnknown, Refused

Status = NumberOrder.Status

# Numbers that others take at the same moment are no reason to give up.
MOST_CANDIDATES = 5
_CANDIDATES_ASKED_FOR = 20


def buyable(
    order: NumberOrder, offered: list[twilio_client.AvailableNumber]
) -> list[twilio_client.AvailableNumber]:
    """Those that Twilio would sell us for this order, which may be one that is not made yet.

    Some need an address, which the operator has registered for the kind, or not.
    """
    has_address = order.kind in settings.TWILIO_ADDRESS_SIDS
    return [each for each in offered if has_address or not each.needs_address]


def buy(order: NumberOrder) -> None:
    """Buy one of the numbers that Twilio offers. Raises OutcomeUnknown, once one was asked for."""
    try:
        offered = twilio_client.search_numbers(
            country=order.country,
            number_type=order.number_type,
            area_code=order.area_code,
            limit=_CANDIDATES_ASKED_FOR,
        )
    except (Refused, NotProcessed, OutcomeUnknown) as error:
        give_up(order, failure_of_search(error))
        return
    if not offered:
        give_up(order, none_available(order))
        return
    candidates = buyable(order, offered)
    if not candidates:
        give_up(order, address_required(order))
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
            give_up(order, failure_of_purchase(order, refusal), purchase_attempted_at=None)
            return
        except NotProcessed:
            give_up(order, UNAVAILABLE, purchase_attempted_at=None)
            return
        leases.record(order, status=Status.BOUGHT, twilio_sid=bought.sid, number=bought.number)
        return
    # What others hold may be free again soon, so it would not be true that there is none.
    failure = UNAVAILABLE if others_hold_some else none_available(order)
    give_up(order, failure, purchase_attempted_at=None)


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
