"""What must be true of every table that says whose its rows are, read from PostgreSQL itself."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.apps import apps
from django.db.models import Model

from tests.wallets.invariants import rows
from voxbilling.operations.verification.schema import Schema, read_schema
from voxbilling.tenancy import TENANT_ROLE
from wallets.models import Organization

# Tenant tables that customers read nothing of.
CLOSED = {"alerts", "staff_actions", "webhook_events"}

NOT_FOR_TENANTS = f"(CURRENT_USER <> '{TENANT_ROLE}'::name)"
OWN_ROWS = (
    "({key} = (NULLIF(current_setting('voxbilling.organization_id'::text, true), ''::text))::uuid)"
)


def tenant_models(models: Iterable[type[Model]] | None = None) -> list[type[Model]]:
    """The organization itself, and every model whose rows belong to one."""
    if models is None:
        models = apps.get_models(include_auto_created=True)
    return [
        model
        for model in models
        if model is Organization
        or any(
            field.related_model is Organization
            for field in model._meta.get_fields()
            if field.concrete
        )
    ]


def key_column(table: str) -> str:
    return "id" if table == Organization._meta.db_table else "organization_id"


def hidden_columns(model: type[Model]) -> set[str]:
    return set(getattr(model, "HIDDEN_FROM_CUSTOMERS", ()))


def _tables_of_tenants() -> set[str]:
    """Tables by the database alone: with an organization_id, or a key to what has one."""
    found = rows(
        """
        WITH RECURSIVE tenants AS (
            SELECT attrelid AS oid FROM pg_attribute JOIN pg_class t ON t.oid = attrelid
            WHERE attname = 'organization_id' AND NOT attisdropped
                AND relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
            UNION SELECT 'organizations'::regclass
            UNION SELECT conrelid FROM pg_constraint c
                JOIN tenants ON c.confrelid = tenants.oid AND contype = 'f'
        )
        SELECT relname::text FROM tenants JOIN pg_class USING (oid)
        """
    )
    return {table for (table,) in found}


@dataclass
class _Table:
    has_row_security: bool
    columns: set[str]
    readable: set[str]
    writable: bool
    policies: set[str]


def _look_at(table: str, schema: Schema) -> _Table:
    granted = [(privilege, column) for privilege, name, column in _grants(schema) if name == table]
    row_security = schema.get(("row-level security", table))
    return _Table(
        has_row_security=row_security is not None and row_security.enabled,
        columns={
            name.partition(".")[2]
            for kind, name in schema
            if kind == "column" and name.startswith(f"{table}.")
        },
        readable={column for privilege, column in granted if privilege == "SELECT"},
        writable=any(privilege != "SELECT" for privilege, _ in granted),
        policies={
            state.definition
            for (kind, name), state in schema.items()
            if kind == "policy" and name.startswith(f"{table}.")
        },
    )


def _grants(schema: Schema) -> list[tuple[str, str, str]]:
    """What the tenant role may do: the privilege, the table, and the column if it is about one."""
    found = []
    for kind, name in schema:
        privilege, _, where = name.partition(" on ")
        if kind == "grant" and where != "schema public":
            table, _, column = where.partition(".")
            found.append((privilege, table, column))
    return found


def _expected_policies(table: str) -> set[str]:
    policies = {f"PERMISSIVE FOR ALL TO public USING {NOT_FOR_TENANTS}"}
    if table not in CLOSED:
        own_rows = OWN_ROWS.format(key=key_column(table))
        policies.add(f"PERMISSIVE FOR SELECT TO {TENANT_ROLE} USING {own_rows}")
    return policies


def tenancy_problems(models: Iterable[type[Model]] | None = None) -> list[str]:
    """A sentence for everything that could show one tenant another's rows, or what is hidden."""
    models_by_table = {model._meta.db_table: model for model in tenant_models(models)}
    tables = _tables_of_tenants() | set(models_by_table)
    schema = read_schema()
    problems = []
    for name in sorted(tables):
        table = _look_at(name, schema)
        if key_column(name) not in table.columns:
            problems.append(f"{name} has no organization_id that would say whose its rows are")
        if not table.has_row_security:
            problems.append(f"{name} has no row-level security")
        if table.policies != _expected_policies(name):
            problems.append(f"{name} has other policies than it should: {table.policies}")
        if table.writable:
            problems.append(f"{name} can be changed by the tenant role")
        model = models_by_table.get(name)
        hidden = hidden_columns(model) if model else set()
        readable = set() if name in CLOSED else table.columns - hidden
        if table.readable != readable:
            differing = ", ".join(sorted(table.readable ^ readable))
            problems.append(f"{name} grants other columns than it should: {differing}")
    problems += [
        f"{name} can be reached by the tenant role, and belongs to no tenant"
        for name in sorted({table for _, table, _ in _grants(schema)} - tables)
    ]
    return problems
