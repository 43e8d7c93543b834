"""What every test shares."""

import uuid

import pytest
from django.conf import settings
from django.db import transaction
from django.db.backends.postgresql.operations import DatabaseOperations


def pytest_configure() -> None:
    """Let the tests flush tables that refuse TRUNCATE; the product itself has no way to."""
    flush = DatabaseOperations.execute_sql_flush

    def flush_without_triggers(self, sql_list):
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            flush(self, sql_list)

    DatabaseOperations.execute_sql_flush = flush_without_triggers
    # Logins are not what these tests are about, and a real hash takes a tenth of a second.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix) -> None:
    """Tests queue hundreds of threads on one bounded pool, which waits longer than Vapi would."""
    settings.DATABASES["default"]["OPTIONS"]["pool"]["timeout"] = 120


@pytest.fixture(autouse=True)
def patience_for_a_whole_test(monkeypatch) -> None:
    """A test that is one transaction takes longer than a webhook's may."""
    from webhooks import patience

    monkeypatch.setattr(patience, "TRANSACTION_TIMEOUT_MS", 600_000)


@pytest.fixture(autouse=True)
def counters_of_its_own(settings) -> None:
    """Requests are counted by user and address, which occur in other tests, too."""
    cache = {**settings.CACHES["default"], "KEY_PREFIX": f"test-{uuid.uuid4()}"}
    settings.CACHES = {"default": cache}
