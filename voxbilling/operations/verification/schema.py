"""What the migrations made, as PostgreSQL spells it, compared with what was recorded of them.

`schema.json` beside this module says what a freshly migrated database has; `make schema` writes it
anew. Names begin with the table that they belong to.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.db import connection, transaction

from voxbilling.operations.verification.findings import Finding, failed, ok
from voxbilling.tenancy import TENANT_ROLE

MANIFEST = Path(__file__).with_name("schema.json")

# Each kind, and what its line in the report is about.
KINDS = {
    "table": "tables",
    "column": "columns",
    "constraint": "constraints",
    "index": "indexes",
    "trigger": "triggers",
    "function": "functions of triggers",
    "rule": "rewrite rules",
    "row-level security": "row-level security",
    "policy": "policies",
    "grant": "grants of the tenant role",
    "role": "roles",
}
# An operator's own tables and functions beside ours harm nobody.
_MAY_BE_MORE = {"table", "function"}
_PART_OF_A_TABLE = {
    *("column", "constraint", "index", "trigger", "rule", "row-level security", "policy"),
}


@dataclass(frozen=True)
class State:
    """How PostgreSQL describes something, and whether it is in force."""

    definition: str
    enabled: bool = True


# By kind and name.
Schema = dict[tuple[str, str], State]

_SCHEMA = """
WITH
relations AS (
    SELECT oid, relname::text AS name, relkind, relpersistence, relrowsecurity, relforcerowsecurity
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
),
tables AS (SELECT * FROM relations WHERE relkind IN ('r', 'p')),
tenant AS (SELECT * FROM pg_roles WHERE rolname = %(tenant)s)

SELECT 'table' AS kind, name,
    CASE relpersistence WHEN 'p' THEN 'permanent' ELSE 'not permanent' END AS definition,
    true AS enabled
FROM tables

UNION ALL SELECT 'column', name || '.' || attname,
    concat_ws(' ', format_type(atttypid, atttypmod),
        CASE WHEN attnotnull THEN 'NOT NULL' END,
        CASE WHEN attidentity <> '' THEN 'IDENTITY' END,
        CASE WHEN attgenerated <> '' THEN 'GENERATED' END,
        'DEFAULT ' || pg_get_expr(adbin, adrelid)),
    true
FROM tables JOIN pg_attribute ON attrelid = tables.oid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped

-- NOT NULL stands with the columns, constraint triggers with the triggers. A foreign key is checked
-- by triggers, which can be disabled like others.
UNION ALL SELECT 'constraint', name || '.' || conname, pg_get_constraintdef(c.oid),
    NOT EXISTS (SELECT FROM pg_trigger
        WHERE tgconstraint = c.oid AND tgenabled NOT IN ('O', 'A'))
FROM tables JOIN pg_constraint c ON conrelid = tables.oid
WHERE contype NOT IN ('n', 't')

UNION ALL SELECT 'index', name || '.' || indexrelid::regclass,
    pg_get_indexdef(indexrelid), indisvalid AND indisready
FROM tables JOIN pg_index ON indrelid = tables.oid
WHERE NOT EXISTS (SELECT FROM pg_constraint
    WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))

UNION ALL SELECT 'trigger', name || '.' || tgname, pg_get_triggerdef(g.oid),
    tgenabled IN ('O', 'A')
FROM tables JOIN pg_trigger g ON tgrelid = tables.oid
WHERE NOT tgisinternal

UNION ALL SELECT 'function', proname::text,
    concat_ws('; ', coalesce(array_to_string(proconfig, '; '), 'no settings of its own'),
        'sha256 ' || encode(sha256(convert_to(pg_get_functiondef(oid), 'UTF8')), 'hex')),
    true
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND prorettype = 'trigger'::regtype

UNION ALL SELECT 'rule', name || '.' || rulename, pg_get_ruledef(r.oid), ev_enabled IN ('O', 'A')
FROM tables JOIN pg_rewrite r ON ev_class = tables.oid

UNION ALL SELECT 'row-level security', name,
    CASE WHEN relforcerowsecurity THEN 'also for the owner' ELSE 'not for the owner' END,
    relrowsecurity
FROM tables WHERE relrowsecurity OR EXISTS (SELECT FROM pg_policy WHERE polrelid = tables.oid)

UNION ALL SELECT 'policy', tablename || '.' || policyname,
    concat_ws(' ', permissive, 'FOR', cmd, 'TO', array_to_string(roles, ', '),
        'USING ' || qual, 'WITH CHECK ' || with_check),
    true
FROM pg_policies WHERE schemaname = 'public'

-- What the role may do, by whatever way it came to it.
UNION ALL SELECT 'grant', privilege || ' on ' || name || '.' || attname, '', true
FROM tenant, relations JOIN pg_attribute ON attrelid = relations.oid,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS privilege
WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND attnum > 0 AND NOT attisdropped
    AND has_column_privilege(tenant.oid, relations.oid, attnum, privilege)
UNION ALL SELECT 'grant', privilege || ' on ' || name, '', true
FROM tenant, relations, unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER', 'MAINTAIN']) AS privilege
WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
    AND has_table_privilege(tenant.oid, relations.oid, privilege)
UNION ALL SELECT 'grant', privilege || ' on ' || name, '', true
FROM tenant, relations, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS privilege
WHERE CASE WHEN relkind = 'S' THEN has_sequence_privilege(tenant.oid, relations.oid, privilege) END
UNION ALL SELECT 'grant', privilege || ' on schema public', '', true
FROM tenant, unnest(ARRAY['USAGE', 'CREATE']) AS privilege
WHERE has_schema_privilege(tenant.oid, 'public', privilege)

UNION ALL SELECT 'role', rolname::text,
    concat_ws(', ',
        CASE WHEN rolcanlogin THEN 'may sign in' ELSE 'cannot sign in' END,
        CASE WHEN rolsuper THEN 'superuser' END,
        CASE WHEN rolbypassrls THEN 'bypasses row-level security' END,
        CASE WHEN rolcreaterole OR rolcreatedb OR rolreplication THEN 'has other attributes' END,
        CASE WHEN EXISTS (SELECT FROM pg_auth_members WHERE member = tenant.oid)
            THEN 'member of another role' END),
    true
FROM tenant
"""


# A list of words in a check: `(ARRAY['a'::character varying, …])::text[]`.
_LIST_OF_WORDS = re.compile(r"\(ARRAY\[((?:'[^']*'::character varying(?:, )?)+)\]\)::text\[\]")


def read_schema() -> Schema:
    """What the database has now."""
    with transaction.atomic(), connection.cursor() as cursor:
        # PostgreSQL leaves out the schema of what is found without it.
        cursor.execute("SET LOCAL search_path = public")
        cursor.execute(_SCHEMA, {"tenant": TENANT_ROLE})
        found = cursor.fetchall()
        transaction.set_rollback(True)
    return {
        (kind, name): State(_spelled_alike(definition), enabled)
        for kind, name, definition, enabled in found
    }


def _spelled_alike(definition: str) -> str:
    """The definition as PostgreSQL spells it in a database that was restored from a dump.

    There it has read its own words, and converts the items of a list one by one.
    """
    return _LIST_OF_WORDS.sub(
        lambda words: (
            "ARRAY[" + ", ".join(f"({word})::text" for word in words[1].split(", ")) + "]"
        ),
        definition,
    )


def recorded_schema() -> Schema:
    """What this version's migrations make."""
    return {
        (kind, name): State(definition)
        for kind, definitions in json.loads(MANIFEST.read_text()).items()
        for name, definition in definitions.items()
    }


def record(schema: Schema) -> None:
    """Write the manifest, one line for each object, so that changes can be read and merged."""
    manifest: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for (kind, name), state in schema.items():
        manifest[kind][name] = state.definition
    MANIFEST.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def check() -> Iterator[Finding]:
    """Every difference between the database and the manifest; a line for a kind without any."""
    recorded, found = recorded_schema(), read_schema()
    for kind, title in KINDS.items():
        names = sorted(name for its_kind, name in recorded if its_kind == kind)
        problems = list(_problems(kind, recorded, found))
        yield from problems
        if not problems:
            yield ok(title, f"{len(names)}, as this version's migrations make them")


def _problems(kind: str, recorded: Schema, found: Schema) -> Iterator[Finding]:
    for key in sorted(key for key in recorded.keys() | found.keys() if key[0] == kind):
        name, expected, actual = key[1], recorded.get(key), found.get(key)
        if expected is None:
            if not _is_somebody_elses(kind, name, recorded):
                yield failed(kind, f"{name} is not made by any migration of this version")
        elif actual is None:
            yield failed(kind, f"{name} is missing")
        elif not actual.enabled:
            yield failed(kind, f"{name} is disabled")
        elif actual != expected:
            yield failed(
                kind, f"{name} is changed: it is {actual.definition}, not {expected.definition}"
            )


def _is_somebody_elses(kind: str, name: str, recorded: Schema) -> bool:
    table = name.partition(".")[0]
    return kind in _MAY_BE_MORE or (kind in _PART_OF_A_TABLE and ("table", table) not in recorded)
