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
