"""One process that owns PostgreSQL, Valkey, web, workers, beat and the sandbox."""

import http.client
import json
import os
import shlex
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from types import FrameType
from typing import IO, Any

from voxbilling.capacity import PROVIDER_WORKER_THREADS, WORKER_THREADS
from voxbilling.environment import PROJECT_DIR, data_dir, read_dotenv
from voxbilling.stack import StackError, ports, processes, variables
from voxbilling.stack.embedded import publish
from voxbilling.stack.paths import DataDirectory, write_private_json
from voxbilling.stack.processes import Child, Program, wait_until
from voxbilling.stack.servers import Servers, open_owner_lock, running

# The first start compiles every module and runs every migration.
_PREPARE_SECONDS = 180
_HEALTHY_SECONDS = 60
_LOOK_SECONDS = 0.1
_PYTHON = sys.executable
MANAGE = (_PYTHON, str(PROJECT_DIR / "manage.py"))
_CELERY = (_PYTHON, "-m", "celery", "-A", "voxbilling")


def _worker(queue: str, threads: int) -> Sequence[str]:
    """A Celery worker of one queue; one process, whose threads are fewer than its database pool."""
    return (
        *(*_CELERY, "worker", "--queues", queue, "--hostname", f"{queue}@%h"),
        *("--pool", "threads", "--concurrency", str(threads)),
        # Mingling with the other worker would only delay the start.
        *("--without-mingle", "--without-gossip", "--loglevel", "INFO"),
    )


@dataclass(frozen=True)
class CommandLines:
    """What the stack runs besides the servers. Web and sandbox also get `--port N`."""

    prepare: Sequence[str] = (*MANAGE, "prepare_stack")
    web: Sequence[str] = (_PYTHON, "-m", "voxbilling.stack.web")
    sandbox: Sequence[str] = (_PYTHON, "-m", "voxbilling.stack.sandbox")
    worker: Sequence[str] = _worker("calls", WORKER_THREADS)
    provider_worker: Sequence[str] = _worker("providers", PROVIDER_WORKER_THREADS)
    # Its schedule lies in the data directory by settings. No pid file that could get stale: the
    # data directory's lock already keeps a second one away.
    beat: Sequence[str] = (*_CELERY, "beat", "--loglevel", "INFO")


class _Stop(BaseException):
    """SIGINT, SIGTERM or SIGHUP came."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass
class Supervisor:
    """Runs the stack. The command lines are a parameter for the sake of its tests."""

    commands: CommandLines = field(default_factory=CommandLines)
    _services: list[Child] = field(default_factory=list)
    _stopping: bool = False

    def run(self) -> int:
        """The stack until SIGINT or SIGTERM; the exit code. StackError if it cannot work."""
        return self._run("run", None)

    def run_for(self, name: str, command: Sequence[str]) -> int:
        """The stack while one command runs on it; the command's exit code."""
        return self._run(name, command)

    def _run(self, name: str, command: Sequence[str] | None) -> int:
        read_dotenv()
        if not variables.embedded_servers_are_meant():
            raise StackError(
                "This stack brings its own servers, and DATABASE_URL or REDIS_URL is set or DEBUG "
                "is off, in the environment or in .env: unset them, or start "
                "`python -m voxbilling.stack.web` and Celery on the servers that you named."
            )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under `nohup` the stack outlives its terminal. SIGINT counts even where a shell
            # ignored it on behalf of a job in the background.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        data = DataDirectory(data_dir())
        data_is_new = data.create()
        try:
            with ExitStack() as cleanup:
                owner = open_owner_lock(data)
                cleanup.callback(owner.close)
                if not owner.take():
                    raise StackError(
                        f"{owner.holder()} already runs the servers in {data.root}: stop it, or "
                        "name another directory in VOXBILLING_DATA_DIR."
                    )
                what = f"voxbilling.stack {name}"
                web_port = cleanup.enter_context(ports.reserve(_wanted_port())).getsockname()[1]
                sandbox_port = cleanup.enter_context(ports.reserve(0)).getsockname()[1]
                servers = cleanup.enter_context(
                    running(data, owner, what=what, data_is_new=data_is_new)
                )
                cleanup.callback(lambda: processes.stop(self._services))
                cleanup.callback(lambda: data.demo.unlink(missing_ok=True))
                cleanup.callback(self._ignore_signals)
                environment = self._start(servers, web_port, sandbox_port)
                if command is None:
                    return self._watch(servers)
                return self._run_command(Program(name, command, environment), servers)
        except _Stop as stop:
            return 0 if command is None else 128 + stop.number

    def _start(self, servers: Servers, web_port: int, sandbox_port: int) -> dict[str, str]:
        """Start everything; returns the children's environment when `demo.json` says ready."""
        base_url = f"http://127.0.0.1:{web_port}"
        sandbox_url = f"http://127.0.0.1:{sandbox_port}"
        settings = variables.for_servers(servers, sandbox_url, base_url)
        publish(servers, settings)
        environment = {
            **os.environ,
            **settings,
            "PYTHONUNBUFFERED": "1",
            # Where the sandbox's live calls post their messages.
            "VOXBILLING_URL": base_url,
        }

        def start(name: str, command: Sequence[str]) -> Child:
            return servers.launch(Program(name, command, environment), self._services)

        with tempfile.TemporaryFile("w+") as output:
            prepare = servers.launch(
                Program("prepare_stack", self.commands.prepare, environment),
                self._services,
                output=output,
            )
            start("web", [*self.commands.web, "--port", str(web_port)])
            start("sandbox", [*self.commands.sandbox, "--port", str(sandbox_port)])
            others = [child for child in self._all(servers) if child is not prepare]
            wait_until(
                lambda: prepare.exit_code is not None,
                others,
                seconds=_PREPARE_SECONDS,
                what="manage.py prepare_stack",
            )
            prepared = _prepared(prepare, output)
        self._services.remove(prepare)
        # Not before: their tasks need the tables.
        start("worker", self.commands.worker)
        start("provider-worker", self.commands.provider_worker)
        start("beat", self.commands.beat)
        wait_until(
            lambda: _is_healthy(web_port) and _is_healthy(sandbox_port),
            self._all(servers),
            seconds=_HEALTHY_SECONDS,
            what=f"The web server or the sandbox (logs in {servers.data.logs})",
        )
        facts = {
            "base_url": base_url,
            "vapi_webhook_secret": settings["VAPI_WEBHOOK_SECRETS"].split(",")[0],
            "sandbox_url": sandbox_url,
            "env": settings,
            **prepared,
        }
        write_private_json(servers.data.demo, facts)
        print(_welcome(facts, servers.data), flush=True)  # noqa: T201
        return environment

    def _watch(self, servers: Servers, *, until: Child | None = None) -> int:
        """Stay until a signal comes, or `until` ends; StackError when another child ends."""
        while until is None or until.exit_code is None:
            self._disturb(servers)
            for child in self._all(servers):
                if child.exit_code is not None and child is not until:
                    raise child.failure()
            time.sleep(_LOOK_SECONDS)
        return until.exit_code

    def _run_command(self, program: Program, servers: Servers) -> int:
        """A command as a child that speaks for itself on our output; its exit code."""
        child = servers.launch(
            program, self._services, output=sys.stdout.fileno(), errors=sys.stderr.fileno()
        )
        return self._watch(servers, until=child)

    def _disturb(self, servers: Servers) -> None:
        """What a storm does to the stack; nothing in an ordinary one."""

    def _all(self, servers: Servers) -> list[Child]:
        return [*servers.children, *self._services]

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Once: what comes while everything is being stopped must not break that off.
        if not self._stopping:
            self._stopping = True
            raise _Stop(number)

    def _ignore_signals(self) -> None:
        self._stopping = True


def _wanted_port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal():
        raise StackError(f"PORT is {text!r}: make it a number, 0 for a free port.")
    return int(text)


def _prepared(prepare: Child, output: IO[str]) -> dict[str, Any]:
    """What `prepare_stack` printed: the logins, and the organizations."""
    if prepare.exit_code != 0:
        raise prepare.failure()
    output.seek(0)
    text = output.read()
    try:
        prepared = json.loads(text)
        return {"staff": prepared["staff"], "organizations": prepared["organizations"]}
    except (ValueError, TypeError, KeyError):
        raise StackError(
            f"manage.py prepare_stack should print one JSON object with staff and organizations, "
            f"and printed: {text[-500:]!r}"
        ) from None


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _welcome(facts: Mapping[str, Any], data: DataDirectory) -> str:
    """Where the stack is, who may sign in, and commands to paste."""
    base_url, staff, organizations = facts["base_url"], facts["staff"], facts["organizations"]
    lines = [
        f"voxbilling runs at {base_url} (sandbox at {facts['sandbox_url']}).",
        "",
        f"Staff, at {base_url}/admin/: {staff['username']} / {staff['password']}",
    ]
    for organization in organizations:
        pounds, pence = divmod(organization["balance_pence"], 100)
        owner = organization["owner"]
        lines.append(
            f"{organization['name']}, £{pounds}.{pence:02}, {organization['phone_number']}: "
            f"{owner['username']} / {owner['password']}"
        )
    lines += ["", "Is it healthy?", f"  curl -s {base_url}/healthz"]
    if organizations:
        lines += [
            f"May a call to {organizations[0]['name']} begin?",
            f"  {_assistant_request(facts, organizations[0])}",
            "What is in its wallet?",
            f"  {_wallet(facts, organizations[0])}",
            f"Every address of the API is at {base_url}/api/docs/.",
        ]
    lines += ["", f"Logs are in {data.logs}. Ctrl-C stops everything."]
    return "\n".join(lines)


def _wallet(facts: Mapping[str, Any], organization: Mapping[str, Any]) -> str:
    """A curl command that signs the owner in and reads the wallet."""
    owner = json.dumps(organization["owner"])
    token = f"$(curl -s {facts['base_url']}/api/auth/token/ -d '{owner}' | cut -d '\"' -f 4)"
    return f'curl -s {facts["base_url"]}/api/billing/wallet -H "Authorization: Bearer {token}"'


def _assistant_request(facts: Mapping[str, Any], organization: Mapping[str, Any]) -> str:
    """A curl command that plays Vapi asking for an assistant, as of the moment it is pasted."""
    message = {
        "type": "assistant-request",
        # Vapi's milliseconds. The shell fills it in: an old request is never authorized.
        "timestamp": 0,
        "call": {
            "id": str(uuid.uuid4()),
            "type": "inboundPhoneCall",
            "phoneNumberId": organization["vapi_phone_number_id"],
            "customer": {"number": "+447700900000"},
        },
    }
    body = json.dumps({"message": message}).replace(
        '"timestamp": 0', "\"timestamp\": '$(date +%s000)'"
    )
    secret = shlex.quote(f"X-Vapi-Secret: {facts['vapi_webhook_secret']}")
    return f"curl -s {facts['base_url']}/api/vapi/webhook -H {secret} -d '{body}'"
