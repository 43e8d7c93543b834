"""Vapi's records of calls, over real HTTP."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from telephony import vapi_calls
from telephony.vapi_calls import VapiRequestFailed
from telephony.vapi_control import ControlMessage, send_control
from tests.sandbox import running_sandbox
from voxbilling.stack.sandbox.clock import Clock

SHOWN = {
    "id": "the-call",
    "type": "inboundPhoneCall",
    "status": "ended",
    "startedAt": "2026-03-02T10:00:00.000Z",
    "endedAt": "2026-03-02T10:01:01.500Z",
    "updatedAt": "2026-03-02T10:01:05.000Z",
    "endedReason": "customer-ended-call",
    "cost": 0.1128,
    "assistantId": "the-assistant",
    "phoneNumberId": "the-number",
    "phoneNumber": {"number": "+442079460001", "twilioAuthToken": "secret"},
    "monitor": {"controlUrl": "https://vapi.example/secret/control"},
    "transcript": "AI: Hello.",
}


class Api:
    """A server in the place of Vapi's API; `answer` is (status, headers, body)."""

    def __init__(self) -> None:
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"{}")
        self.asked: list[tuple[str, dict[str, list[str]], str]] = []

    def shows(self, shown: Any, status: int = 200, **headers: str) -> None:
        self.answer = (status, headers, json.dumps(shown).encode())


@pytest.fixture
def api(settings: Any) -> Iterator[Api]:
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            api.asked.append((url.path, parse_qs(url.query), self.headers["Authorization"]))
            status, headers, body = api.answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    settings.VAPI_API_URL, settings.VAPI_API_KEY = f"http://127.0.0.1:{server.server_port}", "key"
    yield api
    server.shutdown()
    server.server_close()
    thread.join()


# One call


def test_given_a_call_when_it_is_looked_up_then_what_billing_needs_is_read(api: Api) -> None:
    api.shows(SHOWN)

    assert vapi_calls.get_call("the-call") == vapi_calls.CallRecord(
        id="the-call",
        type="inboundPhoneCall",
        status="ended",
        started_at=datetime(2026, 3, 2, 10, 0, tzinfo=UTC),
        ended_at=datetime(2026, 3, 2, 10, 1, 1, 500_000, tzinfo=UTC),
        ended_reason="customer-ended-call",
        cost_usd=Decimal("0.1128"),
        squad_id=None,
        assistant_id="the-assistant",
        phone_number_id="the-number",
        number="+442079460001",
        control_url="https://vapi.example/secret/control",
        updated_at=datetime(2026, 3, 2, 10, 1, 5, tzinfo=UTC),
    )
    assert api.asked == [("/call/the-call", {}, "Bearer key")]


def test_given_a_record_when_it_is_logged_then_its_control_url_is_not(api: Api) -> None:
    api.shows(SHOWN)

    assert "secret" not in repr(vapi_calls.get_call("the-call"))


@pytest.mark.parametrize("nonsense", [None, True, [], {}, "", "\0", "x" * 1000, -1, 1e999])
def test_given_nonsense_in_any_field_when_a_call_is_looked_up_then_the_field_counts_as_missing(
    api: Api, nonsense: Any
) -> None:
    shown = {**dict.fromkeys(SHOWN, nonsense), "id": "the-call"}
    if nonsense == "x" * 1000:
        # A reason is cut, not dropped.
        del shown["endedReason"]
    # A date of -1 means 1970, which is no date of ours.
    body = json.dumps(shown).replace("Infinity", "1e999").encode()
    api.answer = (200, {}, body)

    record = vapi_calls.get_call("the-call")

    assert vars(record) == {**dict.fromkeys(vars(record)), "id": "the-call"}


def test_given_an_id_with_odd_characters_when_it_is_looked_up_then_it_stays_one_part_of_the_path(
    api: Api,
) -> None:
    api.shows({**SHOWN, "id": "a/../b?c=d"})

    vapi_calls.get_call("a/../b?c=d")

    assert api.asked[0][:2] == ("/call/a%2F..%2Fb%3Fc%3Dd", {})


def test_given_no_such_call_when_it_is_looked_up_then_it_is_unknown(api: Api) -> None:
    api.shows({"message": "Not Found"}, 404)

    with pytest.raises(vapi_calls.CallUnknown):
        vapi_calls.get_call("the-call")


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7), ("0", 1), ("999999999999", 300), ("soon", 10), ("-1", 10), ("²", 10), (None, 10)],
)
def test_given_too_many_requests_when_a_call_is_looked_up_then_vapi_says_how_long_to_wait(
    api: Api, retry_after: str | None, seconds: int
) -> None:
    api.shows({}, 429, **({"Retry-After": retry_after} if retry_after else {}))

    with pytest.raises(vapi_calls.VapiBusy) as busy:
        vapi_calls.get_call("the-call")
    assert busy.value.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, b"{}"),
        (503, {}, b""),
        (302, {"Location": "/elsewhere"}, b""),
        (200, {}, b"<html>"),
        (200, {}, b"[]"),
        (200, {}, b"null"),
        (200, {}, b"{}"),
        (200, {}, b'{"id": "another"}'),
    ],
)
def test_given_an_answer_that_is_no_call_when_one_is_looked_up_then_it_failed(
    api: Api, answer: tuple[int, dict[str, str], bytes]
) -> None:
    api.answer = answer

    with pytest.raises(VapiRequestFailed) as failed:
        vapi_calls.get_call("the-call")
    assert not isinstance(failed.value, vapi_calls.CallUnknown | vapi_calls.VapiBusy)


def test_given_no_server_when_a_call_is_looked_up_then_it_failed(settings: Any) -> None:
    settings.VAPI_API_URL = "http://127.0.0.1:9"

    with pytest.raises(VapiRequestFailed, match="ConnectError"):
        vapi_calls.get_call("the-call")


# Many calls


def test_given_calls_when_they_are_listed_then_those_that_can_be_read_are_there(api: Api) -> None:
    api.shows([SHOWN, {"id": None}, "nonsense", {**SHOWN, "id": "another"}])
    since, until = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)

    listed = vapi_calls.list_calls(updated_from=since, updated_to=until, limit=50)

    assert [record.id for record in listed.records] == ["the-call", "another"]
    assert listed.is_whole
    assert api.asked[0][1] == {
        "updatedAtGe": ["2026-03-02T00:00:00+00:00"],
        "updatedAtLt": ["2026-03-03T00:00:00+00:00"],
        "limit": ["50"],
    }


def test_given_as_many_calls_as_were_asked_for_when_listed_then_there_may_be_more(
    api: Api,
) -> None:
    api.shows([SHOWN, {"id": None}])
    now = datetime.now(UTC)

    listed = vapi_calls.list_calls(updated_from=now, updated_to=now, limit=2)

    assert (len(listed.records), listed.is_whole) == (1, False)


@pytest.mark.parametrize("status", [200, 404, 429, 500])
def test_given_an_answer_that_is_no_list_when_calls_are_listed_then_it_failed(
    api: Api, status: int
) -> None:
    api.shows({}, status)
    now = datetime.now(UTC)

    with pytest.raises(VapiRequestFailed):
        vapi_calls.list_calls(updated_from=now, updated_to=now)


def test_given_the_sandbox_when_its_calls_are_read_then_they_are_what_was_played(
    settings: Any,
) -> None:
    with running_sandbox() as url:
        settings.VAPI_API_URL = f"{url}/vapi"
        wanted = {"type": "webCall", "assistantId": "the-assistant", "sandbox": {"lastsSeconds": 9}}
        started = httpx.post(
            f"{url}/vapi/call", json=wanted, headers={"Authorization": "Bearer key"}
        ).json()

        def status() -> str | None:
            return vapi_calls.get_call(started["id"]).status

        eventually(lambda: status() == "in-progress")
        live = vapi_calls.get_call(started["id"])
        end = ControlMessage(url=live.control_url or "", body={"type": "end-call"})
        assert send_control([end]) == [None]
        eventually(lambda: status() == "ended")
        over = vapi_calls.get_call(started["id"])
        minute = timedelta(minutes=1)
        now = Clock().now()
        window = {"updated_from": now - minute, "updated_to": now + minute}
        listed = vapi_calls.list_calls(**window)
        with pytest.raises(vapi_calls.CallUnknown):
            vapi_calls.get_call("unknown")

    assert (listed.records, listed.is_whole) == ([over], True)
    assert over.started_at == live.started_at
    assert over.ended_at is not None
    assert over.cost_usd is not None
    assert over.control_url is None


def eventually(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
