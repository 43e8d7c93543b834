from typing import Any

import pytest

from tests.webhooks.vapi_answer_validator import is_accepted, problems

NEEDED = ["status-update", "end-of-call-report"]


def accepted(**overrides: Any) -> dict[str, Any]:
    return {
        "assistantId": "assistant",
        "assistantOverrides": {"maxDurationSeconds": 600, "serverMessages": NEEDED, **overrides},
    }


@pytest.mark.parametrize("seconds", [10, 600, 43_200])
def test_given_an_answer_within_vapis_bounds_when_validated_then_the_call_is_let_in(
    seconds: int,
) -> None:
    assert problems(accepted(maxDurationSeconds=seconds)) == []
    assert is_accepted(accepted(maxDurationSeconds=seconds))


def test_given_an_error_to_be_spoken_when_validated_then_it_is_well_formed_but_no_way_in() -> None:
    assert problems({"error": "Please try again later."}) == []
    assert not is_accepted({"error": "Please try again later."})


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"error": ""},
        {"error": None},
        {"error": "No.", "assistantId": "assistant"},
        {"error": "No.", "assistantOverrides": {}},
        {"assistantId": "assistant"},
        {"assistantId": "assistant", "assistantOverrides": {"serverMessages": NEEDED}},
        {**accepted(), "assistantId": ""},
        {**accepted(), "maxDurationSeconds": 600},
        *[accepted(maxDurationSeconds=seconds) for seconds in (9, 43_201, 600.0, "600", True)],
        accepted(serverMessages="status-update"),
        accepted(serverMessages=["status-update"]),
        accepted(serverMessages=["end-of-call-report"]),
        accepted(serverMessages=[*NEEDED, "no-such-message"]),
        accepted(serverMessages=[*NEEDED, "phone-call-control"]),
    ],
)
def test_given_an_answer_that_vapi_ignores_when_validated_then_a_sentence_says_why(
    answer: Any,
) -> None:
    assert problems(answer)
    assert not is_accepted(answer)
