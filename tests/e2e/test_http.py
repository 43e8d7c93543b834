"""What voxbilling answers over HTTP, from the server that production runs."""

import asyncio
import json
import socket
import uuid
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import pytest

from tests.webhooks.vapi_answer_validator import problems
from voxbilling import vapi_payloads as payloads
from voxbilling.capacity import WEB_WORKERS, WEBHOOK_PLACES
from voxbilling.vapi_payloads import SimulatedCall

pytestmark = pytest.mark.e2e

# Vapi's own limit: an answer that comes later is no answer.
VAPI_TIMEOUT_SECONDS = 7.5


def inbound_call(stack, organization):
    return SimulatedCall(
        call_type="inboundPhoneCall",
        assistant_id=None,
        phone_number_id=organization["vapi_phone_number_id"],
        phone_number=organization["phone_number"],
        control_base_url=stack["sandbox_url"],
    )


def client(stack, **options):
    return httpx.Client(
        base_url=stack["base_url"],
        headers={"X-Vapi-Secret": stack["vapi_webhook_secret"]},
        timeout=60,
        **options,
    )


def test_100_assistant_requests_at_once_are_answered_within_vapis_bounds(stack):
    # Given 100 callers who ring one organization at the same moment
    clinic = stack["organizations"][0]
    bodies = [
        json.dumps(payloads.assistant_request(inbound_call(stack, clinic), at=datetime.now(UTC)))
        for _ in range(100)
    ]

    async def ask_all():
        async with httpx.AsyncClient(
            base_url=stack["base_url"],
            headers={"X-Vapi-Secret": stack["vapi_webhook_secret"]},
            timeout=VAPI_TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=100),
        ) as vapi:
            return await asyncio.gather(
                *(vapi.post("/api/vapi/webhook", content=body) for body in bodies)
            )

    # When Vapi asks for all of them at once (later than its limit raises a time-out)
    responses = asyncio.run(ask_all())

    # Then each is answered as Vapi understands it, and each was authorized
    assert len(responses) == 100
    for response in responses:
        answer = response.json()
        assert (response.status_code, problems(answer)) == (200, [])
        assert answer["assistantId"] == clinic["vapi_assistant_id"]


def test_health_is_told_without_credentials(stack):
    with httpx.Client(base_url=stack["base_url"], timeout=60) as anybody:
        assert anybody.get("/healthz").json() == {"status": "ok"}
        ready = anybody.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ok")
        assert anybody.get("/api/vapi/webhook/health").json() == {
            "status": "healthy",
            "service": "vapi-webhook",
        }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"not JSON", 400),
        (b'{"message": NaN}', 400),
        (b"[" * 100_000, 400),
        (b"\xff\xfe", 400),
        (b'{"message": {"type": "' + b"a" * 6_000_000 + b'"}}', 413),
        (b"[]", 200),
        (b'{"message": null}', 200),
        (b'{"message": {"type": "hang"}}', 200),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_bodies_get_a_sentence(stack, body, status):
    with client(stack) as vapi:
        response = vapi.post("/api/vapi/webhook", content=body)
    assert response.status_code == status
    if status != 200:
        assert response.json()["error"].endswith(".")


def test_a_chunked_body_is_refused_and_not_taken_for_an_empty_one(stack):
    with client(stack) as vapi:
        response = vapi.post("/api/vapi/webhook", content=iter([b'{"message": {}}']))
    assert response.status_code == 400
    assert "Content-Length" in response.json()["error"]


def test_a_stranger_is_refused_and_a_wrong_method_too(stack):
    with httpx.Client(base_url=stack["base_url"], timeout=60) as stranger:
        assert stranger.post("/api/vapi/webhook", content=b"{}").status_code == 401
        assert stranger.get("/api/vapi/webhook").status_code == 405


def test_strangers_who_send_slowly_keep_nobody_waiting(stack):
    """Each is refused before its body is waited for."""
    address = urlsplit(stack["base_url"])
    strangers = []
    try:
        for _ in range(10 * WEB_WORKERS * WEBHOOK_PLACES):
            stranger = socket.create_connection((address.hostname, address.port), timeout=60)
            strangers.append(stranger)
            stranger.sendall(
                b"POST /api/vapi/webhook HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
        with client(stack) as vapi:
            assert vapi.post("/api/vapi/webhook", content=b"{}").status_code == 200
        assert {stranger.recv(12) for stranger in strangers} == {b"HTTP/1.1 401"}
    finally:
        for stranger in strangers:
            stranger.close()


def test_a_call_that_cannot_be_paid_for_is_ended_by_the_worker(stack):
    # Given an outbound call of an organization without money
    office = stack["organizations"][2]
    call = SimulatedCall(
        call_type="outboundPhoneCall",
        assistant_id=office["vapi_assistant_id"],
        phone_number_id=office["vapi_phone_number_id"],
        phone_number=office["phone_number"],
        control_base_url=stack["sandbox_url"],
        id=str(uuid.uuid4()),
    )

    # When Vapi says that it is queued
    with client(stack) as vapi:
        vapi.post("/api/vapi/webhook", json=payloads.status_update(call, "queued", at=_now()))

    # Then its control URL is told to end it
    async def told():
        from voxbilling.operations.simulation.vapi import SimulatedVapi

        async with SimulatedVapi(
            base_url=stack["base_url"],
            secret=stack["vapi_webhook_secret"],
            sandbox_url=stack["sandbox_url"],
        ) as simulated:
            return await simulated.was_told_to_end(call.id)

    assert asyncio.run(told())


def _now():
    return datetime.now(UTC)
