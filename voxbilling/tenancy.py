"""One organization's rows and no writing: what everything that customers read is read in.

Inside `tenant_scope`, PostgreSQL itself keeps other organizations' rows back, whatever a query
forgets to ask for. The scope is a database role and a setting of one transaction, so it covers
what is evaluated inside it: a queryset that leaves it unevaluated sees everything afterwards.
`tenant_view` and `finish_in_scope` keep rendering and streaming inside.

The role reads tenant tables and nothing else: no users, no sessions. Find out who asks, and for
which organization, before the scope opens; write after it has closed.

It is a guard against forgotten filters, and not against SQL that somebody else wrote: that could
change the setting, too.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, migrations, transaction
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse

TENANT_ROLE = "voxbilling_tenant"

# `SET LOCAL` as a function, so that one statement does all of it. What was there before is read
# first: a materialized CTE is not mixed with the query around it.
_ENTER = """
WITH before AS MATERIALIZED (
    SELECT current_setting('role') AS role,
        coalesce(current_setting('voxbilling.organization_id', true), '') AS organization_id
)
SELECT role, organization_id,
    set_config('role', %s, true), set_config('voxbilling.organization_id', %s, true)
FROM before
"""
_LEAVE = "SELECT set_config('role', %s, true), set_config('voxbilling.organization_id', %s, true)"


@contextmanager
def tenant_scope(organization_id: UUID) -> Iterator[None]:
    """Let queries see the rows of one organization only, and change nothing.

    Joins the transaction that is open, or opens one. Scopes nest: each restores the one around it.
    A database error that the block swallows, without an `atomic` of its own, is raised at its end.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_ENTER, [TENANT_ROLE, str(organization_id)])
            role_before, organization_before = cursor.fetchone()[:2]
        yield
        # A savepoint that is rolled back takes both settings with it; one that is released would
        # leave them to the transaction around it.
        if not transaction.get_rollback():
            with connection.cursor() as cursor:
                cursor.execute(_LEAVE, [role_before, organization_before])


View = Callable[..., HttpResponseBase]
Response = TypeVar("Response", bound=HttpResponseBase)


def tenant_view(organization_of: Callable[[HttpRequest], UUID]) -> Callable[[View], View]:
    """Make a view, its rendering and its stream see one organization only.

    `organization_of` runs before the scope opens: it finds out who asks, and refuses (by raising)
    whoever is no member.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def scoped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            organization_id = organization_of(request)
            with tenant_scope(organization_id):
                return finish_in_scope(organization_id, view(request, *args, **kwargs))

        return scoped

    return decorate


def finish_in_scope(organization_id: UUID, response: Response) -> Response:
    """Render a response now, and have its stream read later, in the organization's scope.

    Django does both after the view has returned. For a stream, each chunk is made in a scope of
    its own: no transaction waits for a slow reader, and so none may stay open between two chunks.
    """
    if isinstance(response, StreamingHttpResponse):
        chunks = response.streaming_content
        if isinstance(chunks, AsyncIterator):
            raise TypeError("An asynchronous stream cannot be read in a tenant scope.")
        response.streaming_content = _each_in_scope(organization_id, chunks)
    elif isinstance(response, SimpleTemplateResponse):
        with tenant_scope(organization_id):
            response.render()
    return response


def _each_in_scope(organization_id: UUID, chunks: Iterator[bytes]) -> Iterator[bytes]:
    while True:
        with tenant_scope(organization_id):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


# --- For migrations. What has been applied somewhere must not change: add, and leave these be. ---

# Roles belong to the cluster, whose databases may migrate at the same moment; so the role may
# appear meanwhile, and no migration drops it. In production the migrating role may create none:
# there it exists already (docker/postgres/roles.sh).
CREATE_TENANT_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'voxbilling_tenant') THEN
        BEGIN
            CREATE ROLE voxbilling_tenant NOLOGIN;
        EXCEPTION
            WHEN unique_violation OR duplicate_object THEN
                NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role voxbilling_tenant is missing, and % may not create it',
                    current_user
                    USING ERRCODE = 'insufficient_privilege', HINT = 'As a role that may, run: '
                        'CREATE ROLE voxbilling_tenant NOLOGIN; GRANT voxbilling_tenant TO '
                        'voxbilling_app WITH INHERIT FALSE, SET TRUE;';
        END;
    END IF;
    -- Whoever creates a role may grant it, but may become it only when granted.
    IF pg_has_role('voxbilling_tenant', 'MEMBER WITH ADMIN OPTION')
        AND NOT pg_has_role('voxbilling_tenant', 'SET')
    THEN
        GRANT voxbilling_tenant TO CURRENT_USER WITH INHERIT FALSE, SET TRUE;
    END IF;
END $$;
"""


def row_level_security(
    table: str, *, readable: Sequence[str], key: str = "organization_id"
) -> migrations.RunSQL:
    """Let tenants read these columns of their own rows, and every other role what it could before.

    Without readable columns the table is closed to tenants. A new column is, until it is granted.
    """
    forwards = f"""
    ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
    CREATE POLICY {table}_not_for_tenants ON {table} USING (current_user <> '{TENANT_ROLE}');
    """
    backwards = f"""
    ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
    DROP POLICY {table}_not_for_tenants ON {table};
    """
    if readable:
        columns = ", ".join(f'"{column}"' for column in readable)
        forwards += f"""
        CREATE POLICY {table}_own_rows ON {table} FOR SELECT TO {TENANT_ROLE} USING (
            {key} = NULLIF(current_setting('voxbilling.organization_id', true), '')::uuid
        );
        GRANT SELECT ({columns}) ON {table} TO {TENANT_ROLE};
        """
        backwards += f"""
        DROP POLICY {table}_own_rows ON {table};
        REVOKE ALL ON {table} FROM {TENANT_ROLE};
        """
    return migrations.RunSQL(forwards, backwards)
