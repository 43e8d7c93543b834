"""What the ledger's arguments may be. Anything else raises ValueError before a lock is taken."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.utils import timezone

from voxbilling.storable_text import is_storable
from wallets.models import CreditReservation

# Ten billion pounds: what is larger is a mistake, and sums of such amounts still fit a bigint.
MAX_AMOUNT_PENCE = 10**12
# Vapi ends every call after 12 hours; a week leaves room for a clock that is wrong.
MAX_DURATION_SECONDS = 7 * 24 * 3600
MAX_ESTIMATED_MINUTES = 12 * 60
MAX_KEY_LENGTH = 150
MAX_CALL_ID_LENGTH = 200
MAX_DESCRIPTION_LENGTH = 500
# The largest key that auth_user can have.
MAX_USER_ID = 2**31 - 1


def stored_key(operation: str, key: str) -> str:
    """The key as it is kept: the operation's name stands in front."""
    _check_text(key, "An idempotency key", MAX_KEY_LENGTH)
    return f"{operation}:{key}"


def check_call_id(call_id: str) -> None:
    _check_text(call_id, "A call id", MAX_CALL_ID_LENGTH)


def check_new_call_id(call_id: str) -> None:
    # A reservation that gives up its id is called so; nobody may take that name before.
    if call_id.startswith(CreditReservation.DISPLACED_PREFIX):
        raise ValueError(f"A call id does not begin with {CreditReservation.DISPLACED_PREFIX!r}.")


def check_description(description: str) -> None:
    _check_text(description, "A description or reason", MAX_DESCRIPTION_LENGTH)


def check_amount(amount_pence: int) -> None:
    check_range(amount_pence, "The amount in pence", 1, MAX_AMOUNT_PENCE)


def check_range(value: int, name: str, lowest: int, highest: int) -> None:
    # bool is an int to Python, and no amount.
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{name} must be a whole number from {lowest} to {highest}.")


def check_choice(value: str, name: str, choices: Collection[str]) -> None:
    # Not everything that may be asked about can be looked up in a set.
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(sorted(choices))}.")


def check_created_by(user_id: int | None) -> None:
    if user_id is not None:
        check_range(user_id, "created_by_id", 1, MAX_USER_ID)


def check_live_until(moment: datetime | None) -> None:
    if moment is None:
        return
    # A hold that no call can live as long as would lock its money up.
    latest = timezone.now() + timedelta(seconds=MAX_DURATION_SECONDS)
    if not isinstance(moment, datetime) or timezone.is_naive(moment) or moment > latest:
        raise ValueError("live_until must be a time with a time zone, at most a week from now.")


def _check_text(text: str, name: str, longest: int) -> None:
    if not isinstance(text, str) or not 0 < len(text) <= longest or not is_storable(text):
        raise ValueError(f"{name} has 1 to {longest} printable characters.")
