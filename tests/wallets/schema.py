"""What the wallets' tables are: columns, constraints, indexes, triggers and their functions."""

from tests.wallets.invariants import rows

TABLES = ("organizations", "memberships", "credit_reservations", "credit_transactions")


def schema() -> list[tuple]:
    """All of it as PostgreSQL spells it, so that two of them can be compared."""
    tables = list(TABLES)
    return rows(
        """
        SELECT 'column', table_name::text || '.' || column_name,
            concat_ws(' ', data_type, character_maximum_length, is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name = ANY(%s)
        UNION ALL
        SELECT 'constraint', conname::text, pg_get_constraintdef(c.oid) FROM pg_constraint c
        JOIN pg_class t ON t.oid = conrelid WHERE relname = ANY(%s)
        UNION ALL
        SELECT 'index', indexname::text, indexdef FROM pg_indexes WHERE tablename = ANY(%s)
        UNION ALL
        SELECT 'trigger', tgname::text, pg_get_triggerdef(g.oid) FROM pg_trigger g
        JOIN pg_class t ON t.oid = tgrelid WHERE relname = ANY(%s) AND NOT tgisinternal
        UNION ALL
        SELECT DISTINCT 'function', proname::text, pg_get_functiondef(p.oid) FROM pg_proc p
        JOIN pg_trigger g ON g.tgfoid = p.oid JOIN pg_class t ON t.oid = g.tgrelid
        WHERE relname = ANY(%s) AND NOT g.tgisinternal
        ORDER BY 1, 2
        """,
        (tables,) * 5,
    )


def functions_of_triggers() -> list[str]:
    """Every trigger function in the database, whether a trigger still calls it or not."""
    found = rows(
        """
        SELECT proname::text FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND prorettype = 'trigger'::regtype
        """
    )
    return [name for (name,) in found]
