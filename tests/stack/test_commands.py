"""manage.py on a machine with nothing configured."""

import signal
import subprocess
import sys

import pytest

from tests.stack.conftest import STAND_IN, alive, eventually
from voxbilling.environment import PROJECT_DIR
from voxbilling.stack.embedded import _needs_servers

MANAGE = [sys.executable, str(PROJECT_DIR / "manage.py")]
ASK = (
    "import os; from django.db import connection; c = connection.cursor();"
    "c.execute('SELECT pg_postmaster_start_time()'); print('ASKED', c.fetchone()[0].timestamp());"
)
WAIT = "import sys, time\nsys.stdout.flush()\nwhile not os.path.exists({path!r}): time.sleep(0.02)"


def asked(output: str) -> str:
    return next(line for line in output.splitlines() if line.startswith("ASKED"))


def shell(code: str) -> list[str]:
    return [*MANAGE, "shell", "--no-imports", "-c", code]


def test_a_command_runs_the_servers_for_its_own_duration(start, data):
    command = start(shell(ASK), data)
    code, output, errors = command.end()
    assert (code, errors) == (0, "")
    assert asked(output)
    assert not (data / "postgres" / "postmaster.pid").exists()
    assert not command.data.joining.exists()


def test_a_command_joins_a_running_stack_and_leaves_it_running(start_stack, start, data):
    stack = start_stack(data, "worker=sleep", "provider_worker=sleep", "beat=sleep", "sandbox=web")
    answers = {asked(start(shell(ASK), data).end()[1]) for _ in range(2)}
    assert len(answers) == 1
    assert stack.process.poll() is None
    assert stack.stop()[0] == 0


def test_a_command_that_joined_another_keeps_the_servers(start, data, tmp_path):
    first_may_end, second_may_end = tmp_path / "first", tmp_path / "second"
    first = start(shell(ASK + WAIT.format(path=str(first_may_end))), data)
    eventually(first.data.joining.exists, "the first command to run the servers")
    joined = tmp_path / "joined"
    mark = f"open({str(joined)!r}, 'w');"
    second = start(shell(ASK + mark + WAIT.format(path=str(second_may_end)) + "\n" + ASK), data)
    eventually(joined.exists, "the second command to join")
    first_may_end.touch()
    with pytest.raises(subprocess.TimeoutExpired):
        first.process.wait(timeout=1)
    second_may_end.touch()
    code, output, errors = second.end()
    assert (code, errors) == (0, "")
    answers = [line for line in output.splitlines() if line.startswith("ASKED")]
    code, output, errors = first.end()
    assert code == 0
    assert "Waiting for other commands that use these servers" in errors
    assert answers == [asked(output)] * 2


def test_many_commands_at_once_share_one_server_or_take_turns(start, data):
    commands = [start(shell(ASK), data) for _ in range(4)]
    for command in commands:
        code, output, errors = command.end()
        assert code == 0, errors
        assert asked(output)


def test_a_command_that_is_terminated_stops_its_servers(start, data, tmp_path):
    command = start(shell(ASK + WAIT.format(path=str(tmp_path / "never"))), data)
    eventually(command.data.joining.exists, "the servers")
    below = command.below()
    assert len(below) >= 2
    assert command.stop(signal.SIGTERM)[0] == 128 + signal.SIGTERM
    assert alive(below) == set()


def test_a_killed_commands_servers_die_with_it(start, data, tmp_path):
    command = start(shell(WAIT.format(path=str(tmp_path / "never"))), data)
    eventually(command.data.joining.exists, "the servers")
    below = command.below()
    command.process.kill()
    command.process.communicate()
    code, output, _ = start(shell(ASK), data).end()
    assert code == 0
    assert asked(output)
    assert alive(below) == set()


def test_a_stack_is_refused_while_a_command_runs_the_servers(start, data, tmp_path):
    command = start(shell("import os\n" + WAIT.format(path=str(tmp_path / "never"))), data)
    eventually(command.data.joining.exists, "the servers")
    code, _, errors = start([*STAND_IN, "run"], data).end()
    assert code == 1
    assert f"`manage.py shell` (pid {command.process.pid}) already runs" in errors


@pytest.mark.parametrize(
    "arguments", [["help"], ["version"], ["check"], ["migrate", "--help"], ["diffsettings"], []]
)
def test_commands_without_need_of_servers_start_none(start, tmp_path, arguments):
    data = tmp_path / "data"
    assert start([*MANAGE, *arguments], data).end()[0] == 0
    assert not data.exists()


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        (["migrate"], True),
        (["check"], False),
        (["check", "--database", "default"], True),
        (["check", "--database=default"], True),
        (["makemigrations", "--check"], True),
        (["collectstatic", "--no-input"], False),
        (["shell"], True),
        (["shell", "-h"], False),
    ],
)
def test_which_commands_need_servers(arguments, needs):
    assert _needs_servers(["manage.py", *arguments]) is needs


@pytest.mark.parametrize(
    "variables",
    [{"DEBUG": "0"}, {"DATABASE_URL": "postgresql:///x"}, {"REDIS_URL": "redis://127.0.0.1:9"}],
)
def test_half_a_configuration_is_left_to_settings(start, tmp_path, variables):
    data = tmp_path / "data"
    code, _, errors = start([*MANAGE, "migrate"], data, **variables).end()
    assert code == 1
    assert "voxbilling cannot start: set SECRET_KEY" in errors
    assert not data.exists()
