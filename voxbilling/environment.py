"""The environment that settings read: real variables first, then `.env` beside manage.py."""

import os
from pathlib import Path

import environ

PROJECT_DIR = Path(__file__).resolve().parent.parent


def read_dotenv() -> None:
    """Add what `.env` names to the environment; a variable that is already set wins."""
    dotenv = PROJECT_DIR / ".env"
    if dotenv.is_file():
        environ.Env.read_env(dotenv)


def data_dir() -> Path:
    """Where the embedded servers, beat's schedule, e-mails and logs live (VOXBILLING_DATA_DIR)."""
    return (PROJECT_DIR / os.environ.get("VOXBILLING_DATA_DIR", ".voxbilling")).resolve()
