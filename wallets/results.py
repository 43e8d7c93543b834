"""What the ledger's commands return. `duplicate` is true when the command had been done before
and nothing was changed: the figures are then those of the first time, unless said otherwise.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class AssetDeduction:
    transaction_id: UUID
    balance_before_pence: int
    balance_after_pence: int
    duplicate: bool


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """A hold, with the wallet's figures as they are now."""

    reservation_id: UUID
    reserved_pence: int
    balance_pence: int
    effective_balance_pence: int
    active_reservations_pence: int
    expires_at: datetime
    active: bool
    duplicate: bool


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """A settled call. `transaction_id` is None for a call that cost nothing.

    `actual_cost_pence` is the price of the call, of which `uncollected_pence` could not be paid
    and is owed. `duration_seconds` is what the call was settled at.
    """

    transaction_id: UUID | None
    reservation_id: UUID
    reserved_pence: int
    actual_cost_pence: int
    released_pence: int
    uncollected_pence: int
    balance_before_pence: int
    balance_after_pence: int
    duration_seconds: int
    duplicate: bool


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A settled call that was charged for another duration after all.

    `transaction_id` is the entry of the difference, None if there was none to make.
    `charged_pence` and `uncollected_pence` are what both entries took and left owed in all.
    Of what a shorter call costs less, `unclear_pence` had been left owed and is owed no more. It
    was not given back: it is to be if it was recovered, and not if it was written off.
    """

    transaction_id: UUID | None
    settled_seconds: int
    corrected_seconds: int
    charged_pence: int
    uncollected_pence: int
    unclear_pence: int
    duplicate: bool


@dataclass(frozen=True, kw_only=True)
class Displacement:
    """A reservation without the call id that it had to give up, named `call_id` now.

    `settled_seconds` is None if it had not been settled. All other figures are pence.
    """

    reservation_id: UUID
    call_id: str
    released_pence: int
    settled_seconds: int | None


@dataclass(frozen=True, kw_only=True)
class Release:
    reservation_id: UUID
    released_pence: int
    duplicate: bool


@dataclass(frozen=True, kw_only=True)
class Posting:
    """A ledger entry made by a credit, an adjustment, a claw-back, a recovery or a write-off.

    `owed_change_pence` is signed: above 0 when more became owed.
    """

    transaction_id: UUID
    amount_pence: int
    balance_before_pence: int
    balance_after_pence: int
    owed_change_pence: int
    duplicate: bool
