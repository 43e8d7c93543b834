"""What must always be true of the money, computed by SQL of its own and not by the product."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection


@dataclass(frozen=True)
class WalletFigures:
    balance_pence: int
    reserved_pence: int
    owed_pence: int


def rows(sql: str, parameters: tuple = ()) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def execute(sql: str, parameters: tuple = ()) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def wallet_figures(organization) -> WalletFigures:
    """The figures on the organization's row as they are in the database now."""
    [figures] = rows(
        "SELECT balance_pence, reserved_pence, owed_pence FROM organizations WHERE id = %s",
        (getattr(organization, "pk", organization),),
    )
    return WalletFigures(*figures)


def hold_status(call_id: str) -> str:
    [(status,)] = rows("SELECT status FROM credit_reservations WHERE call_id = %s", (call_id,))
    return status


def charges(organization) -> list[tuple[int, int]]:
    """Each call charge of the organization: what was taken, and what became owed."""
    return rows(
        """
        SELECT amount_pence, owed_after_pence - owed_before_pence FROM credit_transactions
        WHERE organization_id = %s AND type = 'call_deduction' ORDER BY sequence
        """,
        (organization.pk,),
    )


def entries(organization) -> list[tuple]:
    """Each entry of the organization: type, signed amount, change of what is owed."""
    return rows(
        """
        SELECT type, CASE direction WHEN 'credit' THEN amount_pence ELSE -amount_pence END,
            owed_after_pence - owed_before_pence
        FROM credit_transactions WHERE organization_id = %s ORDER BY sequence
        """,
        (organization.pk,),
    )


def ledger_snapshot() -> dict[str, list[tuple]]:
    """Every row that money depends on, in full."""
    return {
        table: rows(f"SELECT * FROM {table} ORDER BY id")
        for table in ("organizations", "credit_reservations", "credit_transactions")
    }


@contextmanager
def nothing_changes() -> Iterator[None]:
    """The block leaves every organization, hold and entry exactly as it was."""
    before = ledger_snapshot()
    yield
    assert ledger_snapshot() == before


def check_deferred_constraints() -> None:
    """Make the database check now what it would check at commit."""
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("SET CONSTRAINTS ALL DEFERRED")


# Each finds the organizations of which it is not true.
BROKEN = {
    "balance = sum of entries": """
        SELECT o.id, o.balance_pence, coalesce(sum(
            CASE e.direction WHEN 'credit' THEN e.amount_pence ELSE -e.amount_pence END), 0)
        FROM organizations o LEFT JOIN credit_transactions e ON e.organization_id = o.id
        GROUP BY o.id HAVING o.balance_pence <> coalesce(sum(
            CASE e.direction WHEN 'credit' THEN e.amount_pence ELSE -e.amount_pence END), 0)
    """,
    "owed = sum of its changes": """
        SELECT o.id, o.owed_pence, coalesce(sum(e.owed_after_pence - e.owed_before_pence), 0)
        FROM organizations o LEFT JOIN credit_transactions e ON e.organization_id = o.id
        GROUP BY o.id
        HAVING o.owed_pence <> coalesce(sum(e.owed_after_pence - e.owed_before_pence), 0)
    """,
    "reserved = sum of active holds": """
        SELECT o.id, o.reserved_pence, coalesce(sum(r.reserved_pence), 0)
        FROM organizations o
        LEFT JOIN credit_reservations r ON r.organization_id = o.id AND r.status = 'active'
        GROUP BY o.id HAVING o.reserved_pence <> coalesce(sum(r.reserved_pence), 0)
    """,
    "within the debt limit": """
        SELECT id, balance_pence, reserved_pence, debt_limit_pence FROM organizations
        WHERE balance_pence - reserved_pence < -debt_limit_pence
    """,
    "entries are numbered without gaps": """
        SELECT o.id, o.last_sequence, count(e.id), max(e.sequence)
        FROM organizations o LEFT JOIN credit_transactions e ON e.organization_id = o.id
        GROUP BY o.id
        HAVING o.last_sequence <> count(e.id) OR o.last_sequence <> coalesce(max(e.sequence), 0)
    """,
    "entries start where the last one ended": """
        SELECT organization_id, sequence FROM (
            SELECT *,
                lag(balance_after_pence, 1, 0::bigint) OVER chain AS balance,
                lag(owed_after_pence, 1, 0::bigint) OVER chain AS owed
            FROM credit_transactions
            WINDOW chain AS (PARTITION BY organization_id ORDER BY sequence)
        ) AS entry
        WHERE balance_before_pence <> balance OR owed_before_pence <> owed
    """,
    "a call is charged at most once, by its own organization": """
        SELECT r.organization_id, r.call_id FROM credit_reservations r
        JOIN credit_transactions e ON e.reservation_id = r.id AND e.type = 'call_deduction'
        GROUP BY r.id HAVING count(*) > 1 OR bool_or(e.organization_id <> r.organization_id)
    """,
    "a call has an entry exactly if it was settled and cost something": """
        SELECT r.organization_id, r.call_id FROM credit_reservations r
        LEFT JOIN credit_transactions e ON e.reservation_id = r.id AND e.type = 'call_deduction'
        WHERE (e.id IS NOT NULL) <> (coalesce(r.settled_seconds, 0) > 0)
    """,
    "a call took and left owed its price, but for what it left owed and owes no more": """
        SELECT r.organization_id, r.call_id FROM credit_reservations r
        LEFT JOIN LATERAL (
            SELECT coalesce(sum(balance_before_pence - balance_after_pence), 0) AS taken,
                coalesce(sum(owed_after_pence - owed_before_pence), 0) AS owed
            FROM credit_transactions WHERE reservation_id = r.id
        ) AS e ON true
        CROSS JOIN LATERAL (SELECT ceil(
            ceil(coalesce(corrected_seconds, settled_seconds, 0)::numeric
                / billing_increment_seconds) * billing_increment_seconds
            * rate_pence_per_minute / 60) AS price) AS p
        WHERE e.taken + e.owed <> price
            AND NOT (corrected_seconds < settled_seconds
                AND e.taken <= price AND e.taken + e.owed > price)
    """,
    "a committed hold was charged what it says": """
        SELECT r.organization_id, r.call_id FROM credit_reservations r
        LEFT JOIN credit_transactions e ON e.reservation_id = r.id AND e.type = 'call_deduction'
        WHERE r.status = 'committed' AND r.committed_pence <> coalesce(e.amount_pence, 0)
    """,
}


ANY_BROKEN = " UNION ALL ".join(f"SELECT 1 WHERE EXISTS ({sql})" for sql in BROKEN.values())


def assert_ledger_intact() -> None:
    """Every balance, hold sum and owed sum is what entries and holds say."""
    if rows(ANY_BROKEN):
        broken = {rule: found for rule, sql in BROKEN.items() if (found := rows(sql))}
        raise AssertionError(f"not true: {broken}")
