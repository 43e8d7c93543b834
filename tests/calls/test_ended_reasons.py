import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.ended_reasons import Waiver, waiver_for

NEVER_CONNECTED = [
    "assistant-request-failed",
    "assistant-request-returned-error",
    "assistant-request-returned-no-assistant",
    "call-start-error-neither-assistant-nor-server-set",
    "call.start.error-vapifault-get-org",
    "call.start.error-subscription-insufficient-credits",
    "call.ringing.hook-executed-say",
    "call.ringing.error-sip-inbound-call-failed-to-connect",
    "assistant-not-found",
    "assistant-not-valid",
    "scheduled-call-deleted",
    "call-deleted",
    "customer-busy",
    "customer-did-not-answer",
    "customer-did-not-give-microphone-permission",
    "assistant-join-timed-out",
    "twilio-failed-to-connect-call",
    "twilio-reported-customer-misdialed",
    "vonage-failed-to-connect-call",
    "vonage-rejected",
    "phone-call-provider-bypass-enabled-but-no-call-received",
    "call.in-progress.error-sip-outbound-call-failed-to-connect",
    "call.in-progress.error-providerfault-transport-never-connected",
    "call.in-progress.error-vapifault-transport-never-connected",
]
VAPI_FAULT = [
    "worker-shutdown",
    "call.in-progress.error-vapifault-worker-died",
    "call.in-progress.error-vapifault-openai-llm-failed",
    "call.in-progress.error-vapifault-transport-connected-but-call-not-active",
]
CHARGED = [
    "customer-ended-call",
    "assistant-ended-call",
    "assistant-forwarded-call",
    "assistant-said-end-call-phrase",
    "exceeded-max-duration",
    "silence-timed-out",
    "manually-canceled",
    "vonage-disconnected",
    "call.in-progress.twilio-completed-call",
    "call.in-progress.error-providerfault-openai-llm-failed",
    "pipeline-error-openai-llm-failed",
    "pipeline-no-available-llm-model",
    "a-reason-that-vapi-adds-tomorrow",
]
# Each looks like a waived one, and is not: named reasons match whole, prefixes at the beginning.
LOOKALIKES = [
    "assistant-request",
    "call.start",
    "call.in-progress.error-vapifault",
    "call.in-progress.error-assistant-request-failed",
    "not-customer-busy",
    "customer-busy-again",
    "worker-shutdown-requested",
    "pipeline-error-vapifault-voice-failed",
    "failed-to-connect-then-connected",
    "Customer-Busy",
]

flags = pytest.mark.parametrize(
    ("charges_voicemail", "waive_vapi_faults"),
    [(True, True), (True, False), (False, True), (False, False)],
)


@flags
@pytest.mark.parametrize("reason", NEVER_CONNECTED)
def test_given_a_call_that_never_connected_when_it_ends_then_it_is_waived_under_any_setting(
    reason: str, charges_voicemail: bool, waive_vapi_faults: bool
) -> None:
    waiver = waiver_for(
        reason, charges_voicemail=charges_voicemail, waive_vapi_faults=waive_vapi_faults
    )

    assert waiver is Waiver.NEVER_CONNECTED


@pytest.mark.parametrize("charges_voicemail", [True, False])
@pytest.mark.parametrize("reason", VAPI_FAULT)
def test_given_a_fault_of_vapis_own_when_the_call_ends_then_the_setting_decides(
    reason: str, charges_voicemail: bool
) -> None:
    waived = waiver_for(reason, charges_voicemail=charges_voicemail, waive_vapi_faults=True)
    charged = waiver_for(reason, charges_voicemail=charges_voicemail, waive_vapi_faults=False)

    assert waived is Waiver.VAPI_FAULT
    assert charged is None


@pytest.mark.parametrize("waive_vapi_faults", [True, False])
def test_given_voicemail_when_the_call_ends_then_the_organizations_switch_decides(
    waive_vapi_faults: bool,
) -> None:
    charged = waiver_for("voicemail", charges_voicemail=True, waive_vapi_faults=waive_vapi_faults)
    waived = waiver_for("voicemail", charges_voicemail=False, waive_vapi_faults=waive_vapi_faults)

    assert charged is None
    assert waived is Waiver.VOICEMAIL


@flags
@pytest.mark.parametrize("reason", [None, "", *CHARGED, *LOOKALIKES])
def test_given_any_other_reason_or_none_when_the_call_ends_then_it_is_charged(
    reason: str | None, charges_voicemail: bool, waive_vapi_faults: bool
) -> None:
    waiver = waiver_for(
        reason, charges_voicemail=charges_voicemail, waive_vapi_faults=waive_vapi_faults
    )

    assert waiver is None


@given(st.text(), st.booleans(), st.booleans())
def test_given_any_text_when_asked_then_the_answer_is_a_waiver_or_none(
    reason: str, charges_voicemail: bool, waive_vapi_faults: bool
) -> None:
    waiver = waiver_for(
        reason, charges_voicemail=charges_voicemail, waive_vapi_faults=waive_vapi_faults
    )

    assert waiver is None or waiver in Waiver
