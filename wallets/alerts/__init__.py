"""E-mails to organizations: written down with the facts that they tell of, and sent afterwards."""

from wallets.alerts.outbox import FIGURES, Kind, raise_alert

__all__ = ["FIGURES", "Kind", "raise_alert"]
