"""Who the program is in the database, and whether all migrations are there."""

from collections.abc import Iterator

from django.conf import settings
from django.db import connection

from voxbilling.operations.health import missing_migrations
from voxbilling.operations.verification.findings import Finding, failed, ok, warning
from voxbilling.tenancy import TENANT_ROLE

_ROLE = """
SELECT current_user::text, rolsuper OR rolbypassrls OR EXISTS (
        SELECT FROM pg_class WHERE relowner = pg_roles.oid
        UNION ALL SELECT FROM pg_proc WHERE proowner = pg_roles.oid),
    NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %(tenant)s)
        OR NOT coalesce(pg_has_role(to_regrole(%(tenant)s), 'SET'), false),
    NOT rolsuper AND coalesce(pg_has_role(to_regrole(%(tenant)s), 'USAGE'), false),
    current_setting('session_replication_role'),
    ARRAY(
        SELECT privilege || ' on ' || relname FROM pg_class,
            unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
        WHERE relnamespace = 'public'::regnamespace AND relname = ANY(%(tables)s)
            AND NOT has_table_privilege(pg_class.oid, privilege)
        ORDER BY 1)
FROM pg_roles WHERE rolname = current_user
"""


def check() -> Iterator[Finding]:
    """The role that DATABASE_URL names, and the migrations."""
    tables = connection.introspection.django_table_names(include_views=False)
    with connection.cursor() as cursor:
        cursor.execute(_ROLE, {"tenant": TENANT_ROLE, "tables": tables})
        role, is_owner, cannot_become_tenant, inherits_tenant, replication, lacking = (
            cursor.fetchone()
        )
    problems = []
    if cannot_become_tenant:
        problems.append(f"cannot become {TENANT_ROLE}: grant it that role")
    if inherits_tenant:
        problems.append(f"inherits {TENANT_ROLE}: grant that role WITH INHERIT FALSE")
    if replication != "origin":
        problems.append("sets session_replication_role, which turns the triggers off")
    if lacking:
        problems.append(f"lacks {', '.join(lacking)}")
    if is_owner and not settings.DEBUG:
        problems.append(
            "owns tables or is above row-level security, and so could turn the ledger's triggers "
            "off: sign in as a role that owns nothing"
        )
    if problems:
        yield from (failed("database role", f"{role} {problem}") for problem in problems)
    elif is_owner:
        yield warning("database role", f"{role} owns the tables, which is for trying things out")
    else:
        yield ok("database role", f"{role} owns nothing, and may do all that the program does")
    missing = missing_migrations()
    if missing:
        yield failed("migrations", f"not applied: {', '.join(missing)}; run manage.py migrate")
    else:
        yield ok("migrations", "all are applied")
