"""What the wallets' tables are: columns, constraints, indexes, triggers and their functions."""

from voxbilling.operations.verification.schema import read_schema

TABLES = ("organizations", "memberships", "credit_reservations", "credit_transactions")
_KINDS = {"column", "constraint", "index", "trigger", "function"}


def schema() -> list[tuple]:
    """All of it as PostgreSQL spells it, so that two of them can be compared."""
    return sorted(
        (kind, name, state.definition)
        for (kind, name), state in read_schema().items()
        # A trigger's function begins with the name of its table.
        if kind in _KINDS and name.startswith(TABLES)
    )
