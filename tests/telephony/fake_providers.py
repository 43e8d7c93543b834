"""Twilio and Vapi in memory, behind the real clients, with a fault wherever a test wants one.

A fault happens before the provider did what it was asked, or after. It is an exception that the
client meets (a time-out, or `Died`: the process is gone), or a status that is answered.
"""

import threading
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.db import connection


class Died(BaseException):
    """The process is gone at this point: nothing of ours runs after it."""


TIME_OUT = httpx.ReadTimeout("no answer")
UNREACHABLE = httpx.ConnectError("nobody there")

SEARCH, BUY, LIST, RELEASE = "twilio search", "twilio buy", "twilio list", "twilio release"
IMPORT, VAPI_LIST, VAPI_RELEASE = "vapi import", "vapi list", "vapi release"


@dataclass
class Fault:
    """`what`: an exception, or (status, body). Without `times`, it stays."""

    what: Any
    done: bool
    times: int | None = 1


@dataclass
class FakeProviders:
    """What both providers have, and what they were asked, in order."""

    for_sale: list[dict[str, Any]] = field(default_factory=list)
    twilio: dict[str, dict[str, str]] = field(default_factory=dict)
    vapi: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    in_transaction: list[str] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    hooks: dict[str, Any] = field(default_factory=dict)
    # Whether an account can buy its own number again, which gives it the new name.
    sells_again: bool = False
    lock: Any = field(default_factory=threading.RLock)

    def offer(self, *numbers: str, address_requirements: str = "none") -> None:
        self.for_sale += [
            {
                "phone_number": number,
                "locality": "London",
                "region": "",
                "address_requirements": address_requirements,
            }
            for number in numbers
        ]

    def fail(self, operation: str, what: Any, *, done: bool = False, times: int | None = 1) -> None:
        self.faults[operation].append(Fault(what, done, times))

    def count(self, operation: str) -> int:
        return self.asked.count(operation)

    def request(self, method: str, url: str, **sent: Any) -> httpx.Response:
        """In the place of httpx.request."""
        path = urlsplit(url).path
        operation = self._operation(method, path)
        with self.lock:
            self.asked.append(operation)
            if connection.in_atomic_block:
                self.in_transaction.append(operation)
            fault = self._fault(operation)
        if operation in self.hooks:
            self.hooks[operation](self)
        if fault and not fault.done:
            return self._meet(fault)
        with self.lock:
            status, body = self._do(operation, path, sent)
        if fault:
            return self._meet(fault)
        return self._response(status, body)

    def _operation(self, method: str, path: str) -> str:
        if path.startswith("/vapi"):
            return {"POST": IMPORT, "GET": VAPI_LIST, "DELETE": VAPI_RELEASE}[method]
        if "AvailablePhoneNumbers" in path:
            return SEARCH
        return {"POST": BUY, "GET": LIST, "DELETE": RELEASE}[method]

    def _fault(self, operation: str) -> Fault | None:
        waiting = self.faults[operation]
        if not waiting:
            return None
        fault = waiting[0]
        if fault.times is not None:
            fault.times -= 1
            if fault.times == 0:
                waiting.pop(0)
        return fault

    def _meet(self, fault: Fault) -> httpx.Response:
        if isinstance(fault.what, BaseException):
            raise fault.what
        if isinstance(fault.what, type):
            raise fault.what()
        return self._response(*fault.what)

    @staticmethod
    def _response(status: int, body: Any) -> httpx.Response:
        if body is None:
            return httpx.Response(status)
        return httpx.Response(status, json=body)

    def _do(self, operation: str, path: str, sent: dict[str, Any]) -> tuple[int, Any]:
        if operation == SEARCH:
            taken = {each["phone_number"] for each in self.twilio.values()}
            free = [each for each in self.for_sale if each["phone_number"] not in taken]
            return 200, {"available_phone_numbers": free, "uri": path}
        if operation == BUY:
            return self._buy(sent["data"])
        if operation == LIST:
            key = sent["params"].get("FriendlyName")
            owned = [each for each in self.twilio.values() if each["friendly_name"] == key]
            return 200, {"incoming_phone_numbers": owned, "uri": path}
        if operation == RELEASE:
            sid = path.rsplit("/", 1)[-1].removesuffix(".json")
            gone = self.twilio.pop(sid, None)
            return (204, None) if gone else (404, {"code": 20404, "message": "not found"})
        if operation == IMPORT:
            return self._import(sent["json"])
        if operation == VAPI_LIST:
            return 200, list(self.vapi.values())
        gone = self.vapi.pop(path.rsplit("/", 1)[-1], None)
        return (200, gone) if gone else (404, {"message": "not found"})

    def _buy(self, form: dict[str, Any]) -> tuple[int, Any]:
        number = form["PhoneNumber"]
        for each in self.twilio.values():
            if each["phone_number"] == number and self.sells_again:
                each["friendly_name"] = form["FriendlyName"]
                return 201, each
        if any(each["phone_number"] == number for each in self.twilio.values()):
            return 400, {"code": 21422, "message": f"{number} is not available"}
        bought = {
            "sid": f"PN{uuid.uuid4().hex}",
            "phone_number": number,
            "friendly_name": form["FriendlyName"],
            "bundle_sid": form.get("BundleSid"),
            "address_sid": form.get("AddressSid"),
        }
        self.twilio[bought["sid"]] = bought
        return 201, bought

    def _import(self, body: dict[str, Any]) -> tuple[int, Any]:
        if any(each["number"] == body["number"] for each in self.vapi.values()):
            return 400, {"message": "This number exists already."}
        imported = {"id": str(uuid.uuid4()), "number": body["number"], "name": body["name"]}
        self.vapi[imported["id"]] = imported
        return 201, imported
