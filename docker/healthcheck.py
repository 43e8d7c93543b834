"""Whether the process of this container does its work; exit code 0 if so. Needs no curl.

python docker/healthcheck.py web|beat
"""

import http.client
import os
import sys
import time
from pathlib import Path

# Beat writes its schedule down at least every three minutes, while it sends tasks.
BEAT_IS_SILENT_AFTER_SECONDS = 600


def web() -> bool:
    """Whether the web server answers."""
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=5)
    connection.request("GET", "/healthz")
    return connection.getresponse().status == http.HTTPStatus.OK


def beat() -> bool:
    """Whether beat has written its schedule lately. The file's ending depends on the platform."""
    files = Path(os.environ["VOXBILLING_DATA_DIR"]).glob("celerybeat-schedule*")
    written_at = max((file.stat().st_mtime for file in files), default=0.0)
    return time.time() - written_at < BEAT_IS_SILENT_AFTER_SECONDS


if __name__ == "__main__":
    sys.exit(0 if {"web": web, "beat": beat}[sys.argv[1]]() else 1)
