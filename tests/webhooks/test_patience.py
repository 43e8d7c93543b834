"""What takes too long is broken off, and the connection is fit for the next request."""

import pytest
from django.db import DatabaseError, connection, transaction

from webhooks import patience

pytestmark = pytest.mark.django_db(transaction=True)


def test_many_short_waits_that_add_up_are_broken_off_and_the_next_request_works(monkeypatch):
    # Given little patience
    monkeypatch.setattr(patience, "TRANSACTION_TIMEOUT_MS", 200)

    # When a transaction is slow in small steps, then PostgreSQL ends it
    # (it is heard of between two statements or in one, as different errors).
    with pytest.raises(DatabaseError), patience.transaction_in_time():  # noqa: PT012
        for _ in range(100):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.05)")

    # and what comes next is not bothered
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_timeout')")
        assert cursor.fetchone() == ("0",)
