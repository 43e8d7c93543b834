"""E-mails to organizations: written down with the facts that they tell of, and sent afterwards."""

from wallets.alerts.cut_off import CutOffCall, tell_of_calls_cut_off
from wallets.alerts.outbox import FIGURES, Kind, raise_alert

__all__ = ["FIGURES", "CutOffCall", "Kind", "raise_alert", "tell_of_calls_cut_off"]
