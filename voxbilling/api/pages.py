"""Pages by key: a cursor says after which row, and in which direction, the next page begins.

A list is sorted, newest first, by a key that never changes. A page that begins after a key stays
the same while newer rows come.
"""

import base64
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rest_framework import serializers

from voxbilling.api.fields import WholeNumberParameter

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Where a page begins: with the rows older, or newer, than the row that has this key.

    str(key) must be text that the list's `read_key` makes the same key of.
    """

    key: Any
    towards_newer: bool

    def __str__(self) -> str:
        """Opaque to clients. The checksum tells a cursor that was cut from another cursor."""
        content = f"{'newer' if self.towards_newer else 'older'} {self.key}".encode()
        checked = zlib.crc32(content).to_bytes(4, "big") + content
        return base64.urlsafe_b64encode(checked).decode().rstrip("=")


def read_cursor(text: str, read_key: Callable[[str], Any]) -> Cursor:
    """The cursor that was written as this text. Raises ValueError if none was."""
    checked = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    direction, key = checked[4:].decode().split(" ", 1)
    cursor = Cursor(key=read_key(key), towards_newer=direction == "newer")
    if str(cursor) != text:
        raise ValueError("No cursor is written like this.")
    return cursor


def cursor_or_first(text: str, read_key: Callable[[str], Any]) -> Cursor | None:
    """As `read_cursor`; None, which is the first page, for an address that was cut short."""
    try:
        return read_cursor(text, read_key) if text else None
    except ValueError:
        return None


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Row]):
    """Rows, newest first, and the cursors of what is older (next) and newer (previous)."""

    rows: Sequence[Row]
    limit: int
    next: Cursor | None
    previous: Cursor | None


def page_of(
    fetched: Sequence[Row], *, limit: int, cursor: Cursor | None, key: Callable[[Row], Any]
) -> Page[Row]:
    """The page at `cursor`, from up to limit + 1 rows, those closest to the cursor first.

    The row too many is how a page knows that it is not the last one in its direction.
    """
    towards_newer = cursor is not None and cursor.towards_newer
    has_more = len(fetched) > limit
    rows = list(fetched[:limit])
    if towards_newer:
        rows.reverse()
    has_older = has_more or towards_newer
    has_newer = has_more if towards_newer else cursor is not None
    return Page(
        rows=rows,
        limit=limit,
        next=Cursor(key=key(rows[-1]), towards_newer=False) if rows and has_older else None,
        previous=Cursor(key=key(rows[0]), towards_newer=True) if rows and has_newer else None,
    )


class CursorField(serializers.CharField):
    """A query parameter that holds a cursor; `read_key` raises ValueError for what is no key."""

    default_error_messages = {
        "damaged": "This cursor is damaged: send one as an answer gave it, or none."
    }

    def __init__(self, read_key: Callable[[str], Any]) -> None:
        super().__init__(
            required=False, help_text="`next` or `previous` of the pagination of another page."
        )
        self.read_key = read_key

    def to_internal_value(self, data: Any) -> Any:
        try:
            return read_cursor(super().to_internal_value(data), self.read_key)
        except ValueError:
            self.fail("damaged")


class PageQuerySerializer(serializers.Serializer[Any]):
    """Query parameters of a list, which adds `cursor = CursorField(…)` and filters of its own."""

    limit = WholeNumberParameter(
        min_value=1, max_value=100, default=20, help_text="How many rows a page has at most."
    )


class PaginationSerializer(serializers.Serializer[Any]):
    """`pagination` of every list; the row list is beside it. Take it from a `Page`, source="*"."""

    limit = serializers.IntegerField(min_value=1, max_value=100)
    next = serializers.CharField(
        allow_null=True, help_text="The `cursor` of the older rows that follow; null at the end."
    )
    previous = serializers.CharField(
        allow_null=True, help_text="The `cursor` of the newer rows before; null at the beginning."
    )
