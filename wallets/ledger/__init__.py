"""The only writer of balances, holds and entries.

Every command works in the same steps: lock the organization's row, look for a replay, decide
everything from the locked row, write. A command that is refused raises before it has written
anything, and a replay returns the first result with `duplicate` set.

All arguments are keywords. Amounts are pence and durations are seconds, both whole numbers; other
types and values out of range raise ValueError. Keys are stored with the operation's name in front,
so that a client's key can never be one that the system uses itself.
"""

from wallets.errors import (
    CallNotSettled,
    DebtLimitInUse,
    IdempotencyConflict,
    InsufficientBalance,
    LedgerError,
    MoreThanOwed,
    OrganizationNotFound,
    OrganizationSuspended,
    ReservationNotFound,
)
from wallets.ledger.arguments import MAX_AMOUNT_PENCE, MAX_DESCRIPTION_LENGTH
from wallets.ledger.assets import check_balance_and_deduct_asset_cost
from wallets.ledger.corrections import correct_settlement
from wallets.ledger.credits import add_credits, adjust_balance, claw_back, return_payment
from wallets.ledger.displacement import give_up_call_id
from wallets.ledger.expiry import cleanup_expired_reservations
from wallets.ledger.holds import extend_reservation, release_reservation, reserve_call_credits
from wallets.ledger.live_holds import Extension, extend_reservations
from wallets.ledger.owed import recover_owed, write_off_owed
from wallets.ledger.settlement import commit_reserved_credits
from wallets.ledger.standing import resume_organization, set_debt_limit, suspend_organization

__all__ = [
    "MAX_AMOUNT_PENCE",
    "MAX_DESCRIPTION_LENGTH",
    "CallNotSettled",
    "DebtLimitInUse",
    "Extension",
    "IdempotencyConflict",
    "InsufficientBalance",
    "LedgerError",
    "MoreThanOwed",
    "OrganizationNotFound",
    "OrganizationSuspended",
    "ReservationNotFound",
    "add_credits",
    "adjust_balance",
    "check_balance_and_deduct_asset_cost",
    "claw_back",
    "cleanup_expired_reservations",
    "commit_reserved_credits",
    "correct_settlement",
    "extend_reservation",
    "extend_reservations",
    "give_up_call_id",
    "recover_owed",
    "release_reservation",
    "reserve_call_credits",
    "resume_organization",
    "return_payment",
    "set_debt_limit",
    "suspend_organization",
    "write_off_owed",
]
