"""What the sandbox knows beyond its own end.

Phone numbers that the database has must not be sold a second time after a restart, and can still be
released.
"""

import json
from pathlib import Path
from typing import Any

from voxbilling.stack.paths import write_private_json

Records = dict[str, dict[str, Any]]


class Memory:
    """Records by key, of several kinds, in one file; without a file they end with the process."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._kinds: dict[str, Records] = {}
        if file is not None and file.exists():
            self._kinds = json.loads(file.read_text())

    def records(self, kind: str) -> Records:
        """The records of a kind, to be changed in place and then kept."""
        return self._kinds.setdefault(kind, {})

    def keep(self) -> None:
        if self._file is not None:
            write_private_json(self._file, self._kinds)
