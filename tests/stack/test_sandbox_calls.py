"""Live calls of the sandbox's Vapi, heard by a voxbilling that only listens.

A second of the sandbox takes 10 ms here.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.sandbox import stripe_that_nobody_hears
from voxbilling.stack.sandbox import application
from voxbilling.stack.sandbox.clock import Clock
from voxbilling.stack.sandbox.memory import Memory
from voxbilling.stack.sandbox.vapi import calls
from voxbilling.stack.sandbox.vapi.calls import Calls
from voxbilling.stack.sandbox.vapi.webhook import Webhook

PHONE_NUMBER_ID, ASSISTANT_ID = "the-number", "the-assistant"
AUTHORIZED = {
    "assistantId": ASSISTANT_ID,
    "assistantOverrides": {
        "maxDurationSeconds": 20,
        "serverMessages": ["status-update", "end-of-call-report"],
    },
}
Answer = httpx.Response | Exception


class World:
    """A sandbox, and what its calls told voxbilling. `answer` is what the next messages get."""

    def __init__(self, speed: float = 100) -> None:
        self.heard: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], Answer] = lambda _: httpx.Response(
            200, json=AUTHORIZED
        )
        webhook = Webhook("http://voxbilling", "the-secret", httpx.MockTransport(self._hear))
        self.clock = Clock(speed)
        self.calls = Calls(webhook, base_url="http://sandbox", clock=self.clock)
        self.vapi = httpx.AsyncClient(
            transport=httpx.ASGITransport(
                application.create(Memory(), self.calls, stripe_that_nobody_hears())
            ),
            base_url="http://sandbox/vapi",
            headers={"Authorization": "Bearer key"},
        )

    async def _hear(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["X-Vapi-Secret"] == "the-secret"
        message = json.loads(request.content)["message"]
        self.heard.append(message)
        await asyncio.sleep(0)
        answer = self.answer(message)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def inbound(self, **script: Any) -> str:
        """The id of a call that somebody makes to the number."""
        return await self._start("/sandbox/inbound-call", {}, script)

    async def outbound(self, *, kind: str = "outboundPhoneCall", **script: Any) -> str:
        body = {"type": kind, "assistantId": ASSISTANT_ID, "customer": {"number": "+447700900123"}}
        return await self._start("/call", body, script)

    async def _start(self, path: str, body: dict[str, Any], script: dict[str, Any]) -> str:
        number = {"phoneNumberId": PHONE_NUMBER_ID, "phoneNumber": {"number": "+442079460001"}}
        answer = await self.vapi.post(path, json={**number, **body, "sandbox": script})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)

    async def until_live(self, call_id: str) -> None:
        await self.until(lambda: self.calls.find(call_id).status == "in-progress")

    async def truth(self, call_id: str) -> dict[str, Any]:
        """All about a call, once it is over and all of its messages are gone."""
        call = self.calls.find(call_id)
        await self.until(lambda: call.is_over and call.pending == 0)
        listed = (await self.vapi.get("/sandbox/calls")).json()["calls"]
        return next(truth for truth in listed if truth["id"] == call_id)

    async def control(self, call_id: str, **message: Any) -> int:
        answer = await self.vapi.post(f"/call/{call_id}/control", json=message)
        return answer.status_code

    def said(self) -> list[str]:
        """What was heard, in order: statuses by themselves, other messages by their type."""
        return [message.get("status", message["type"]) for message in self.heard]


def play(scenario: Callable[[World], Awaitable[None]], speed: float = 100) -> None:
    async def run() -> None:
        await scenario(World(speed))

    asyncio.run(run())


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# The course of a call


def test_given_an_inbound_call_when_it_is_authorized_then_it_talks_and_is_reported() -> None:
    async def scenario(world: World) -> None:
        call_id = await world.inbound(lastsSeconds=4)
        truth = await world.truth(call_id)

        assert world.said() == ["assistant-request", "in-progress", "ended", "end-of-call-report"]
        assert truth["connected"]
        assert truth["seconds"] in range(4, 8)
        assert truth["endedReason"] == "customer-ended-call"
        assert [sent["outcome"] for sent in truth["messages"]] == [200] * 4
        report = world.heard[-1]
        assert (report["startedAt"], report["endedAt"]) == (truth["startedAt"], truth["endedAt"])
        # Five seconds after the end, by default.
        reported_after = moment(truth["messages"][-1]["at"]) - moment(truth["endedAt"])
        assert reported_after >= timedelta(seconds=5)

    play(scenario)


def test_given_any_message_when_it_is_sent_then_its_call_is_as_it_was_when_it_was_created() -> None:
    async def scenario(world: World) -> None:
        await world.truth(await world.inbound(lastsSeconds=1))

        calls = [message["call"] for message in world.heard]
        assert all(call == calls[0] for call in calls)
        assert calls[0]["status"] == "queued"
        assert calls[0]["assistantId"] is None
        assert not calls[0].keys() & {"startedAt", "endedAt", "cost"}

    play(scenario)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("outboundPhoneCall", ["queued", "ringing", "in-progress", "ended", "end-of-call-report"]),
        ("webCall", ["queued", "in-progress", "ended", "end-of-call-report"]),
    ],
)
def test_given_a_call_that_is_not_inbound_when_it_goes_on_then_nobody_is_asked(
    kind: str, said: list[str]
) -> None:
    async def scenario(world: World) -> None:
        await world.truth(await world.outbound(kind=kind, lastsSeconds=1))

        assert world.said() == said

    play(scenario)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(200, json={"error": "No."}), "assistant-request-returned-error"),
        (httpx.Response(200, json={}), "assistant-request-returned-no-assistant"),
        (
            httpx.Response(
                200, json={"assistantId": "a", "assistantOverrides": {"maxDurationSeconds": 9}}
            ),
            "assistant-request-returned-invalid-assistant",
        ),
        (httpx.Response(503, json=AUTHORIZED), "assistant-request-failed"),
        (httpx.Response(200, text="what?"), "assistant-request-failed"),
        (httpx.ConnectError("down"), "assistant-request-failed"),
    ],
)
def test_given_an_inbound_call_when_no_assistant_is_named_then_it_never_connects(
    answer: Answer, reason: str
) -> None:
    async def scenario(world: World) -> None:
        world.answer = lambda _: answer
        truth = await world.truth(await world.inbound())

        assert not truth["connected"]
        assert truth["seconds"] == 0
        assert truth["endedReason"] == reason
        assert world.said() == ["assistant-request", "ended", "end-of-call-report"]
        # Seen: what Vapi says of a call that it did not let in does not name the call.
        assert "call" not in world.heard[1]
        assert "startedAt" not in world.heard[2]

    play(scenario)


def test_given_a_cap_when_the_call_would_last_longer_then_vapi_ends_it() -> None:
    async def scenario(world: World) -> None:
        truth = await world.truth(await world.inbound(lastsSeconds=300))

        assert truth["endedReason"] == "exceeded-max-duration"
        assert truth["maxDurationSeconds"] == 20
        assert truth["seconds"] in range(20, 25)

    play(scenario)


def test_given_a_call_that_lasts_nothing_when_it_rang_then_it_never_connected() -> None:
    async def scenario(world: World) -> None:
        truth = await world.truth(
            await world.outbound(lastsSeconds=0, ringsSeconds=2, endedReason="customer-busy")
        )

        assert not truth["connected"]
        assert truth["endedReason"] == "customer-busy"
        assert world.said() == ["queued", "ringing", "ended", "end-of-call-report"]

    play(scenario)


def test_given_an_assistant_that_wants_reports_only_when_it_talks_then_no_status_is_sent() -> None:
    async def scenario(world: World) -> None:
        overrides = {"maxDurationSeconds": 60, "serverMessages": ["end-of-call-report"]}
        world.answer = lambda _: httpx.Response(
            200, json={"assistantId": "a", "assistantOverrides": overrides}
        )
        await world.truth(await world.inbound(lastsSeconds=1))

        assert world.said() == ["assistant-request", "end-of-call-report"]

    play(scenario)


# The control URL


def test_given_a_live_call_when_its_control_url_ends_it_then_it_ends_at_once_and_for_good() -> None:
    async def scenario(world: World) -> None:
        call_id = await world.outbound(lastsSeconds=600)
        await world.until_live(call_id)
        assert await world.control(call_id, type="end-call") == 200
        truth = await world.truth(call_id)

        assert truth["endedReason"] == "assistant-ended-call"
        assert truth["seconds"] < 10
        assert moment(truth["endAcceptedAt"]) <= moment(truth["endedAt"])
        assert await world.control(call_id, type="end-call") == 404
        assert await world.control("unknown", type="end-call") == 404

    play(scenario)


def test_given_a_call_that_still_rings_when_it_is_ended_then_it_never_connects() -> None:
    async def scenario(world: World) -> None:
        call_id = await world.outbound(ringsSeconds=600)
        await world.until(lambda: "ringing" in world.said())
        await world.control(call_id, type="end-call")

        assert not (await world.truth(call_id))["connected"]

    play(scenario)


def test_given_a_live_call_when_something_is_said_then_it_ends_only_if_asked_to() -> None:
    async def scenario(world: World) -> None:
        call_id = await world.outbound(lastsSeconds=600)
        await world.until_live(call_id)
        assert await world.control(call_id, type="say", content="A minute is left.") == 200
        assert not world.calls.find(call_id).told_to_end.is_set()
        await world.control(
            call_id, type="say", content="The money is gone, goodbye.", endCallAfterSpoken=True
        )
        truth = await world.truth(call_id)

        # Speaking takes time.
        spoken = moment(truth["endedAt"]) - moment(truth["endAcceptedAt"])
        assert timedelta(seconds=1) < spoken < timedelta(seconds=60)

    play(scenario)


def test_given_a_control_url_that_fails_when_it_is_asked_again_then_it_works_in_the_end() -> None:
    async def scenario(world: World) -> None:
        call_id = await world.outbound(lastsSeconds=600, controlFailures=2, controlSeconds=1)
        await world.until_live(call_id)
        answers = [await world.control(call_id, type="end-call") for _ in range(3)]

        assert answers == [500, 500, 200]
        assert (await world.truth(call_id))["controlRequests"] == 3

    play(scenario)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"type": "mute"}', b'{"type": "say"}'])
def test_given_a_live_call_when_its_control_url_gets_nonsense_then_it_goes_on(body: bytes) -> None:
    async def scenario(world: World) -> None:
        call_id = await world.outbound(lastsSeconds=600)
        answer = await world.vapi.post(f"/call/{call_id}/control", content=body)

        assert answer.status_code == 400
        assert not world.calls.find(call_id).told_to_end.is_set()

    play(scenario)


# What goes wrong with messages


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ({"report": "lost"}, ["assistant-request", "in-progress", "ended"]),
        ({"ended": "lost"}, ["assistant-request", "in-progress", "end-of-call-report"]),
        (
            {"report": "doubled", "in-progress": "doubled"},
            [
                "assistant-request",
                *["in-progress"] * 2,
                "ended",
                *["end-of-call-report"] * 2,
            ],
        ),
        (
            {"ended": "late"},
            ["assistant-request", "in-progress", "end-of-call-report", "ended"],
        ),
        (
            {"in-progress": "late", "report": "late"},
            ["assistant-request", "ended", "in-progress", "end-of-call-report"],
        ),
        ({"assistant-request": "lost"}, ["ended", "end-of-call-report"]),
    ],
)
def test_given_a_script_when_messages_are_lost_doubled_or_late_then_voxbilling_hears_that(
    messages: dict[str, str], said: list[str]
) -> None:
    async def scenario(world: World) -> None:
        await world.truth(await world.inbound(lastsSeconds=5, lateSeconds=10, messages=messages))

        assert world.said() == said

    play(scenario)


def test_given_a_doubled_report_when_it_comes_again_then_bytes_differ_and_facts_do_not() -> None:
    async def scenario(world: World) -> None:
        await world.truth(await world.inbound(lastsSeconds=1, messages={"report": "doubled"}))

        first, second = world.heard[-2:]
        assert first != second
        assert first["endedAt"] == second["endedAt"]

    play(scenario)


def test_given_a_doubled_request_when_both_are_answered_then_one_call_begins() -> None:
    async def scenario(world: World) -> None:
        await world.truth(
            await world.inbound(lastsSeconds=1, messages={"assistant-request": "doubled"})
        )

        assert world.said().count("assistant-request") == 2
        assert world.said().count("in-progress") == 1

    play(scenario)


@pytest.mark.parametrize("answer", [httpx.ConnectError("down"), httpx.Response(503)])
def test_given_a_voxbilling_that_is_down_when_nothing_is_planned_then_a_message_is_lost(
    answer: Answer,
) -> None:
    async def scenario(world: World) -> None:
        world.answer = lambda message: (
            answer if message["type"] == "end-of-call-report" else httpx.Response(200, json={})
        )
        truth = await world.truth(await world.outbound(lastsSeconds=1))

        assert world.said().count("end-of-call-report") == 1
        assert truth["messages"][-1]["outcome"] in {"ConnectError", 503}

    play(scenario)


def test_given_a_backoff_plan_when_voxbilling_comes_back_then_it_gets_the_very_same_message() -> (
    None
):
    async def scenario(world: World) -> None:
        def answer(message: dict[str, Any]) -> Answer:
            reports = world.said().count("end-of-call-report")
            is_back = message["type"] != "end-of-call-report" or reports > 2
            return httpx.Response(200, json={}) if is_back else httpx.Response(500)

        world.answer = answer
        plan = {"type": "exponential", "maxRetries": 5, "baseDelaySeconds": 2}
        truth = await world.truth(await world.outbound(lastsSeconds=1, backoffPlan=plan))

        first, second, third = world.heard[-3:]
        assert first == second == third
        sent = truth["messages"][-3:]
        assert [one["outcome"] for one in sent] == [500, 500, 200]
        assert moment(sent[2]["at"]) - moment(sent[1]["at"]) >= timedelta(seconds=4)

    play(scenario)


# Vapi's API


def test_given_a_live_call_when_it_is_looked_up_then_only_while_it_lives_it_can_be_controlled() -> (
    None
):
    async def scenario(world: World) -> None:
        call_id = await world.inbound(lastsSeconds=600)
        await world.until_live(call_id)
        live = (await world.vapi.get(f"/call/{call_id}")).json()
        await world.control(call_id, type="end-call")
        truth = await world.truth(call_id)
        over = (await world.vapi.get(f"/call/{call_id}")).json()

        assert live["status"] == "in-progress"
        assert live["monitor"]["controlUrl"] == f"http://sandbox/vapi/call/{call_id}/control"
        assert live["type"] == "inboundPhoneCall"
        assert live["assistantId"] == ASSISTANT_ID
        assert live["phoneNumberId"] == PHONE_NUMBER_ID
        assert not live.keys() & {"endedAt", "endedReason", "cost"}
        assert over["status"] == "ended"
        assert over["startedAt"] == live["startedAt"] == truth["startedAt"]
        assert over["endedAt"] == truth["endedAt"]
        assert over["endedReason"] == "assistant-ended-call"
        assert over["cost"] > 0
        assert over["updatedAt"] > live["updatedAt"]
        assert "monitor" not in over

    play(scenario)


def test_given_an_unknown_call_or_no_key_when_it_is_looked_up_then_vapi_says_no() -> None:
    async def scenario(world: World) -> None:
        assert (await world.vapi.get("/call/unknown")).status_code == 404
        del world.vapi.headers["Authorization"]
        assert (await world.vapi.get("/call/unknown")).status_code == 401
        assert (await world.vapi.get("/call")).status_code == 401
        assert (await world.vapi.post("/call", json={})).status_code == 401

    play(scenario)


def test_given_lookups_that_fail_when_the_call_is_asked_for_again_then_it_is_shown() -> None:
    async def scenario(world: World) -> None:
        call_id = await world.outbound(lastsSeconds=600, lookupFailures=2)
        statuses = [(await world.vapi.get(f"/call/{call_id}")).status_code for _ in range(3)]

        assert statuses == [503, 503, 200]

    play(scenario)


@pytest.mark.parametrize(
    ("operation", "path"), [("get-call", "/call/unknown"), ("list-calls", "/call")]
)
def test_given_a_fault_that_was_asked_for_when_the_api_is_used_then_it_happens(
    operation: str, path: str
) -> None:
    async def scenario(world: World) -> None:
        fault = {"provider": "vapi", "operation": operation, "fault": "429"}
        await world.vapi.post("http://sandbox/faults", json=fault)

        assert (await world.vapi.get(path)).status_code == 429

    play(scenario)


def test_given_many_calls_when_they_are_listed_then_the_newest_come_first_and_filters_hold() -> (
    None
):
    async def scenario(world: World) -> None:
        ids = []
        for _ in range(5):
            ids.append(await world.outbound(lastsSeconds=1, reportAfterSeconds=0))
            await world.clock.sleep(1)
        for call_id in ids:
            await world.truth(call_id)
        other = await world.inbound(lastsSeconds=1)
        await world.truth(other)

        async def listed(**query: str) -> list[str]:
            answer = await world.vapi.get("/call", params=query)
            assert answer.status_code == 200
            return [call["id"] for call in answer.json()]

        calls = {call["id"]: call for call in (await world.vapi.get("/call")).json()}
        assert await listed() == [other, *reversed(ids)]
        assert await listed(limit="2") == [other, ids[4]]
        assert await listed(limit="0") == []
        assert await listed(id=ids[2]) == [ids[2]]
        assert await listed(assistantId="unknown") == []
        assert await listed(phoneNumberId=PHONE_NUMBER_ID) == [other, *reversed(ids)]
        created, updated = calls[ids[2]]["createdAt"], calls[ids[2]]["updatedAt"]
        assert await listed(createdAtGt=created) == [other, ids[4], ids[3]]
        assert await listed(createdAtGe=created) == [other, ids[4], ids[3], ids[2]]
        assert await listed(createdAtLt=created) == [ids[1], ids[0]]
        assert await listed(createdAtLe=created, createdAtGe=created) == [ids[2]]
        assert ids[2] in await listed(updatedAtGe=updated)
        assert ids[2] not in await listed(updatedAtGt=updated)
        assert ids[2] in await listed(updatedAtLe=updated)

    play(scenario)


@pytest.mark.parametrize(
    "query",
    ["limit=1001", "limit=x", "status=ended", "createdAtGt=yesterday", "updatedAtNe=2026-01-01"],
)
def test_given_a_query_that_vapi_does_not_know_when_calls_are_listed_then_it_says_no(
    query: str,
) -> None:
    async def scenario(world: World) -> None:
        assert (await world.vapi.get(f"/call?{query}")).status_code == 400

    play(scenario)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"assistantId": "a"},
        {"assistantId": "a", "phoneNumberId": "n"},
        {"type": "chat", "assistantId": "a"},
        {"type": "webCall"},
        {"type": "webCall", "assistantId": "a", "sandbox": {"lasts": 4}},
        {"type": "webCall", "assistantId": "a", "sandbox": {"lastsSeconds": -1}},
        {"type": "webCall", "assistantId": "a", "sandbox": {"lastsSeconds": "4"}},
        {"type": "webCall", "assistantId": "a", "sandbox": {"controlFailures": 1.5}},
        {"type": "webCall", "assistantId": "a", "sandbox": {"messages": {"report": "eaten"}}},
        {"type": "webCall", "assistantId": "a", "sandbox": {"messages": {"x": "lost"}}},
        {"type": "webCall", "assistantId": "a", "sandbox": {"backoffPlan": {"maxRetries": 11}}},
        {"type": "webCall", "assistantId": "a", "assistantOverrides": {"maxDurationSeconds": 9}},
    ],
)
def test_given_a_call_that_cannot_be_when_it_is_started_then_a_sentence_says_why(
    body: dict[str, Any],
) -> None:
    async def scenario(world: World) -> None:
        answer = await world.vapi.post("/call", json=body)

        assert answer.status_code == 400
        assert answer.json()["message"]
        assert all_calls(world) == []

    play(scenario)


# Many calls


def all_calls(world: World) -> list[calls.Call]:
    return list(world.calls.oldest_first())


def test_given_hundreds_of_calls_at_once_when_they_are_over_then_each_told_all() -> None:
    async def scenario(world: World) -> None:
        ids = [await world.inbound(lastsSeconds=30) for _ in range(400)]
        await world.until(lambda: all(call.status == "ended" for call in all_calls(world)))
        await world.until(lambda: all(call.pending == 0 for call in all_calls(world)))

        assert [call.id for call in all_calls(world)] == ids
        assert len(world.heard) == 4 * 400

    play(scenario, speed=20)


def test_given_more_calls_than_are_remembered_when_they_are_over_then_the_oldest_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "_MOST_CALLS", 3)

    async def scenario(world: World) -> None:
        ids = [await world.outbound(lastsSeconds=600) for _ in range(3)]
        refused = await world.vapi.post("/call", json={"type": "webCall", "assistantId": "a"})
        assert refused.status_code == 429
        await world.until_live(ids[1])
        await world.control(ids[1], type="end-call")
        await world.truth(ids[1])
        newest = await world.outbound(lastsSeconds=600)

        assert [call.id for call in world.calls.oldest_first()] == [ids[0], ids[2], newest]

    play(scenario)


def test_given_the_truth_when_it_is_read_in_pages_then_nothing_is_missing() -> None:
    async def scenario(world: World) -> None:
        ids = [await world.outbound(lastsSeconds=1) for _ in range(5)]
        found, after = [], 0
        while page := (
            await world.vapi.get("/sandbox/calls", params={"after": after, "limit": 2})
        ).json()["calls"]:
            found += [truth["id"] for truth in page]
            after = page[-1]["number"]

        assert found == ids

    play(scenario)
