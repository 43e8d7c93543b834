"""How long Vapi waits, and what may therefore not take longer."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

# Vapi waits 7.5 s, of which its own set-up takes a part: what takes longer than this is refused.
LOCK_TIMEOUT_MS = 3_000
# PostgreSQL hangs up on what takes longer in all, however many short waits it is made of.
TRANSACTION_TIMEOUT_MS = 4_500


@contextmanager
def transaction_in_time() -> Iterator[None]:
    """A transaction that is over, one way or the other, while Vapi still waits for it.

    What takes too long raises DatabaseError, and the transaction is rolled back.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true),"
                " set_config('transaction_timeout', %s, true)",
                [str(LOCK_TIMEOUT_MS), str(TRANSACTION_TIMEOUT_MS)],
            )
        yield
