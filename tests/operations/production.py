"""A complete production environment, none of it real."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from voxbilling.environment import PROJECT_DIR
from voxbilling.stack.paths import DataDirectory
from voxbilling.stack.postgres import binary
from voxbilling.stack.servers import open_owner_lock, running

PASSWORDS = {"voxbilling_owner": "owner-password", "voxbilling_app": "app-password"}

PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "0c1f6e7a9b3d5f2c8e4a6b0d9f1e3c5a7b9d0e2f4a6c8e0b1d3f5a7c9e1b3d5f",
    "ALLOWED_HOSTS": "billing.example.com",
    "DATABASE_URL": "postgresql://voxbilling_app:made-up@127.0.0.1:9/voxbilling",
    "REDIS_URL": "redis://127.0.0.1:9/0",
    "VAPI_API_KEY": "made-up",
    "TWILIO_ACCOUNT_SID": "made-up",
    "TWILIO_AUTH_TOKEN": "made-up",
    "STRIPE_SECRET_KEY": "made-up",
    "STRIPE_WEBHOOK_SECRET": "made-up-webhook-secret",
    "EMAIL_URL": "smtp+tls://user:password@mail.example.com:587",
    "SITE_URL": "",
    "DEFAULT_FROM_EMAIL": "",
    "VAPI_WEBHOOK_SECRETS": "made-up-webhook-secret",
    "VAPI_WEBHOOK_HMAC_SECRETS": "",
}


def production_environment(**changes):
    """For a child process. What is empty is empty there too, whatever a developer's .env says."""
    return {
        **os.environ,
        "VAPI_API_URL": "https://api.vapi.ai",
        "TWILIO_API_URL": "https://api.twilio.com",
        "STRIPE_API_URL": "https://api.stripe.com",
        "DJANGO_SETTINGS_MODULE": "voxbilling.settings",
        "PYTHONPATH": str(PROJECT_DIR),
        **PRODUCTION,
        **changes,
    }


@dataclass(frozen=True)
class ProductionServers:
    """A PostgreSQL with production's roles, and a Valkey. `urls` are the database's, by role."""

    urls: dict[str, str]
    superuser_url: str
    redis_url: str


@contextmanager
def production_servers(root: Path, *, migrated: bool = True) -> Iterator[ProductionServers]:
    """Servers whose roles docker-compose.yml's script made, with everything migrated or empty."""
    data = DataDirectory(root)
    is_new = data.create()
    owner = open_owner_lock(data)
    assert owner.take()
    with running(data, owner, what="pytest", data_is_new=is_new, durable=False) as servers:
        with psycopg.connect(servers.database_url, dbname="postgres", autocommit=True) as superuser:
            superuser.execute("DROP DATABASE voxbilling")
        run(
            str(PROJECT_DIR / "docker/postgres/roles.sh"),
            PATH=f"{binary('psql').parent}{os.pathsep}{os.environ['PATH']}",
            PGHOST=str(data.sockets()),
            PGPASSWORD=data.passwords["postgres"],
            POSTGRES_USER="voxbilling",
            DATABASE_OWNER_PASSWORD=PASSWORDS["voxbilling_owner"],
            DATABASE_APP_PASSWORD=PASSWORDS["voxbilling_app"],
        )
        host = quote(str(data.sockets()), safe="")
        urls = {
            role: f"postgresql://{role}:{password}@/voxbilling?host={host}"
            for role, password in PASSWORDS.items()
        }
        if migrated:
            run(
                *(sys.executable, "manage.py", "migrate", "--noinput"),
                DATABASE_URL=urls["voxbilling_owner"],
            )
        yield ProductionServers(urls, servers.database_url, servers.redis_url)


def run(*command: str, **environment: str) -> str:
    """What a program prints in the production environment; it must end well."""
    done = subprocess.run(
        command,
        cwd=PROJECT_DIR,
        env=production_environment(**environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
