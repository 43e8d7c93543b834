"""A stack to be disturbed by the command that runs on it, which asks for that by signal.

There are two workers for calls. SIGUSR1 kills a worker as `kill -9` does, SIGUSR2 restarts the
database. What was stopped is started again; everything else that ends by itself stops the stack,
as ever.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import FrameType

from voxbilling.stack.processes import Child, Program
from voxbilling.stack.servers import Servers
from voxbilling.stack.supervisor import Supervisor

# Tells the command which process listens: to any other these signals are deadly.
LISTENER = "VOXBILLING_STORM_PID"
# Whatever names servers, providers or secrets would lead out of the storm.
_NAMES = (
    *("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "SENTRY_DSN"),
    *("VAPI_API_KEY", "VAPI_API_URL", "VAPI_WEBHOOK_SECRETS", "VAPI_WEBHOOK_HMAC_SECRETS"),
    *("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_API_URL"),
    *("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_URL", "SITE_URL", "EMAIL_URL"),
)

Disturbance = Callable[[Servers], None]


@dataclass
class StormSupervisor(Supervisor):
    """Runs a stack that is shut off from what the environment names, and disturbs it when asked."""

    _asked: list[Disturbance] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Set and empty, so that `.env` cannot set them either.
        os.environ |= dict.fromkeys(_NAMES, "") | {"DEBUG": "1", LISTENER: str(os.getpid())}
        signal.signal(signal.SIGUSR1, self._ask(self._kill_worker))
        signal.signal(signal.SIGUSR2, self._ask(Servers.restart_database))

    def _ask(
        self, disturbance: Callable[[Servers], None]
    ) -> Callable[[int, FrameType | None], None]:
        return lambda _number, _frame: self._asked.append(disturbance)

    def _disturb(self, servers: Servers) -> None:
        while self._asked:
            self._asked.pop(0)(servers)

    def _run_command(self, program: Program, servers: Servers) -> int:
        # One alone would leave nobody to end calls for as long as it takes to start again.
        first = self._workers()[0].program
        second = replace(
            first, name="worker-2", arguments=[*first.arguments, "--hostname", "second@%h"]
        )
        servers.launch(second, self._services)
        return super()._run_command(program, servers)

    def _kill_worker(self, servers: Servers) -> None:
        """Kill the worker that has run longest."""
        worker = self._workers()[0]
        os.killpg(worker.pid, signal.SIGKILL)
        worker.process.wait()
        self._services.remove(worker)
        servers.launch(worker.program, self._services)

    def _workers(self) -> list[Child]:
        return [child for child in self._services if "worker" in child.name]
