"""The sandbox's Vapi, spoken to as the application that granian serves."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from tests.sandbox import calls_that_nobody_hears, stripe_that_nobody_hears
from voxbilling.stack.sandbox import application
from voxbilling.stack.sandbox.memory import Memory
from voxbilling.stack.sandbox.vapi import control


@pytest.fixture
def ask() -> Callable[..., httpx.Response]:
    """Send one request to a sandbox that has seen nothing yet."""
    transport = httpx.ASGITransport(
        application.create(Memory(), calls_that_nobody_hears(), stripe_that_nobody_hears())
    )

    async def ask(method: str, path: str, **body: object) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
            return await client.request(method, path, **body)

    return lambda *request, **body: asyncio.run(ask(*request, **body))


def messages(ask, call_id: str) -> list:
    answer = ask("GET", f"/vapi/calls/{call_id}/control-messages").json()
    return [message["message"] for message in answer["messages"]]


def test_it_remembers_per_call_what_the_control_url_was_sent(ask):
    say = {"type": "say", "content": "Goodbye", "endCallAfterSpoken": True}
    end = {"type": "end-call"}
    assert ask("POST", "/vapi/calls/a/control", json=say).status_code == 200
    assert ask("POST", "/vapi/calls/a/control", json=end).status_code == 200
    assert messages(ask, "a") == [say, end]
    assert messages(ask, "b") == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"end-call"', b'{"type": "mute"}', b'{"type": "say"}', b"\xff"]
)
def test_it_refuses_what_is_no_control_message(ask, body):
    assert ask("POST", "/vapi/calls/a/control", content=body).status_code == 400
    assert messages(ask, "a") == []


def test_its_memory_is_bounded():
    memory = control.ControlMessages()
    for number in range(control._MOST_CALLS + 10):
        memory.add(str(number), {})
    assert memory.of("0") == []
    for number in range(control._MOST_MESSAGES_PER_CALL + 10):
        memory.add("one", {"number": number})
    assert len(memory.of("one")) == control._MOST_MESSAGES_PER_CALL
    assert memory.of("one")[-1]["message"] == {"number": control._MOST_MESSAGES_PER_CALL + 9}
