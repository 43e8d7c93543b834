"""What the ledger refuses, each with a sentence for the person who asked."""

from typing import Any


class LedgerError(Exception):
    """A command that the ledger refused; nothing was changed."""


class OrganizationNotFound(LedgerError):
    """No organization has this id."""

    def __init__(self, organization_id: Any) -> None:
        super().__init__(f"There is no organization {organization_id}.")


class ReservationNotFound(LedgerError):
    """No reservation exists for this call, and no organization was named to charge directly."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"There is no reservation for call {call_id}.")


class CallNotSettled(LedgerError):
    """Only a call that was settled can be corrected."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"Call {call_id} is not settled yet: settle it instead.")


class OrganizationSuspended(LedgerError):
    """A suspended organization gets no new hold, no extension and no asset."""

    def __init__(self, organization_id: Any) -> None:
        super().__init__(
            f"Organization {organization_id} is suspended: it can start no calls and buy nothing "
            "until staff resume it."
        )


class IdempotencyConflict(LedgerError):
    """The key was used for something else, or the call id is not this organization's to use."""


class InsufficientBalance(LedgerError):
    """The wallet cannot pay; all figures are in pence."""

    def __init__(
        self,
        *,
        balance_pence: int,
        reserved_pence: int,
        required_pence: int,
        available_pence: int,
    ) -> None:
        self.balance_pence = balance_pence
        self.reserved_pence = reserved_pence
        self.effective_balance_pence = balance_pence - reserved_pence
        self.required_pence = required_pence
        self.shortfall_pence = required_pence - available_pence
        super().__init__(
            f"Insufficient balance: {required_pence}p needed, {available_pence}p available "
            f"(balance {balance_pence}p, of which {reserved_pence}p is held for calls)."
        )


class DebtLimitInUse(LedgerError):
    """The new debt limit is below the debt that exists; both in pence."""

    def __init__(self, *, debt_limit_pence: int, in_use_pence: int) -> None:
        self.debt_limit_pence = debt_limit_pence
        self.in_use_pence = in_use_pence
        super().__init__(
            f"The debt limit cannot be set to {debt_limit_pence}p: {in_use_pence}p of debt is in "
            "use. Credit the wallet first, or choose a higher limit."
        )


class MoreThanOwed(LedgerError):
    """More was to be recovered or written off than is owed; both in pence."""

    def __init__(self, *, asked_pence: int, owed_pence: int) -> None:
        self.asked_pence = asked_pence
        self.owed_pence = owed_pence
        super().__init__(f"Only {owed_pence}p is owed: {asked_pence}p cannot be taken from it.")
