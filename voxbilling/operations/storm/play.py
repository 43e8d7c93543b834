"""Playing a storm: calls at the sandbox, and disturbances of the stack, each at its moment."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from voxbilling.capacity import WEB_WORKERS, WEBHOOK_PLACES
from voxbilling.operations.storm.plan import Disturbance, Plan, PlannedCall
from voxbilling.operations.storm.wallets import Account

_TIMEOUT_SECONDS = 30
_LOOK_SECONDS = 1.0
# As many as web answers at once.
_MOST_UNANSWERED = WEB_WORKERS * WEBHOOK_PLACES
_BRAKE_SECONDS = 0.1
_API_IS_DOWN_SECONDS = 8.0
_API_FAULTS = [("get-call", "500"), ("list-calls", "timeout_before")]
# The longest that all calls can go on after the last has started: the longest talk, its late
# report, and that report's retries.
_LONGEST_END_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What happened to a call according to the sandbox; `seconds` is 0 if it never connected."""

    id: str
    connected: bool
    seconds: int
    ended_at: datetime | None
    ended_reason: str | None
    end_accepted_at: datetime | None
    control_requests: int
    messages: list[dict[str, Any]]

    def __str__(self) -> str:
        messages = ", ".join(f"{sent['message']} {sent['outcome']}" for sent in self.messages)
        return (
            f"Call {self.id} ({self.ended_reason}, {self.seconds} s; {messages}; control URL asked "
            f"{self.control_requests} times)"
        )


async def play(
    plan: Plan,
    accounts: list[Account],
    sandbox_url: str,
    *,
    disturb: Callable[[Disturbance], None],
    on_start: Callable[[], None],
) -> list[Truth]:
    """Play all of a plan; what happened, once every call is over and its last message is sent.

    `disturb` is called for each disturbance, and sees to those of the stack; `on_start` for each
    call that started. Raises httpx.HTTPError if the sandbox does not do what it should.
    """
    async with httpx.AsyncClient(
        trust_env=False,
        base_url=sandbox_url,
        timeout=_TIMEOUT_SECONDS,
        headers={"Authorization": "Bearer storm"},
    ) as sandbox:
        lag_seconds = 0.0
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, call in enumerate(plan.calls):
                for disturbance in (kind for at, kind in plan.disturbances if at == number):
                    disturb(disturbance)
                    if disturbance is Disturbance.API_DOWN:
                        tasks.create_task(_take_api_down(sandbox))
                wait_seconds = began + lag_seconds + call.starts_at_seconds - time.monotonic()
                await asyncio.sleep(wait_seconds)
                lag_seconds += await _until_it_keeps_up(sandbox)
                path, body = _request(call, accounts[call.wallet])
                (await sandbox.post(path, json=body)).raise_for_status()
                on_start()
        return await _truths(sandbox)


async def _until_it_keeps_up(sandbox: httpx.AsyncClient) -> float:
    """Wait until voxbilling has answered most messages; returns for how many seconds.

    On a slow machine the storm takes longer: what it proves is not how much a machine can take.
    """
    began = time.monotonic()
    while True:
        answer = await sandbox.get("/vapi/sandbox/calls", params={"limit": 0})
        if answer.raise_for_status().json()["unansweredMessages"] < _MOST_UNANSWERED:
            return time.monotonic() - began
        await asyncio.sleep(_BRAKE_SECONDS)


def _request(call: PlannedCall, account: Account) -> tuple[str, dict[str, Any]]:
    """How a call is started at the sandbox: where, and with what."""
    body: dict[str, Any] = {"sandbox": call.script}
    if call.call_type != "webCall":
        body |= {
            "phoneNumberId": account.phone_number_id,
            "phoneNumber": {"number": account.phone_number},
            "customer": {"number": "+447700900123"},
        }
    if call.call_type == "inboundPhoneCall":
        return "/vapi/sandbox/inbound-call", body
    return "/vapi/call", body | {"type": call.call_type, "assistantId": account.assistant_id}


async def _take_api_down(sandbox: httpx.AsyncClient) -> None:
    for operation, fault in _API_FAULTS:
        body = {"provider": "vapi", "operation": operation, "fault": fault, "times": 1_000}
        (await sandbox.post("/faults", json=body)).raise_for_status()
    await asyncio.sleep(_API_IS_DOWN_SECONDS)
    (await sandbox.delete("/faults")).raise_for_status()


async def _truths(sandbox: httpx.AsyncClient) -> list[Truth]:
    """Every call, once nothing more will happen to it."""
    truths: list[Truth] = []
    after = 0
    give_up_at = time.monotonic() + _LONGEST_END_SECONDS
    while True:
        answer = await sandbox.get("/vapi/sandbox/calls", params={"after": after})
        page = answer.raise_for_status().json()["calls"]
        if not page:
            return truths
        for shown in page:
            if not shown["isDone"]:
                break
            after = shown["number"]
            truths.append(_truth(shown))
        else:
            continue
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"Call {shown['id']} does not end: {shown}")
        await asyncio.sleep(_LOOK_SECONDS)


def _truth(shown: dict[str, Any]) -> Truth:
    def moment(name: str) -> datetime | None:
        return datetime.fromisoformat(shown[name]) if shown[name] else None

    return Truth(
        id=shown["id"],
        connected=shown["connected"],
        seconds=shown["seconds"],
        ended_at=moment("endedAt"),
        ended_reason=shown["endedReason"],
        end_accepted_at=moment("endAcceptedAt"),
        control_requests=shown["controlRequests"],
        messages=shown["messages"],
    )
