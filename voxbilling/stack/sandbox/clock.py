"""The sandbox's time: the wall clock, which tests let run faster."""

import asyncio
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Tells the time and waits. At speed 100 a second of the sandbox takes 10 ms."""

    def __init__(self, speed: float = 1) -> None:
        self._speed = speed
        self._start = datetime.now(UTC)
        self._started = time.monotonic()

    def now(self) -> datetime:
        """In UTC, cut to milliseconds as Vapi writes its dates."""
        passed_seconds = (time.monotonic() - self._started) * self._speed
        now = self._start + timedelta(seconds=passed_seconds)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event, at most so long; whether it came."""
        try:
            async with asyncio.timeout(seconds / self._speed):
                await event.wait()
        except TimeoutError:
            return False
        return True
