"""Which ended calls are charged, from the reason that Vapi gives for the end.

Vapi has some 600 reasons and adds more, so they are matched by beginning and ending. A reason that
nobody has named here is charged: the call cost the operator money, whatever it is called. Whether
there is a duration to charge is asked elsewhere, of the dates.
"""

from django.db.models import TextChoices

_NEVER_CONNECTED_REASONS = frozenset(
    {
        "assistant-join-timed-out",
        "assistant-not-found",
        "assistant-not-valid",
        "call-deleted",
        "customer-busy",
        "customer-did-not-answer",
        "customer-did-not-give-microphone-permission",
        "phone-call-provider-bypass-enabled-but-no-call-received",
        "scheduled-call-deleted",
        "twilio-failed-to-connect-call",
        "twilio-reported-customer-misdialed",
        "vonage-failed-to-connect-call",
        "vonage-rejected",
    }
)
_NEVER_CONNECTED_PREFIXES = (
    "assistant-request-",
    "call-start-error-",
    "call.ringing.",
    "call.start.",
)
_NEVER_CONNECTED_SUFFIXES = ("-failed-to-connect", "-transport-never-connected")
_VAPI_FAULT_REASONS = frozenset({"worker-shutdown"})
_VAPI_FAULT_PREFIX = "call.in-progress.error-vapifault-"


class Waiver(TextChoices):
    """Why an ended call is not charged."""

    NEVER_CONNECTED = "never_connected", "Never connected"
    VAPI_FAULT = "vapi_fault", "Vapi's own fault"
    VOICEMAIL = "voicemail", "Reached voicemail"


def waiver_for(
    ended_reason: str | None, *, charges_voicemail: bool, waive_vapi_faults: bool
) -> Waiver | None:
    """Why a call that ended for this reason is not charged; None means that it is charged.

    A missing reason is charged. A call that never connected is waived whoever was at fault, so
    `waive_vapi_faults=False` does not bring such a call back.
    """
    reason = ended_reason or ""
    if (
        reason in _NEVER_CONNECTED_REASONS
        or reason.startswith(_NEVER_CONNECTED_PREFIXES)
        or reason.endswith(_NEVER_CONNECTED_SUFFIXES)
    ):
        return Waiver.NEVER_CONNECTED
    if waive_vapi_faults and (
        reason in _VAPI_FAULT_REASONS or reason.startswith(_VAPI_FAULT_PREFIX)
    ):
        return Waiver.VAPI_FAULT
    if reason == "voicemail" and not charges_voicemail:
        return Waiver.VOICEMAIL
    return None
