"""The sandbox's Vapi, spoken to as the application that granian serves."""

import pytest
from starlette.testclient import TestClient

from voxbilling.stack.sandbox import application, vapi


@pytest.fixture
def client():
    return TestClient(application.create())


def messages(client, call_id: str) -> list:
    answer = client.get(f"/vapi/calls/{call_id}/control-messages").json()
    return [message["message"] for message in answer["messages"]]


def test_it_remembers_per_call_what_the_control_url_was_sent(client):
    say = {"type": "say", "content": "Goodbye", "endCallAfterSpoken": True}
    end = {"type": "end-call"}
    assert client.post("/vapi/calls/a/control", json=say).status_code == 200
    assert client.post("/vapi/calls/a/control", json=end).status_code == 200
    assert messages(client, "a") == [say, end]
    assert messages(client, "b") == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"end-call"', b'{"type": "mute"}', b'{"type": "say"}', b"\xff"]
)
def test_it_refuses_what_is_no_control_message(client, body):
    assert client.post("/vapi/calls/a/control", content=body).status_code == 400
    assert messages(client, "a") == []


def test_its_memory_is_bounded():
    memory = vapi.ControlMessages()
    for number in range(vapi._MOST_CALLS + 10):
        memory.add(str(number), {})
    assert memory.of("0") == []
    for number in range(vapi._MOST_MESSAGES_PER_CALL + 10):
        memory.add("one", {"number": number})
    assert len(memory.of("one")) == vapi._MOST_MESSAGES_PER_CALL
    assert memory.of("one")[-1]["message"] == {"number": vapi._MOST_MESSAGES_PER_CALL + 9}
