"""All that this Stripe knows: its objects as it would show them, by their kinds and ids.

A field whose name begins with an underscore is the sandbox's own, and shown to nobody.
"""

import asyncio
import copy
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from voxbilling.stack.sandbox.clock import Clock
from voxbilling.stack.sandbox.memory import Memory, Records
from voxbilling.stack.sandbox.stripe.errors import Refused, missing
from voxbilling.stack.sandbox.stripe.forms import Params

Object = dict[str, Any]

_PREFIXES = {
    "customer": "cus",
    "payment_method": "pm",
    "payment_intent": "pi",
    "checkout.session": "cs_test",
    "charge": "ch",
    "refund": "re",
    "dispute": "du",
    "event": "evt",
}
# Each payment makes one of most kinds and some events.
_MOST = {"event": 10_000}
_MOST_OF_A_KIND = 2_000
_MOST_KEYS = 2_000
# Writing all of it down takes too long to be done at each change.
_KEEP_AFTER_SECONDS = 1
_LISTED, _MOST_LISTED = 10, 100


class Objects:
    """The objects, the oldest of a kind forgotten when there are too many."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock
        self._kinds = {kind: memory.records(f"stripe {kind}") for kind in _PREFIXES}
        # What was answered under each idempotency key.
        self._answers = memory.records("stripe idempotency keys")
        self._keeping: asyncio.TimerHandle | None = None

    def now(self) -> int:
        """The time in epoch seconds."""
        return int(self._clock.now().timestamp())

    def add(self, kind: str, fields: Object) -> Object:
        records = self._kinds[kind]
        made: Object = {
            "id": f"{_PREFIXES[kind]}_{uuid.uuid4().hex[:24]}",
            "object": kind,
            "created": self.now(),
            "livemode": False,
            **fields,
        }
        _make_room(records, _MOST.get(kind, _MOST_OF_A_KIND))
        records[made["id"]] = made
        self.changed()
        return made

    def get(self, kind: str, id_: str, *, param: str = "id") -> Object:
        """Raises Refused as Stripe does for an unknown id; `param` is where it came from."""
        found = self._kinds[kind].get(id_)
        if found is None:
            raise missing(kind, id_, param=param)
        return found

    def newest_first(self, kind: str) -> Iterator[Object]:
        return reversed(self._kinds[kind].values())

    def changed(self) -> None:
        """Something was changed in place: it is to be kept soon."""
        if self._keeping is None:
            loop = asyncio.get_running_loop()
            self._keeping = loop.call_later(_KEEP_AFTER_SECONDS, self.keep)

    def keep(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
            self._memory.keep()

    def answer_under(self, key: str) -> Object | None:
        return self._answers.get(key)

    def keep_answer(self, key: str, answer: Object) -> None:
        _make_room(self._answers, _MOST_KEYS)
        self._answers[key] = answer
        self.changed()

    def shown(self, found: Object, expand: list[str] | None = None) -> Object:
        """A copy of an object for the outside, with the objects that `expand` names in it."""
        shown = _public(found)
        for path in expand or []:
            self._expand(shown, path.split("."), path)
        return shown

    def listed(
        self, kind: str, params: Params, *, url: str, keep: Callable[[Object], bool]
    ) -> Object:
        """A page of those that `keep` wants, newest first, as `params` bound it."""
        created = params.inside("created")
        created.only({"gt", "gte", "lt", "lte"})
        since = max(created.whole("gte") or 0, (created.whole("gt") or -1) + 1)
        before, until = created.whole("lt"), created.whole("lte")
        found = [
            each
            for each in self.newest_first(kind)
            if keep(each)
            and each["created"] >= since
            and (before is None or each["created"] < before)
            and (until is None or each["created"] <= until)
        ]
        limit = params.whole("limit")
        limit = _LISTED if limit is None else limit
        if not 1 <= limit <= _MOST_LISTED:
            raise Refused(400, f"limit is 1 to {_MOST_LISTED}.", param="limit")
        after = params.text("starting_after")
        if after is not None:
            self.get(kind, after, param="starting_after")
            ids = [each["id"] for each in found]
            found = found[ids.index(after) + 1 :] if after in ids else found
        page = {
            "object": "list",
            "url": url,
            "has_more": len(found) > limit,
            "data": [_public(each) for each in found[:limit]],
        }
        for path in params.texts("expand"):
            self._expand(page, path.split("."), path)
        return page

    def _expand(self, shown: Any, steps: list[str], path: str) -> None:
        if isinstance(shown, list):
            for each in shown:
                self._expand(each, steps, path)
            return
        if not isinstance(shown, dict) or steps[0] not in shown or steps[0] == "id":
            raise Refused(400, f"This property cannot be expanded ({path}).", param="expand")
        step, rest = steps[0], steps[1:]
        if isinstance(shown[step], str):
            found = self._by_id(shown[step])
            if found is None:
                raise Refused(400, f"This property cannot be expanded ({path}).", param="expand")
            shown[step] = _public(found)
        if rest and shown[step] is not None:
            self._expand(shown[step], rest, path)

    def _by_id(self, id_: str) -> Object | None:
        return next((records[id_] for records in self._kinds.values() if id_ in records), None)


def _public(found: Object) -> Object:
    return copy.deepcopy({key: value for key, value in found.items() if key[0] != "_"})


def _make_room(records: Records, most: int) -> None:
    while len(records) >= most:
        del records[next(iter(records))]
