"""The tenant role belongs to the cluster: any of its databases makes it, and none takes it away.

Tried with a role of another name, since the real one exists by the time that a test runs.
"""

import threading
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from psycopg import errors

from tests.concurrency.harness import HANGING_AFTER_SECONDS
from tests.tenancy.tables import tenancy_problems
from tests.wallets.invariants import rows
from voxbilling.tenancy import CREATE_TENANT_ROLE, TENANT_ROLE


@pytest.fixture
def connect(db):
    """A connection of psycopg's own, to any database of the cluster."""
    opened = []

    def open_connection(database, **parameters):
        wanted = connection.get_connection_params() | {"dbname": database} | parameters
        for name in ("pool", "cursor_factory", "context", "prepare_threshold"):
            wanted.pop(name, None)
        opened.append(psycopg.connect(**wanted))
        return opened[-1]

    yield open_connection
    for each in opened:
        each.close()


@pytest.fixture
def databases(connect):
    """Two databases of the same cluster, which anybody may use."""
    names = [f"tenancy_{uuid4().hex}" for _ in range(2)]
    superuser = connect("postgres")
    superuser.autocommit = True
    for name in names:
        superuser.execute(f"CREATE DATABASE {name}")
    yield names
    for name in names:
        superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def role(connect, databases):
    """The name of a tenant role that does not exist, and is gone afterwards."""
    name = f"tenant_{uuid4().hex}"
    yield name
    superuser = connect("postgres")
    superuser.execute(f"DROP ROLE IF EXISTS {name}")
    superuser.commit()


@pytest.fixture
def sign_in(connect, databases, role):
    """A connection to one of the databases as a new role that has some attributes."""
    superuser, made = connect("postgres"), []
    superuser.autocommit = True

    def connect_as(attributes, *, database=databases[0]):
        name = f"login_{uuid4().hex}"
        superuser.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'made-up' {attributes}")
        made.append(name)
        return name, connect(database, user=name, password="made-up")

    yield connect_as
    superuser.execute(f"DROP ROLE IF EXISTS {role}")
    for name in made:
        superuser.execute(f"DROP OWNED BY {name}")
        superuser.execute(f"DROP ROLE {name}")


def create(role):
    return CREATE_TENANT_ROLE.replace(TENANT_ROLE, role)


def exists(asking, role):
    return asking.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", (role,)).fetchone()[0]


@contextmanager
def in_a_thread(command):
    """Runs the command beside the block; raises what it raised."""
    raised = []

    def run():
        try:
            command()
        except Exception as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(HANGING_AFTER_SECONDS)
    assert not thread.is_alive(), "it hangs"
    if raised:
        raise raised[0]


def wait_until_it_waits(asking, pid):
    """Until the other migration waits for the first one."""
    asking.autocommit = True
    for _ in range(10 * HANGING_AFTER_SECONDS):
        [waiting] = asking.execute(
            "SELECT cardinality(pg_blocking_pids(%s)) > 0", (pid,)
        ).fetchone()
        if waiting:
            return
        asking.execute("SELECT pg_sleep(0.1)")
    pytest.fail("the second migration does not wait")


@pytest.mark.parametrize("first_one_ends", ["commit", "rollback"])
def test_given_two_databases_that_migrate_at_once_then_both_have_the_role(
    connect, databases, role, first_one_ends
):
    first, second = (connect(database) for database in databases)
    first.execute(create(role))

    def migrate_second():
        second.execute(create(role))
        second.commit()

    with in_a_thread(migrate_second):
        wait_until_it_waits(connect("postgres"), second.info.backend_pid)
        getattr(first, first_one_ends)()

    assert exists(first, role)
    first.execute(create(role))
    assert exists(first, role)


def test_given_many_migrations_at_once_then_each_of_them_succeeds(connect, databases, role):
    connections = [connect(database) for database in databases * 5]
    start = threading.Barrier(len(connections))
    errors_raised = []

    def migrate(one):
        start.wait(HANGING_AFTER_SECONDS)
        try:
            one.execute(create(role))
            one.commit()
        except psycopg.Error as error:
            errors_raised.append(error)

    threads = [threading.Thread(target=migrate, args=(one,)) for one in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGING_AFTER_SECONDS)

    assert errors_raised == []
    assert exists(connections[0], role)


def test_given_a_login_that_may_create_roles_then_it_can_become_what_it_made(role, sign_in):
    name, migrating = sign_in("CREATEROLE")
    for _ in range(2):
        migrating.execute(create(role))
    migrating.execute(f"SET LOCAL ROLE {role}")

    assert migrating.execute("SELECT current_user").fetchone() == (role,)
    migrating.execute("RESET ROLE")
    inherits = migrating.execute("SELECT pg_has_role(%s, %s, 'USAGE')", (name, role)).fetchone()
    assert inherits == (False,)
    migrating.rollback()


def test_given_a_login_that_may_not_when_the_role_is_missing_then_it_says_what_to_do(role, sign_in):
    _, migrating = sign_in("")

    with pytest.raises(errors.InsufficientPrivilege) as refusal:
        migrating.execute(create(role))

    message = str(refusal.value)
    assert f"the role {role} is missing" in message
    assert f"CREATE ROLE {role} NOLOGIN; GRANT {role} TO" in message


def test_given_a_login_that_may_not_when_the_role_is_there_then_nothing_is_to_do(
    connect, role, sign_in
):
    _, migrating = sign_in("")
    superuser = connect("postgres")
    superuser.execute(create(role))
    superuser.commit()

    migrating.execute(create(role))

    granted = migrating.execute("SELECT pg_has_role(%s, 'MEMBER')", (role,)).fetchone()
    assert granted == (False,)


def security():
    return rows(
        """
        SELECT tablename::text, policyname::text, concat_ws(' ', roles, cmd, qual)
        FROM pg_policies
        UNION ALL SELECT relname, 'row security', '' FROM pg_class WHERE relrowsecurity
        UNION ALL SELECT table_name, column_name, privilege_type
        FROM information_schema.column_privileges WHERE grantee = %(role)s
        UNION ALL SELECT 'public', 'schema', 'USAGE'
        WHERE has_schema_privilege(%(role)s, 'public', 'USAGE')
        ORDER BY 1, 2, 3
        """,
        {"role": TENANT_ROLE},
    )


# For real, since an index is made outside transactions.
@pytest.mark.django_db(transaction=True)
def test_given_the_migrations_taken_back_then_all_is_gone_but_the_role_and_comes_again():
    before = security()
    try:
        call_command("migrate", "wallets", "0002", verbosity=0)
        taken_back = security()
        assert rows("SELECT count(*) FROM pg_roles WHERE rolname = %s", (TENANT_ROLE,)) == [(1,)]
    finally:
        call_command("migrate", verbosity=0)

    assert security() == before
    assert tenancy_problems() == []
    assert before
    # PUBLIC may use the schema, outside production.
    assert taken_back == [("public", "schema", "USAGE")]
