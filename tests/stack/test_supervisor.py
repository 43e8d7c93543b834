"""The whole stack as a program: one owner, one sentence, and nothing left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psycopg
import pytest

from tests.stack.conftest import STAND_IN, alive, descendants, environment, eventually
from tests.stack.stand_in import PREPARED
from voxbilling.environment import PROJECT_DIR

CELERY = ("worker", "provider-worker", "beat")
QUICK = ("worker=sleep", "provider_worker=sleep", "beat=sleep", "sandbox=web")


def names(stack) -> dict[str, str]:
    """The direct children, each by what its command line says it is."""
    words = {
        "bin/postgres": "postgres",
        "valkey-server": "valkey",
        "part web": "web",
        "voxbilling.stack.web": "web",
        "second@": "worker-2",
        "stack.sandbox": "sandbox",
        "providers@": "provider-worker",
        "celery -A voxbilling worker": "worker",
        "celery -A voxbilling beat": "beat",
    }
    pid = stack.process.pid
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        cmdline = Path(f"/proc/{child}/cmdline")
        try:
            # Between fork and exec, and while it ends, a process has no command line.
            eventually(cmdline.read_text, f"the command line of {child}")
            command = cmdline.read_text().replace("\0", " ")
        except FileNotFoundError:
            continue
        found[next((name for word, name in words.items() if word in command), command)] = int(child)
    return found


@pytest.fixture
def small(start_stack):
    """A stack with stand-ins for all that takes long to start."""
    return lambda data: start_stack(data, *QUICK)


def test_one_process_owns_everything_and_says_how_to_use_it(start_stack, data):
    stack = start_stack(data)
    assert set(names(stack)) == {"postgres", "valkey", "web", "sandbox", *CELERY}
    facts = stack.facts()
    assert facts["staff"] == PREPARED["staff"]
    assert facts["organizations"] == PREPARED["organizations"]
    assert data.joinpath("demo.json").stat().st_mode & 0o777 == 0o600
    assert facts["env"]["VAPI_API_URL"] == f"{facts['sandbox_url']}/vapi"
    assert facts["env"]["VAPI_WEBHOOK_SECRETS"] == facts["vapi_webhook_secret"]
    with psycopg.connect(facts["env"]["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

    control = f"{facts['sandbox_url']}/vapi/calls/one/control"
    request = urllib.request.Request(control, b'{"type": "end-call"}')
    assert urllib.request.urlopen(request).status == 200
    with urllib.request.urlopen(f"{control}-messages") as answer:
        messages = json.load(answer)["messages"]
    assert [message["message"] for message in messages] == [{"type": "end-call"}]

    below = stack.below()
    code, output, _ = stack.stop(signal.SIGINT)
    assert code == 0
    assert f"curl -s {facts['base_url']}/healthz" in output
    assert facts["vapi_webhook_secret"] in output
    assert alive(below) == set()
    assert not stack.data.demo.exists()
    assert not stack.data.joining.exists()
    assert {path.name for path in stack.data.logs.glob("*.log")} >= {
        f"{name}.log" for name in ("postgres", "valkey", "web", "sandbox", *CELERY)
    }


def test_sigterm_leaves_nothing(small, data):
    stack = small(data)
    below = stack.below()
    assert stack.stop(signal.SIGTERM)[0] == 0
    assert alive(below) == set()


def test_everything_dies_with_the_supervisor_and_starts_again(start_stack, small, data):
    stack = start_stack(data)
    with psycopg.connect(stack.facts()["env"]["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    below = stack.below()
    stack.process.kill()
    stack.process.communicate()
    # At once, while the old servers may still be shutting down; their files are all still there.
    again = small(data)
    assert alive(below) == set()
    with psycopg.connect(again.facts()["env"]["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_web_workers_die_with_the_supervisor_too(start, data):
    stack = start([*STAND_IN, "run", "web=real", "prepare=sleep"], data)
    eventually(lambda: "web" in names(stack), "the web server")
    web = names(stack)["web"]
    eventually(lambda: len(descendants(web)) >= 2, "the web workers")
    below = stack.below()
    assert set(descendants(web)) <= set(below)
    stack.process.kill()
    stack.process.communicate()
    eventually(lambda: not alive(below), "all children to end")


def test_nothing_outlives_a_supervisor_killed_while_it_starts(start, data):
    stack = start([*STAND_IN, "run", "prepare=sleep"], data)
    eventually(lambda: stack.data.joining.exists(), "the servers")
    eventually(lambda: "web" in names(stack), "the web server")
    below = stack.below()
    stack.process.kill()
    stack.process.communicate()
    eventually(lambda: not alive(below), "all children to end")


def test_a_signal_while_it_starts_stops_it(start, data):
    stack = start([*STAND_IN, "run", "prepare=sleep"], data)
    eventually(lambda: stack.data.joining.exists(), "the servers")
    below = stack.below()
    assert stack.stop()[0] == 0
    assert alive(below) == set()


def test_a_second_stack_in_the_same_directory_is_refused(small, start, data):
    stack = small(data)
    code, _, errors = start([*STAND_IN, "run"], data).end()
    assert code == 1
    assert errors.startswith(f"`voxbilling.stack run` (pid {stack.process.pid}) already runs")
    assert len(errors.splitlines()) == 1
    assert stack.process.poll() is None


def test_a_port_in_use_is_refused(start, data):
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = str(taken.getsockname()[1])
        code, _, errors = start([*STAND_IN, "run"], data, PORT=port).end()
    assert code == 1
    assert errors.startswith(f"Port {port} of 127.0.0.1 cannot be used")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("port", ["http", "-1", "65536"])
def test_a_port_that_is_none_is_refused(start, data, port):
    code, _, errors = start([*STAND_IN, "run"], data, PORT=port).end()
    assert (code, len(errors.splitlines())) == (1, 1)
    assert port in errors


@pytest.mark.parametrize("name", ["postgres", "valkey", "worker"])
def test_a_child_that_dies_ends_the_stack_and_is_named(small, data, name):
    stack = small(data)
    below = stack.below()
    children = names(stack)
    pid = children.get(name) or next(
        pid for command, pid in children.items() if command.rstrip().endswith("part sleep")
    )
    os.kill(pid, signal.SIGKILL)
    code, _, errors = stack.end()
    assert code == 1
    assert "was killed by signal 9; its log" in errors
    assert ".log ends:" in errors
    assert alive(below) == set()


def test_a_service_that_fails_at_once_is_shown_with_its_words(start, data):
    code, _, errors = start([*STAND_IN, "run", "worker=fail"], data).end()
    assert code == 1
    assert f"worker ended with exit code 3; its log {data}/logs/worker.log ends:" in errors
    assert "something is wrong here" in errors


def test_a_failed_preparation_is_shown_with_its_words(start, data):
    code, _, errors = start([*STAND_IN, "run", "prepare=fail"], data).end()
    assert code == 1
    assert "prepare_stack ended with exit code 3" in errors
    assert "something is wrong here" in errors


def test_a_demo_speaks_for_itself_and_its_exit_code_is_kept(start, data):
    demo = start([*STAND_IN, "demo", *QUICK], data)
    code, output, _ = demo.end()
    assert code == 7
    assert "the demo speaks" in output
    assert not demo.data.demo.exists()


def test_servers_of_ones_own_are_no_business_of_the_stack(data):
    for variables in ({"DATABASE_URL": "postgresql:///x"}, {"DEBUG": "0"}):
        found = subprocess.run(
            [sys.executable, "-m", "voxbilling.stack", "run"],
            cwd=PROJECT_DIR,
            env=environment(data, **variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 1
        assert found.stderr.startswith("This stack brings its own servers")


def test_web_workers_die_with_their_main_process(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    web = start(
        [sys.executable, "-m", "voxbilling.stack.web", "--port", port],
        tmp_path,
        SECRET_KEY="x",
        DATABASE_URL="postgresql://nobody@127.0.0.1:9/nothing",
        REDIS_URL="redis://127.0.0.1:9/0",
    )

    def answers() -> bool:
        assert web.process.poll() is None, web.end()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/admin/login/").close()
        except OSError:
            return False
        return True

    eventually(answers, "the web server to answer")
    workers = web.below()
    assert len(workers) >= 2
    web.process.kill()
    web.process.communicate()
    eventually(lambda: not alive(workers), "the workers to end")


def answer(database_url):
    try:
        with psycopg.connect(database_url) as connection:
            return connection.execute("SELECT answer FROM kept").fetchone()
    except psycopg.OperationalError:
        return None


def test_in_a_storm_one_of_two_workers_and_the_database_start_again_and_nothing_else(start, data):
    stack = start([*STAND_IN, "storm", "provider_worker=sleep", "beat=sleep", "sandbox=web"], data)
    eventually(stack.is_ready, "the stack to be ready")
    eventually(lambda: "worker-2" in names(stack), "the second worker")
    facts, before = stack.facts(), names(stack)
    with psycopg.connect(facts["env"]["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    stack.process.send_signal(signal.SIGUSR1)
    eventually(lambda: names(stack).get("worker", before["worker"]) != before["worker"], "a worker")
    stack.process.send_signal(signal.SIGUSR2)
    eventually(
        lambda: names(stack).get("postgres", before["postgres"]) != before["postgres"], "a database"
    )
    unchanged = {"web", "valkey", "worker-2"}
    assert {name: names(stack)[name] for name in unchanged} == {
        name: before[name] for name in unchanged
    }
    eventually(lambda: answer(facts["env"]["DATABASE_URL"]) == (42,), "the database to answer")

    os.kill(names(stack)["valkey"], signal.SIGKILL)
    code, _, errors = stack.end()
    assert code == 1
    assert errors.startswith("valkey was killed by signal 9")


def test_a_storm_reaches_nothing_that_the_environment_names(start, data):
    real = {"VAPI_API_KEY": "real", "VAPI_API_URL": "https://api.vapi.ai", "DEBUG": "0"}
    stack = start([*STAND_IN, "storm", *QUICK], data, **real)
    eventually(stack.is_ready, "the stack to be ready")
    facts = stack.facts()
    assert facts["env"]["VAPI_API_KEY"] == "sandbox"
    assert facts["env"]["VAPI_API_URL"] == f"{facts['sandbox_url']}/vapi"
    stack.stop()
