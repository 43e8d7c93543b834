"""Calls, the appointments that they made, and what Vapi says beside them."""

from calls.models.appointments import Appointment
from calls.models.calls import Call
from calls.models.upstream import UnbilledCall, UpstreamDay, VapiReading

__all__ = ["Appointment", "Call", "UnbilledCall", "UpstreamDay", "VapiReading"]
