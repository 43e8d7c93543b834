"""What Vapi accepts as an answer to an assistant-request; it ignores anything else in silence.

Of its schema, the part that voxbilling answers with: an assistant or a squad by id with overrides,
or an error that is spoken to the caller. Used by the end-to-end tests too, so it knows JSON only.
"""

from typing import Any

MIN_DURATION_SECONDS = 10
MAX_DURATION_SECONDS = 43_200
# Without these two a call that we let in would never be followed, or never be charged.
NEEDED_SERVER_MESSAGES = {"status-update", "end-of-call-report"}
# Vapi's own hang-up is off for whoever subscribes to it.
HARMFUL_SERVER_MESSAGES = {"phone-call-control"}
SERVER_MESSAGES = {
    "assistant.started",
    "conversation-update",
    "end-of-call-report",
    "function-call",
    "handoff-destination-request",
    "hang",
    "model-output",
    "phone-call-control",
    "speech-update",
    "status-update",
    "tool-calls",
    "transcript",
    "transfer-destination-request",
    "user-interrupted",
    "voice-input",
}


def problems(answer: Any) -> list[str]:
    """What Vapi would not accept, or what would leave a call unbilled; empty if all is well."""
    if not isinstance(answer, dict):
        return ["The answer is no object."]
    found = []
    kinds = {"assistant", "squad"} & {name.removesuffix("Id") for name in answer}
    known = {f"{kind}{part}" for kind in kinds for part in ("Id", "Overrides")} | {"error"}
    if unknown := set(answer) - known:
        found.append(f"Unexpected fields: {sorted(unknown)}.")
    if len(kinds) + ("error" in answer) != 1:
        return [*found, "Exactly one of assistantId, squadId and error is needed."]
    if "error" in answer:
        if not _is_text(answer["error"]):
            found.append("The error is not a sentence that can be spoken.")
        return found
    [kind] = kinds
    if not _is_text(answer[f"{kind}Id"]):
        found.append(f"The {kind}Id is no id.")
    return found + _problems_of_overrides(answer.get(f"{kind}Overrides"))


def is_accepted(answer: Any) -> bool:
    """Whether the answer lets the call in."""
    return not problems(answer) and "error" not in answer


def _problems_of_overrides(overrides: Any) -> list[str]:
    if not isinstance(overrides, dict):
        return ["Without overrides the call has no cap."]
    found = []
    seconds = overrides.get("maxDurationSeconds")
    if type(seconds) is not int or not MIN_DURATION_SECONDS <= seconds <= MAX_DURATION_SECONDS:
        found.append(f"maxDurationSeconds is {seconds!r}, not a whole number of 10 to 43,200.")
    named = overrides.get("serverMessages")
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        return [*found, "serverMessages is no list of names."]
    if missing := NEEDED_SERVER_MESSAGES - set(named):
        found.append(f"serverMessages lacks {sorted(missing)}.")
    if unknown := set(named) - SERVER_MESSAGES:
        found.append(f"serverMessages has what Vapi does not know: {sorted(unknown)}.")
    if harmful := HARMFUL_SERVER_MESSAGES & set(named):
        found.append(f"serverMessages has what breaks calls: {sorted(harmful)}.")
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
