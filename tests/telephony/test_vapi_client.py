"""Ending a live call over real HTTP; whatever goes wrong, no text names the URL."""

import pytest

from telephony import vapi_client
from tests.webhooks.fixtures import ControlServer


def test_given_a_live_call_when_it_is_ended_then_its_control_url_is_posted_to(
    control_server: ControlServer,
) -> None:
    vapi_client.end_call(control_server.url("of-the-call"))

    assert control_server.received == [("/of-the-call/control", {"type": "end-call"})]


@pytest.mark.parametrize("status", [200, 201, 204])
def test_given_any_success_when_a_call_is_ended_then_that_is_enough(
    control_server: ControlServer, status: int
) -> None:
    control_server.answers = [status]

    vapi_client.end_call(control_server.url("of-the-call"))


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
def test_given_any_other_status_when_a_call_is_ended_then_it_failed(
    control_server: ControlServer, status: int
) -> None:
    control_server.answers = [status]

    with pytest.raises(vapi_client.VapiRequestFailed, match=f"answered {status}") as failed:
        vapi_client.end_call(control_server.url("of-the-call"))
    assert_names_no_url(failed.value)


def test_given_no_answer_when_a_call_is_ended_then_it_failed_in_time(
    control_server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vapi_client, "CONTROL_TIMEOUT_SECONDS", 0.1)
    control_server.answers = [None]

    with pytest.raises(vapi_client.VapiRequestFailed, match="ReadTimeout") as failed:
        vapi_client.end_call(control_server.url("of-the-call"))
    assert_names_no_url(failed.value)


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
    with pytest.raises(vapi_client.VapiRequestFailed) as failed:
        vapi_client.end_call(url)
    assert_names_no_url(failed.value)


def assert_names_no_url(error: BaseException) -> None:
    assert "of-the-call" not in str(error)
    assert error.__cause__ is None
    # What a log would show of an error that it replaced is nothing.
    assert error.__context__ is None or error.__suppress_context__
