"""A backup that was restored into a fresh server, as docs/operations/backup.md says, is whole."""

import subprocess
import sys

from tests.operations.production import production_environment, production_servers, run
from voxbilling.environment import PROJECT_DIR
from voxbilling.stack.postgres import binary

FIGURES = (
    "SELECT id, balance_pence, reserved_pence, owed_pence, last_sequence FROM organizations"
    " ORDER BY id"
)


def tool(name: str, url: str, *arguments: str) -> str:
    """What a program of PostgreSQL's prints; it must end well."""
    done = subprocess.run(
        [str(binary(name)), "--dbname", url, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_backup_that_was_restored_is_whole(tmp_path):
    backup = str(tmp_path / "voxbilling.dump")
    with production_servers(tmp_path / "before") as servers:
        run(
            *(sys.executable, "-m", "tests.operations.bill_one_call"),
            DATABASE_URL=servers.urls["voxbilling_app"],
            REDIS_URL=servers.redis_url,
        )
        owner = servers.urls["voxbilling_owner"]
        tool("pg_dump", owner, "--format", "custom", "--file", backup)
        figures = tool("psql", owner, "-Atc", FIGURES)
    assert "|902|0|0|" in figures

    with production_servers(tmp_path / "after", migrated=False) as servers:
        owner = servers.urls["voxbilling_owner"]
        tool("pg_restore", owner, "--exit-on-error", "--single-transaction", backup)
        environment = {
            "DATABASE_URL": servers.urls["voxbilling_app"],
            "REDIS_URL": servers.redis_url,
        }

        assert tool("psql", owner, "-Atc", FIGURES) == figures
        run(sys.executable, "manage.py", "check_ledger", **environment)
        lines = verify(environment).splitlines()

    wrong = {line for line in lines if line.startswith("✗")}
    # Neither workers nor beat run beside it.
    assert {line.split(":")[0] for line in wrong} <= {
        *("✗ worker", "✗ provider worker", "✗ beat", "✗ sweeps"),
    }
    for part in ("database role", "migrations", "triggers", "policies", "grants", "balances"):
        assert any(line.startswith(f"✓ {part}") for line in lines), part


def verify(environment: dict[str, str]) -> str:
    # Nobody is waited for who does not run.
    program = (
        "import django; django.setup()\n"
        "from voxbilling.operations.verification import processes\n"
        "processes.START_SECONDS = 1\n"
        "from django.core.management import call_command\n"
        "call_command('verify_billing_deployment')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_DIR,
        env=production_environment(**environment),
        capture_output=True,
        text=True,
        check=False,
    ).stdout
