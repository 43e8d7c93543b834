"""What the program logs, as it writes it."""

import io
import json as json_format
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from voxbilling import logs


@contextmanager
def logged(*, json: bool) -> Iterator[io.StringIO]:
    """All that is logged meanwhile, as the program writes it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure(json=json)
    written = io.StringIO()
    for handler in root.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(written)
    try:
        yield written
    finally:
        logs.configure(json=False)
        root.handlers[:] = handlers
        root.setLevel(level)


def lines_of(written: io.StringIO) -> list[dict[str, Any]]:
    """The lines of a log in JSON."""
    return [json_format.loads(line) for line in written.getvalue().splitlines()]
