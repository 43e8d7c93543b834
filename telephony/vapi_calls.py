"""Calls as Vapi's own records have them. Never called under a lock or in a transaction."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from urllib.parse import quote

import httpx
from django.conf import settings

from voxbilling.untrusted import (
    MalformedBody,
    clean_control_url,
    clean_moment,
    clean_number,
    clean_reason,
    clean_text,
    cost_text,
    load,
    value_at,
)

# The most that Vapi lists at once.
LONGEST_LIST = 1000
# A long list carries transcripts, which take their time.
_READ_TIMEOUT_SECONDS = 20.0
# When Vapi asks for patience without saying how much, and the most that is believed of it.
_PATIENCE_SECONDS = 10
_LONGEST_PATIENCE_SECONDS = 300


class VapiRequestFailed(Exception):
    """Vapi did not say what was asked. The text names no URL."""


class CallUnknown(VapiRequestFailed):
    """Vapi knows no call by this id."""


class VapiBusy(VapiRequestFailed):
    """Vapi wants to be left alone for `retry_after_seconds`."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"Vapi is busy, and can be asked again in {retry_after_seconds} s.")
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """What billing needs of a call; what Vapi does not say, or not usably, is None.

    Moments are in UTC. `cost_usd` is what Vapi charges the operator.
    """

    id: str
    type: str | None
    status: str | None
    started_at: datetime | None
    ended_at: datetime | None
    ended_reason: str | None
    cost_usd: Decimal | None
    squad_id: str | None
    assistant_id: str | None
    phone_number_id: str | None
    number: str | None
    control_url: str | None = field(repr=False)
    updated_at: datetime | None


def get_call(vapi_call_id: str) -> CallRecord:
    """What Vapi has on record of a call. Raises CallUnknown, VapiBusy, VapiRequestFailed."""
    record = _record(_get(f"/call/{quote(vapi_call_id, safe='')}"))
    if record is None or record.id != vapi_call_id:
        raise VapiRequestFailed("Vapi answered with something other than the call asked for.")
    return record


@dataclass(frozen=True)
class CallList:
    """What Vapi listed of the calls that it updated in some time; `is_whole` if that is all.

    What could not be read as a call is left out.
    """

    records: list[CallRecord]
    is_whole: bool


def list_calls(
    *, updated_from: datetime, updated_to: datetime, limit: int = LONGEST_LIST
) -> CallList:
    """The calls that Vapi updated from one moment until before another.

    At most `limit` (1 to 1000), which were created last: if that is not the whole list, a shorter
    time has to be asked for. Raises VapiBusy, VapiRequestFailed.
    """
    listed = _get(
        "/call",
        {
            "updatedAtGe": updated_from.isoformat(),
            "updatedAtLt": updated_to.isoformat(),
            "limit": str(limit),
        },
    )
    if not isinstance(listed, list):
        raise VapiRequestFailed("Vapi answered with something other than a list of calls.")
    return CallList(
        records=[record for record in map(_record, listed) if record is not None],
        is_whole=len(listed) < limit,
    )


def _get(path: str, query: dict[str, str] | None = None) -> object:
    """The JSON that Vapi answers a question with; nothing in it is to be trusted."""
    try:
        response = httpx.get(
            f"{settings.VAPI_API_URL}{path}",
            params=query,
            headers={"Authorization": f"Bearer {settings.VAPI_API_KEY}"},
            timeout=_READ_TIMEOUT_SECONDS,
        )
    except httpx.HTTPError as error:
        raise VapiRequestFailed(f"Vapi's API failed: {type(error).__name__}.") from None
    if response.status_code == HTTPStatus.NOT_FOUND:
        raise CallUnknown("Vapi knows no call by this id.")
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        raise VapiBusy(_patience_seconds(response.headers.get("Retry-After")))
    if not response.is_success:
        raise VapiRequestFailed(f"Vapi's API answered {response.status_code}.")
    try:
        return load(response.content)
    except MalformedBody:
        raise VapiRequestFailed("Vapi's API answered with something other than JSON.") from None


def _patience_seconds(retry_after: str | None) -> int:
    # The header can be a date as well, which Vapi was not seen to use.
    if retry_after is None or not retry_after.isascii() or not retry_after.isdecimal():
        return _PATIENCE_SECONDS
    return min(max(int(retry_after[:9]), 1), _LONGEST_PATIENCE_SECONDS)


def _record(shown: object) -> CallRecord | None:
    """A call as Vapi's API shows it; None if it has no id that could be kept."""
    call_id = clean_text(value_at(shown, "id"))
    if call_id is None:
        return None
    cost = cost_text(value_at(shown, "cost"))
    return CallRecord(
        id=call_id,
        type=clean_text(value_at(shown, "type")),
        status=clean_text(value_at(shown, "status")),
        started_at=clean_moment(value_at(shown, "startedAt")),
        ended_at=clean_moment(value_at(shown, "endedAt")),
        ended_reason=clean_reason(value_at(shown, "endedReason")),
        cost_usd=clean_number(cost),
        squad_id=clean_text(value_at(shown, "squadId")),
        assistant_id=clean_text(value_at(shown, "assistantId")),
        phone_number_id=clean_text(value_at(shown, "phoneNumberId")),
        number=clean_text(value_at(shown, "phoneNumber", "number")),
        control_url=clean_control_url(value_at(shown, "monitor", "controlUrl")),
        updated_at=clean_moment(value_at(shown, "updatedAt")),
    )
