"""Why a number could not be bought: a code for programs, and a sentence that says what to do."""

from dataclasses import dataclass

from telephony import twilio_client
from telephony.models import NumberOrder
from telephony.providers import ProviderError, Refused

# Every failure comes after the charge.
_REFUNDED = "The price was refunded: it is back in your wallet."


@dataclass(frozen=True)
class Failure:
    code: str
    reason: str

    @property
    def sentence(self) -> str:
        return f"{self.reason} {_REFUNDED}"


UNAVAILABLE = Failure(
    "telephony_unavailable", "Phone numbers cannot be bought at the moment: try again later."
)
INTERRUPTED = Failure(
    "purchase_interrupted", "The purchase was interrupted, and no number was bought."
)
OUR_FAULT = Failure(
    "telephony_refused",
    "The phone company refused our request, and not yours: ask us, or try again later.",
)
IMPORT_REFUSED = Failure(
    "import_refused", "The number could not be connected, and is given back: try again later."
)
NUMBER_IN_USE = Failure(
    "number_in_use", "The number turned out to be in use, and is given back: try again."
)


def none_available(order: NumberOrder) -> Failure:
    kind = f"{order.number_type.replace('_', '-')} numbers in {order.country}"
    if order.area_code:
        return Failure(
            "no_numbers_available",
            f"There are no {kind} with area code {order.area_code} for sale now: choose another "
            "area code or type, or try again later.",
        )
    return Failure(
        "no_numbers_available",
        f"There are no {kind} for sale now: choose another type or country, or try again later.",
    )


def address_required(order: NumberOrder) -> Failure:
    return Failure(
        "address_required",
        f"A {order.number_type.replace('_', '-')} number in {order.country} needs an address that "
        "is registered with the phone company: send us yours, and we tell you when it is.",
    )


def failure_of_search(error: ProviderError) -> Failure:
    return OUR_FAULT if isinstance(error, Refused) else UNAVAILABLE


def failure_of_purchase(order: NumberOrder, refusal: Refused) -> Failure:
    if refusal.code == twilio_client.NONE_IN_AREA:
        return none_available(order)
    if refusal.code in twilio_client.ADDRESS_REQUIRED:
        return address_required(order)
    if refusal.code == twilio_client.BUNDLE_REQUIRED:
        return Failure(
            "bundle_required",
            f"A {order.number_type.replace('_', '-')} number in {order.country} needs documents "
            "that the regulator has approved: send us yours, and we tell you when they are.",
        )
    return OUR_FAULT
