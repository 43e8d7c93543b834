"""Organizations, their ledger entries, the holds of their calls, payments and alerts.

Only `wallets.ledger` writes balances, holds and entries. The constraints here and the triggers in
the migrations make the rules hold for every other way in, too.
"""

from wallets.models.alerts import Alert, AlertRecipient
from wallets.models.audit import StaffAction
from wallets.models.entries import CreditTransaction
from wallets.models.organizations import (
    Membership,
    Organization,
    default_billing_increment_seconds,
    default_rate_pence_per_minute,
)
from wallets.models.payments import Dispute, PaymentProfile, Refund, TopUp
from wallets.models.reservations import CreditReservation

__all__ = [
    "Alert",
    "AlertRecipient",
    "CreditReservation",
    "CreditTransaction",
    "Dispute",
    "Membership",
    "Organization",
    "PaymentProfile",
    "Refund",
    "StaffAction",
    "TopUp",
    "default_billing_increment_seconds",
    "default_rate_pence_per_minute",
]
