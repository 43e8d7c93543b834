"""Speaking to many live calls at once, over real HTTP; whatever goes wrong, no text names a URL."""

import time

import pytest

from telephony import vapi_control
from telephony.vapi_control import ControlMessage, send_control
from tests.webhooks.fixtures import ControlServer


def test_given_many_calls_when_they_are_spoken_to_then_each_gets_its_own_message(
    control_server: ControlServer,
) -> None:
    messages = [
        ControlMessage(
            url=control_server.url(f"call-{number}"), body={"type": "say", "content": str(number)}
        )
        for number in range(250)
    ]

    assert send_control(messages) == [None] * 250
    assert sorted(control_server.received, key=str) == sorted(
        [(f"/call-{n}/control", {"type": "say", "content": str(n)}) for n in range(250)], key=str
    )


def end(url: str) -> str | None:
    [failure] = send_control([ControlMessage(url=url, body={"type": "end-call"})])
    return failure


@pytest.mark.parametrize("status", [200, 201, 204])
def test_given_any_success_when_a_call_is_ended_then_that_is_enough(
    control_server: ControlServer, status: int
) -> None:
    control_server.answers = [status]
    assert end(control_server.url("of-the-call")) is None
    assert control_server.received == [("/of-the-call/control", {"type": "end-call"})]


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
def test_given_any_other_status_when_a_call_is_ended_then_it_failed(
    control_server: ControlServer, status: int
) -> None:
    control_server.answers = [status]
    failure = end(control_server.url("of-the-call"))
    assert failure == f"The call's control address answered {status}."


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/of-the-call",
        "https://127.0.0.1:9/of-the-call",
        "http://of-the-call.invalid/",
        "of-the-call",
        "ftp://of-the-call/",
        "http://127.0.0.1:99999/of-the-call",
        "http://[of-the-call/",
        "http://" + "of-the-call" * 20 + ".invalid/",
        "http://xn--of-the-call-\x80.invalid/",
        "http://of-the-call..invalid/",
    ],
)
def test_given_a_url_that_leads_nowhere_when_a_call_is_ended_then_it_failed(url: str) -> None:
    failure = end(url)
    assert failure is not None
    assert "of-the-call" not in failure


def test_given_nobody_to_speak_to_when_nothing_is_sent_then_nothing_failed() -> None:
    assert send_control([]) == []


def test_given_some_that_fail_when_many_are_sent_then_each_failure_is_told_and_names_no_url(
    control_server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vapi_control, "CONTROL_TIMEOUT_SECONDS", 0.5)
    control_server.answers = [404, None]

    def send(*urls: str) -> list[str | None]:
        return send_control([ControlMessage(url=url, body={"type": "end-call"}) for url in urls])

    failures = [
        *send(control_server.url("of-the-call")),
        *send(
            control_server.url("of-the-call"),
            "http://127.0.0.1:9/of-the-call",
            "of-the-call",
            "http://[of-the-call/",
            "http://xn--of-the-call-\x80.invalid/",
        ),
        *send(control_server.url("of-the-call")),
    ]

    assert failures[0] == "The call's control address answered 404."
    assert failures[-1] is None
    assert all(failures[:-1])
    assert not any("of-the-call" in failure for failure in failures[:-1] if failure)


def test_given_answers_that_take_long_when_many_are_sent_then_they_wait_together(
    control_server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vapi_control, "CONTROL_TIMEOUT_SECONDS", 1)
    control_server.answers = [None] * 100
    started = time.monotonic()

    slow = ControlMessage(url=control_server.url("slow"), body={"type": "end-call"})
    failures = send_control([slow] * 100)

    assert all(failures)
    # One after the other, they would wait for 100 s.
    assert time.monotonic() - started < 20


def test_given_a_message_when_it_is_logged_then_its_url_is_not() -> None:
    assert "secret" not in repr(ControlMessage(url="https://secret", body={"type": "end-call"}))
