"""What can be paid with: Stripe's numbers for testing, and what each of them does.

4242 4242 4242 4242     pays
4000 0000 0000 0002     is declined
4000 0000 0000 9995     is declined for want of funds
4000 0025 0000 3155     wants its holder to authenticate, but not again when it was kept
4000 0027 6000 3184     wants that each time, and so cannot be charged while nobody is there
4000 0000 0000 0341     pays while its holder is there, and is declined when nobody is; at the real
                        Stripe it can be kept, but never pays
account 00012345        bank debit: pays after some seconds
account 22222227        bank debit: fails after some seconds
"""

import re
from dataclasses import dataclass

from voxbilling.stack.sandbox.stripe.objects import Object, Objects

CARD, BANK_DEBIT = "card", "bacs_debit"
_DECLINED = "Your card was declined."


@dataclass(frozen=True)
class Decline:
    """Why a payment was refused, in Stripe's codes, and what its holder is told."""

    code: str
    decline_code: str | None
    message: str


AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
AUTHENTICATION_FAILED = Decline(
    "payment_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method "
    "and try again.",
)
BANK_REFUSED = Decline(
    "debit_not_authorized", None, "The customer's bank did not let the debit through."
)
_GENERIC = Decline("card_declined", "generic_decline", _DECLINED)


@dataclass(frozen=True)
class Behaviour:
    """What a number does when it is charged. `authenticates` is never, unless kept, or always."""

    kind: str = CARD
    brand: str = "visa"
    decline: Decline | None = None
    off_session_decline: Decline | None = None
    authenticates: str = "never"
    fails_later: bool = False

    def needs_authentication(self, *, was_kept: bool) -> bool:
        return self.authenticates == "always" or (
            self.authenticates == "unless kept" and not was_kept
        )


_BEHAVIOURS = {
    "4242424242424242": Behaviour(),
    "5555555555554444": Behaviour(brand="mastercard"),
    "4000000000000002": Behaviour(decline=_GENERIC),
    "4000000000009995": Behaviour(
        decline=Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
    ),
    "4000002500003155": Behaviour(authenticates="unless kept"),
    "4000002760003184": Behaviour(authenticates="always"),
    "4000000000000341": Behaviour(off_session_decline=_GENERIC),
    "00012345": Behaviour(kind=BANK_DEBIT),
    "22222227": Behaviour(kind=BANK_DEBIT, fails_later=True),
}


def behaviour_of(method: Object) -> Behaviour:
    return _BEHAVIOURS[method["_number"]]


def make(objects: Objects, number: str, kind: str) -> Object | None:
    """What is paid with, new and nobody's yet; None if there is no such number of that kind."""
    digits = re.sub(r"[\s-]", "", number)
    behaviour = _BEHAVIOURS.get(digits)
    if behaviour is None or behaviour.kind != kind:
        return None
    return objects.add(
        "payment_method",
        {
            "type": kind,
            kind: _details(digits, behaviour),
            "allow_redisplay": "unspecified",
            "billing_details": {"address": None, "email": None, "name": None, "phone": None},
            "customer": None,
            "metadata": {},
            "_number": digits,
            "_was_used": False,
        },
    )


def details_of(method: Object) -> Object:
    """The method as a charge shows it."""
    return {"type": method["type"], method["type"]: dict(method[method["type"]])}


def _details(digits: str, behaviour: Behaviour) -> Object:
    if behaviour.kind == BANK_DEBIT:
        return {"fingerprint": digits, "last4": digits[-4:], "sort_code": "108800"}
    return {
        "brand": behaviour.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "pass",
        },
        "country": "GB",
        "display_brand": behaviour.brand,
        "exp_month": 12,
        "exp_year": 2040,
        "fingerprint": digits,
        "funding": "credit",
        "last4": digits[-4:],
        "networks": {"available": [behaviour.brand], "preferred": None},
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
