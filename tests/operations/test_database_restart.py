"""Connections from before a restart of the database do not fail those who get them after it."""

import psycopg
import pytest
from django.conf import settings
from django.db import connection

HANG_UP = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid()
"""


@pytest.mark.django_db(transaction=True)
def test_given_a_pool_when_the_database_hung_up_then_the_next_query_works() -> None:
    # One of its own: a pool waits a second after the first connection that it finds broken, then
    # two, four … and other tests may have left it many.
    connection.close()
    connection.close_pool()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        (database,) = cursor.fetchone()
    # Goes back to the pool, as at the end of a request.
    connection.close()
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as other:
        hung_up = other.execute(HANG_UP, [database]).fetchall()
    assert (True,) in hung_up

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == (database,)
