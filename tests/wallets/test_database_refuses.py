"""What PostgreSQL itself refuses, so that no code path and no console can break the ledger.

Each is provoked with plain SQL, and must be refused by the constraint or trigger made for it.
"""

import json
import re
import uuid
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, transaction
from django.db.models import ProtectedError

from tests.factories import OrganizationFactory
from tests.wallets.invariants import (
    assert_ledger_intact,
    check_deferred_constraints,
    execute,
    ledger_snapshot,
    nothing_changes,
    rows,
    wallet_figures,
)
from tests.wallets.steps import (
    adjust,
    buy,
    commit,
    expire_all_holds,
    extend,
    release,
    reserve,
    set_debt_limit,
    top_up,
)

pytestmark = pytest.mark.django_db

CHECK_VIOLATION = "23514"
UNIQUE_VIOLATION = "23505"
RESTRICT_VIOLATION = "23001"
FOREIGN_KEY_VIOLATION = "23503"
NOT_NULL_VIOLATION = "23502"


@contextmanager
def refused(sqlstate, *, constraint=None, table=None, says=""):
    """The block, and what PostgreSQL checks at its commit, fail for exactly this reason."""
    check_deferred_constraints()
    refusal = None
    with nothing_changes():
        try:
            with transaction.atomic():
                yield
                execute("SET CONSTRAINTS ALL IMMEDIATE")
        except DatabaseError as error:
            refusal = error
    assert refusal is not None, "PostgreSQL accepted it"
    reason = refusal.__cause__.diag
    assert reason.sqlstate == sqlstate, refusal
    assert constraint in (None, reason.constraint_name), refusal
    assert table in (None, reason.table_name), refusal
    assert re.search(says, str(refusal)), refusal


@pytest.fixture
def organization():
    """Balance 1000 p, of which 245 p are held for call-1."""
    organization = OrganizationFactory(funded_pence=1000)
    reserve(organization)
    return organization


def insert(table, values):
    columns = ", ".join(values)
    places = ", ".join(["%s"] * len(values))
    execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", tuple(values.values()))


def insert_entry(organization, **changes):
    """The entry that would follow, made by hand, with some of its columns changed."""
    [(sequence, balance, owed)] = rows(
        "SELECT last_sequence, balance_pence, owed_pence FROM organizations WHERE id = %s",
        (organization.pk,),
    )
    values = {
        "id": uuid.uuid4(),
        "organization_id": organization.pk,
        "sequence": sequence + 1,
        "type": "topup",
        "direction": "credit",
        "amount_pence": 100,
        "balance_before_pence": balance,
        "balance_after_pence": balance + 100,
        "owed_before_pence": owed,
        "owed_after_pence": owed,
        "idempotency_key": "by hand",
        "description": "By hand",
        "created_at": "2026-01-01",
    } | changes
    insert("credit_transactions", values)


def carry_to_organization(organization):
    """What an honest writer does after an entry."""
    execute(
        """
        UPDATE organizations SET (balance_pence, owed_pence, last_sequence) = (
            SELECT balance_after_pence, owed_after_pence, sequence FROM credit_transactions
            WHERE organization_id = organizations.id ORDER BY sequence DESC LIMIT 1)
        WHERE id = %s
        """,
        (organization.pk,),
    )


def insert_hold(organization, **changes):
    values = {
        "id": uuid.uuid4(),
        "organization_id": organization.pk,
        "call_id": "by hand",
        "status": "active",
        "reserved_pence": 49,
        "estimated_minutes": 1,
        "rate_pence_per_minute": 49,
        "billing_increment_seconds": 60,
        "created_at": "2026-01-01",
        "expires_at": "2026-01-01",
    } | changes
    insert("credit_reservations", values)


def update_organization(organization, assignments):
    execute(f"UPDATE organizations SET {assignments} WHERE id = %s", (organization.pk,))


def update_hold(assignments, call_id="call-1"):
    execute(f"UPDATE credit_reservations SET {assignments} WHERE call_id = %s", (call_id,))


def reservation_id(call_id="call-1"):
    [(found,)] = rows("SELECT id FROM credit_reservations WHERE call_id = %s", (call_id,))
    return found


# --- controls: what the refusals below differ from by one thing is accepted ---


def test_control_an_honest_entry_and_hold_are_accepted(organization):
    insert_entry(organization)
    carry_to_organization(organization)
    insert_hold(organization)
    update_organization(organization, "reserved_pence = reserved_pence + 49")
    check_deferred_constraints()
    assert_ledger_intact()


# --- organizations ---


def test_a_negative_sum_of_holds(organization):
    with refused(CHECK_VIOLATION, constraint="organizations_reserved_not_negative"):
        update_organization(organization, "reserved_pence = -1")


def test_a_balance_below_its_holds(organization):
    with refused(CHECK_VIOLATION, constraint="organizations_within_debt_limit"):
        update_organization(organization, "reserved_pence = 1001")


def test_a_balance_below_its_holds_and_debt_limit(organization):
    set_debt_limit(organization, 100)
    with refused(CHECK_VIOLATION, constraint="organizations_within_debt_limit"):
        update_organization(organization, "reserved_pence = 1101")


def test_a_debt_limit_below_the_debt_in_use(organization):
    set_debt_limit(organization, 100)
    extend("call-1", 60 * 22)  # 1,078 p held, 78 p of them debt
    update_organization(organization, "debt_limit_pence = 78")
    with refused(CHECK_VIOLATION, constraint="organizations_within_debt_limit"):
        update_organization(organization, "debt_limit_pence = 77")


@pytest.mark.parametrize("reserved_pence", [0, 244, 246])
def test_reserved_pence_other_than_the_active_holds(organization, reserved_pence):
    with refused(CHECK_VIOLATION, constraint="organizations_matches_holds"):
        update_organization(organization, f"reserved_pence = {reserved_pence}")


def test_a_hold_changed_without_its_organization(organization):
    with refused(CHECK_VIOLATION, constraint="organizations_matches_holds"):
        update_hold("reserved_pence = 196")


def test_a_hold_closed_without_its_organization(organization):
    with refused(CHECK_VIOLATION, constraint="organizations_matches_holds"):
        update_hold(
            "status = 'released', committed_pence = 0, released_pence = 245, released_at = now()"
        )


@pytest.mark.parametrize(
    "ids",
    [
        {"call_id": "theirs", "vapi_call_id": None},
        {"call_id": "new", "vapi_call_id": "call-1"},
        {"call_id": "theirs", "vapi_call_id": "new"},
    ],
)
def test_one_id_for_two_calls(organization, ids):
    update_hold("vapi_call_id = 'theirs'")
    with refused(UNIQUE_VIOLATION, constraint="credit_reservations_one_call_for_an_id"):
        execute(
            """
            INSERT INTO credit_reservations
            SELECT (jsonb_populate_record(hold, %s::jsonb)).*
            FROM credit_reservations AS hold WHERE call_id = 'call-1'
            """,
            (json.dumps({"id": str(uuid.uuid4()), **ids}),),
        )


def test_another_vapi_id_for_a_call_whose_own_is_known(organization):
    update_hold("vapi_call_id = 'first'")
    for second in ("'second'", "NULL"):
        with refused(RESTRICT_VIOLATION, table="credit_reservations", says="learned once"):
            update_hold(f"vapi_call_id = {second}")


def test_an_entry_that_names_a_reservation_of_another_organization(organization):
    other = OrganizationFactory(funded_pence=1000)
    with refused(CHECK_VIOLATION, constraint="credit_transactions_own_reservation"):
        insert_entry(other, reservation_id=reservation_id())
        carry_to_organization(other)


def test_a_debit_below_the_floor(organization):
    with refused(CHECK_VIOLATION, constraint="organizations_within_debt_limit"):
        insert_entry(
            organization,
            type="license",
            direction="debit",
            amount_pence=756,
            balance_after_pence=244,
        )
        carry_to_organization(organization)


def test_a_negative_debt_limit(organization):
    with refused(CHECK_VIOLATION, constraint="organizations_debt_limit_not_negative"):
        update_organization(organization, "debt_limit_pence = -1")


def test_something_negative_owed(organization):
    with refused(CHECK_VIOLATION, constraint="organizations_owed_not_negative"):
        update_organization(organization, "owed_pence = -1")


@pytest.mark.parametrize("column", ["rate_pence_per_minute", "billing_increment_seconds"])
def test_a_tariff_of_nothing(organization, column):
    with refused(CHECK_VIOLATION, constraint="organizations_tariff_positive"):
        update_organization(organization, f"{column} = 0")


def test_an_unknown_status_of_an_organization(organization):
    with refused(CHECK_VIOLATION, constraint="organizations_status_known"):
        update_organization(organization, "status = 'closed'")


@pytest.mark.parametrize(
    "column",
    [
        "balance_pence", "reserved_pence", "owed_pence", "debt_limit_pence", "last_sequence",
        "rate_pence_per_minute", "billing_increment_seconds", "status",
    ],
)  # fmt: skip
def test_an_unknown_figure_of_an_organization(organization, column):
    with refused(NOT_NULL_VIOLATION, table="organizations"):
        update_organization(organization, f"{column} = NULL")


@pytest.mark.parametrize(
    "assignment",
    ["balance_pence = 1001", "owed_pence = 1", "last_sequence = 2", "last_sequence = 0"],
)
def test_figures_that_are_not_the_last_entrys_at_commit(organization, assignment):
    with refused(CHECK_VIOLATION, constraint="organizations_matches_last_entry"):
        update_organization(organization, assignment)


def test_an_organization_that_is_born_with_money():
    with refused(CHECK_VIOLATION, constraint="organizations_matches_last_entry"):
        OrganizationFactory(balance_pence=1)


def test_an_entry_that_its_organization_does_not_follow_at_commit(organization):
    with refused(CHECK_VIOLATION, constraint="organizations_matches_last_entry"):
        insert_entry(organization)


def test_two_entries_of_which_the_organization_follows_the_first_only(organization):
    with refused(CHECK_VIOLATION, constraint="organizations_matches_last_entry"):
        insert_entry(organization)
        carry_to_organization(organization)
        [(balance, sequence)] = rows(
            "SELECT balance_pence, last_sequence FROM organizations WHERE id = %s",
            (organization.pk,),
        )
        insert_entry(organization, idempotency_key="second")
        execute(
            "UPDATE organizations SET balance_pence = %s, last_sequence = %s WHERE id = %s",
            (balance, sequence, organization.pk),
        )


@pytest.mark.django_db(transaction=True)
def test_a_mismatch_is_refused_at_a_real_commit(organization):
    with pytest.raises(DatabaseError, match="its last entry says"), transaction.atomic():
        update_organization(organization, "balance_pence = 5000")
    assert wallet_figures(organization).balance_pence == 1000


def test_deleting_an_organization_with_entries():
    organization = OrganizationFactory(funded_pence=1000)
    with refused(FOREIGN_KEY_VIOLATION, table="credit_transactions"):
        execute("DELETE FROM organizations WHERE id = %s", (organization.pk,))


def test_deleting_an_organization_with_holds():
    organization = OrganizationFactory()
    commit("call-1", 0, organization_id=organization.pk)
    with refused(FOREIGN_KEY_VIOLATION, table="credit_reservations"):
        execute("DELETE FROM organizations WHERE id = %s", (organization.pk,))


def test_deleting_an_organization_with_entries_through_its_model(organization):
    with pytest.raises(ProtectedError), nothing_changes():
        organization.delete()


def test_control_an_organization_without_entries_can_be_deleted():
    organization = OrganizationFactory()
    execute("DELETE FROM organizations WHERE id = %s", (organization.pk,))
    check_deferred_constraints()


# --- entries ---


def test_a_negative_amount(organization):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_amount_not_negative"):
        insert_entry(organization, amount_pence=-100, balance_after_pence=900)


def test_an_entry_that_changes_nothing(organization):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_changes_something"):
        insert_entry(organization, amount_pence=0, balance_after_pence=1000)


def test_control_an_entry_that_changes_only_what_is_owed(organization):
    insert_entry(
        organization,
        type="clawback",
        direction="debit",
        amount_pence=0,
        balance_after_pence=1000,
        owed_after_pence=5,
    )
    carry_to_organization(organization)
    check_deferred_constraints()


@pytest.mark.parametrize(
    ("entry_type", "direction", "balance_after_pence"),
    [("topup", "credit", 1099), ("topup", "credit", 900), ("license", "debit", 1100)],
)
def test_a_balance_that_does_not_add_up(organization, entry_type, direction, balance_after_pence):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_balance_adds_up"):
        insert_entry(
            organization,
            type=entry_type,
            direction=direction,
            balance_after_pence=balance_after_pence,
        )


def test_an_unknown_direction(organization):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_balance_adds_up"):
        insert_entry(organization, type="adjustment", direction="both")


@pytest.mark.parametrize(
    ("entry_type", "direction"),
    [
        ("topup", "debit"), ("refund", "debit"), ("bonus", "debit"), ("call_deduction", "credit"),
        ("phone_provisioning", "credit"), ("clawback", "credit"), ("recovery", "credit"),
        ("write_off", "credit"), ("gift", "credit"), ("", "debit"),
    ],
)  # fmt: skip
def test_a_type_that_is_unknown_or_goes_the_other_way(organization, entry_type, direction):
    sign = 1 if direction == "credit" else -1
    with refused(CHECK_VIOLATION, constraint="credit_transactions_type_has_direction"):
        insert_entry(
            organization,
            type=entry_type,
            direction=direction,
            balance_after_pence=1000 + sign * 100,
            reservation_id=reservation_id(),
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "topup", "owed_after_pence": 500},
        {"type": "license", "direction": "debit", "owed_after_pence": 500},
        {"type": "write_off", "direction": "debit"},
        {"type": "write_off", "direction": "debit", "amount_pence": 0, "owed_after_pence": 1},
        {"type": "recovery", "direction": "debit"},
        {"type": "recovery", "direction": "debit", "owed_after_pence": 100},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())),
)
def test_an_entry_that_moves_what_is_owed_as_its_type_does_not(organization, changes):
    [(balance,)] = rows("SELECT balance_pence FROM organizations WHERE id = %s", (organization.pk,))
    pence = changes.get("amount_pence", 100)
    after = balance - pence if changes.get("direction") == "debit" else balance + pence
    with refused(CHECK_VIOLATION, constraint="credit_transactions_type_moves_owed"):
        insert_entry(organization, **changes, balance_after_pence=after)


def test_something_negative_owed_by_an_entry(organization):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_owed_not_negative"):
        insert_entry(organization, owed_after_pence=-1)


@pytest.mark.parametrize(
    "column",
    [
        "sequence", "type", "direction", "amount_pence", "balance_before_pence",
        "balance_after_pence", "owed_before_pence", "owed_after_pence", "idempotency_key",
        "description", "created_at",
    ],
)  # fmt: skip
def test_an_entry_with_something_unknown(organization, column):
    with refused(NOT_NULL_VIOLATION, table="credit_transactions"):
        insert_entry(organization, **{column: None})


def test_an_entry_that_names_no_organization():
    with refused(NOT_NULL_VIOLATION, table="credit_transactions"):
        insert_entry(
            OrganizationFactory(),
            organization_id=None,
            sequence=1,
            balance_before_pence=0,
            balance_after_pence=100,
        )


def test_an_entry_of_an_unknown_organization(organization):
    with refused(FOREIGN_KEY_VIOLATION, table="credit_transactions"):
        insert_entry(
            organization,
            organization_id=uuid.uuid4(),
            sequence=1,
            balance_before_pence=0,
            balance_after_pence=100,
        )


def test_an_entry_made_by_an_unknown_person(organization):
    with refused(FOREIGN_KEY_VIOLATION, table="credit_transactions"):
        top_up(organization, 5, created_by_id=2**31 - 1)


@pytest.mark.parametrize("sequence", [-1, 0, 1, 3, 10**6])
def test_a_gap_or_a_repetition_in_the_sequence(organization, sequence):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_follows_last"):
        insert_entry(organization, sequence=sequence)


@pytest.mark.parametrize(
    "changes",
    [
        {"balance_before_pence": 999, "balance_after_pence": 1099},
        {"balance_before_pence": 0, "balance_after_pence": 100},
        {"owed_before_pence": 1, "owed_after_pence": 1},
    ],
)
def test_an_entry_that_does_not_start_where_the_last_one_ended(organization, changes):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_follows_last"):
        insert_entry(organization, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 2},
        {"sequence": 0},
        {"balance_before_pence": 1, "balance_after_pence": 101},
        {"owed_before_pence": 1, "owed_after_pence": 1},
    ],
)
def test_a_first_entry_that_is_not_the_first(changes):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_follows_last"):
        insert_entry(OrganizationFactory(), **changes)


def test_several_entries_in_one_statement_of_which_one_leaves_a_gap(organization):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_follows_last"):
        execute(
            """
            INSERT INTO credit_transactions (id, organization_id, sequence, type, direction,
                amount_pence, balance_before_pence, balance_after_pence, owed_before_pence,
                owed_after_pence, idempotency_key, description, created_at)
            SELECT gen_random_uuid(), organization_id, sequence + step, 'topup', 'credit',
                1, balance_after_pence + step - 1, balance_after_pence + step, 0,
                0, 'step ' || step, '', created_at
            FROM credit_transactions, (VALUES (1), (2), (4)) AS steps (step)
            ORDER BY step
            """
        )


def test_a_second_entry_for_a_key(organization):
    with refused(UNIQUE_VIOLATION, constraint="idx_credit_txn_idempotency"):
        insert_entry(organization, idempotency_key="credit:opening")


def test_control_another_organization_may_use_the_key(organization):
    OrganizationFactory(funded_pence=5)  # its entry has the key that the first one's has
    check_deferred_constraints()


def test_a_second_charge_for_a_call(organization):
    commit("call-1", 60)
    with refused(UNIQUE_VIOLATION, constraint="credit_transactions_one_charge_per_call"):
        insert_entry(
            organization,
            type="call_deduction",
            direction="debit",
            balance_after_pence=851,
            reservation_id=reservation_id(),
        )


def test_a_charge_for_no_call(organization):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_call_charge_names_its_call"):
        insert_entry(
            organization, type="call_deduction", direction="debit", balance_after_pence=900
        )


CHANGES_OF_ENTRIES = {
    "update": "UPDATE credit_transactions SET description = 'Another'",
    "update of no row": "UPDATE credit_transactions SET description = '' WHERE false",
    "update to the same": "UPDATE credit_transactions SET amount_pence = amount_pence",
    "delete": "DELETE FROM credit_transactions",
    "delete of no row": "DELETE FROM credit_transactions WHERE false",
    "truncate": "TRUNCATE credit_transactions, number_orders, topups, refunds, disputes",
    "truncate with cascade": "TRUNCATE credit_transactions CASCADE",
    "upsert": """
        INSERT INTO credit_transactions SELECT * FROM credit_transactions
        ON CONFLICT (id) DO UPDATE SET amount_pence = 0
    """,
    "merge": """
        MERGE INTO credit_transactions USING organizations ON false
        WHEN MATCHED THEN DELETE
    """,
}


@pytest.mark.parametrize("sql", CHANGES_OF_ENTRIES.values(), ids=CHANGES_OF_ENTRIES)
def test_changing_an_entry_in_any_way(organization, sql):
    with refused(RESTRICT_VIOLATION, table="credit_transactions", says="never changed or deleted"):
        execute(sql)


def test_truncating_organizations_and_all_that_hangs_on_them(organization):
    # Holds and entries both refuse; which of them is asked first is PostgreSQL's business.
    with refused(RESTRICT_VIOLATION, says="never (changed or )?deleted"):
        execute("TRUNCATE organizations CASCADE")


def test_changing_entries_when_there_are_none():
    with refused(RESTRICT_VIOLATION, table="credit_transactions"):
        execute("DELETE FROM credit_transactions")


def test_a_console_cannot_mislead_the_triggers_with_tables_of_its_own(organization):
    """A temporary table of the same name comes first for a session, never for the triggers."""
    with refused(CHECK_VIOLATION, constraint="organizations_matches_last_entry"):
        execute(
            """
            CREATE TEMPORARY TABLE credit_transactions (LIKE public.credit_transactions);
            CREATE TEMPORARY TABLE organizations (LIKE public.organizations);
            SET LOCAL search_path = pg_temp, public;
            INSERT INTO pg_temp.credit_transactions SELECT * FROM public.credit_transactions;
            UPDATE pg_temp.credit_transactions SET balance_after_pence = 5000;
            INSERT INTO pg_temp.organizations SELECT * FROM public.organizations;
            UPDATE pg_temp.organizations SET balance_pence = 5000;
            UPDATE public.organizations SET balance_pence = 5000;
            """
        )


def test_a_console_cannot_mislead_the_order_of_entries_with_a_table_of_its_own(organization):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_follows_last"):
        execute(
            """
            CREATE TEMPORARY TABLE credit_transactions (LIKE public.credit_transactions);
            INSERT INTO pg_temp.credit_transactions SELECT * FROM public.credit_transactions;
            UPDATE pg_temp.credit_transactions SET sequence = 7, balance_after_pence = 5000;
            INSERT INTO public.credit_transactions (id, organization_id, sequence, type, direction,
                amount_pence, balance_before_pence, balance_after_pence, owed_before_pence,
                owed_after_pence, idempotency_key, description, created_at)
            SELECT gen_random_uuid(), organization_id, 8, type, direction, 1, 5000, 5001, 0, 0,
                'forged', '', created_at
            FROM public.credit_transactions;
            """
        )


# --- holds ---


def test_a_negative_hold(organization):
    with refused(CHECK_VIOLATION, constraint="credit_reservations_hold_not_negative"):
        insert_hold(organization, reserved_pence=-1)


@pytest.mark.parametrize("column", ["rate_pence_per_minute", "billing_increment_seconds"])
def test_a_hold_with_a_tariff_of_nothing(organization, column):
    with refused(CHECK_VIOLATION, constraint="credit_reservations_tariff_positive"):
        insert_hold(organization, **{column: 0})


def test_a_second_reservation_for_a_call(organization):
    with refused(UNIQUE_VIOLATION, constraint=unique_constraint("call_id")):
        insert_hold(organization, call_id="call-1")


def test_a_second_reservation_for_a_call_by_another_organization(organization):
    with refused(UNIQUE_VIOLATION, constraint=unique_constraint("call_id")):
        insert_hold(OrganizationFactory(), call_id="call-1")


def test_a_second_reservation_for_a_settled_call(organization):
    commit("call-1", 0)
    with refused(UNIQUE_VIOLATION, constraint=unique_constraint("call_id")):
        insert_hold(organization, call_id="call-1")


def test_a_second_reservation_for_vapis_id(organization):
    reserve(organization, "call-2", minutes=1, vapi_call_id="vapis")
    with refused(UNIQUE_VIOLATION, constraint=unique_constraint("vapi_call_id")):
        insert_hold(organization, vapi_call_id="vapis")


def unique_constraint(column):
    [(name,)] = rows(
        """
        SELECT conname FROM pg_constraint
        WHERE conrelid = 'credit_reservations'::regclass AND contype = 'u'
            AND pg_get_constraintdef(oid) = %s
        """,
        (f"UNIQUE ({column})",),
    )
    return name


@pytest.mark.parametrize(
    "column",
    [
        "organization_id", "call_id", "status", "reserved_pence", "estimated_minutes",
        "rate_pence_per_minute", "billing_increment_seconds", "created_at", "expires_at",
    ],
)  # fmt: skip
def test_a_hold_with_something_unknown(organization, column):
    with refused(NOT_NULL_VIOLATION, table="credit_reservations"):
        insert_hold(organization, **{column: None})


COMMITTED = {
    "status": "committed",
    "committed_pence": 9,
    "released_pence": 40,
    "committed_at": "2026-01-01",
    "settled_at": "2026-01-01",
    "settled_seconds": 9,
}
EXPIRED = {
    "status": "expired",
    "committed_pence": 0,
    "released_pence": 49,
    "released_at": "2026-01-01",
}
RELEASED = EXPIRED | {"status": "released"}


@pytest.mark.parametrize(
    "values",
    [
        COMMITTED,
        COMMITTED | {"committed_pence": 60, "released_pence": 0},
        COMMITTED | {"committed_pence": 0, "released_pence": 49, "settled_seconds": 0},
        EXPIRED,
        RELEASED,
        RELEASED | {"settled_at": "2026-01-02", "settled_seconds": 9},
        EXPIRED | {"settled_at": "2026-01-02", "settled_seconds": 0},
    ],
)
def test_control_a_hold_that_has_closed_with_its_amounts(organization, values):
    insert_hold(organization, **values)
    check_deferred_constraints()


WRONG_AMOUNTS = [
    *({"status": status} for status in ("committed", "released", "expired", "unknown", "")),
    *(COMMITTED | {column: None} for column in COMMITTED if not column.startswith("s")),
    COMMITTED | {"settled_at": None, "settled_seconds": None},
    COMMITTED | {"settled_at": "2026-01-02"},
    COMMITTED | {"released_at": "2026-01-01"},
    COMMITTED | {"committed_pence": -1, "released_pence": 50},
    COMMITTED | {"released_pence": 39},
    COMMITTED | {"released_pence": 41},
    COMMITTED | {"released_pence": 0},
    COMMITTED | {"committed_pence": 60, "released_pence": -11},
    *(EXPIRED | {column: None} for column in EXPIRED if column != "status"),
    *(RELEASED | {column: None} for column in RELEASED if column != "status"),
    EXPIRED | {"released_pence": 48},
    RELEASED | {"released_pence": 50},
    RELEASED | {"committed_pence": 1, "released_pence": 48},
    RELEASED | {"committed_at": "2026-01-01"},
    {"committed_pence": 0},
    {"released_pence": 0},
    {"committed_at": "2026-01-01"},
    {"released_at": "2026-01-01"},
    {"settled_at": "2026-01-01", "settled_seconds": 9},
]


@pytest.mark.parametrize("values", WRONG_AMOUNTS)
def test_amounts_that_are_missing_or_do_not_match_the_status(organization, values):
    with refused(CHECK_VIOLATION, constraint="credit_reservations_amounts_match_status"):
        insert_hold(organization, **values)


def test_closing_a_hold_without_its_amounts(organization):
    with refused(CHECK_VIOLATION, constraint="credit_reservations_amounts_match_status"):
        update_hold("status = 'released'")


@pytest.mark.parametrize(
    "values",
    [
        COMMITTED | {"settled_seconds": None},
        RELEASED | {"settled_at": "2026-01-02"},
        RELEASED | {"settled_seconds": 9},
        {"settled_seconds": 9},
    ],
)
def test_a_settlement_without_its_seconds_or_moment(organization, values):
    with refused(CHECK_VIOLATION, constraint="credit_reservations_settled_with_seconds"):
        insert_hold(organization, **values)


def test_a_settlement_of_negative_seconds(organization):
    # Either of two checks may come first: the column's own, or the one that names the rule.
    with refused(CHECK_VIOLATION, table="credit_reservations"):
        insert_hold(organization, **COMMITTED | {"settled_seconds": -1})


CLOSE = {
    "committed": lambda: commit("call-1", 61),
    "released": lambda: release("call-1"),
    "expired": expire_all_holds,
}
REOPEN = (
    "status = 'active', committed_pence = NULL, released_pence = NULL,"
    " committed_at = NULL, released_at = NULL"
)


@pytest.mark.parametrize("status", CLOSE)
@pytest.mark.parametrize(
    "assignments",
    [
        REOPEN,
        "reserved_pence = reserved_pence + 1",
        "committed_pence = committed_pence + 1, released_pence = released_pence - 1",
        "released_at = now(), committed_at = now()",
        "committed_pence = NULL",
    ],
)
def test_a_closed_hold_opens_no_more_and_keeps_its_amounts(organization, status, assignments):
    CLOSE[status]()
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="closes once"):
        update_hold(assignments)


def test_a_released_hold_does_not_become_a_committed_one(organization):
    CLOSE["released"]()
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="closes once"):
        update_hold(
            "status = 'committed', committed_pence = 245, released_pence = 0, released_at = NULL,"
            " committed_at = now(), settled_at = now(), settled_seconds = 300"
        )


@pytest.mark.parametrize("status", ["released", "expired"])
@pytest.mark.parametrize(
    "assignments",
    [
        "settled_seconds = settled_seconds + 1",
        "settled_at = settled_at + interval '1 second'",
        "settled_at = NULL, settled_seconds = NULL",
    ],
)
def test_settling_a_call_twice(organization, status, assignments):
    CLOSE[status]()
    commit("call-1", 61)
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="settled once"):
        update_hold(assignments)


def test_settling_a_committed_call_with_another_duration(organization):
    CLOSE["committed"]()
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="settled once"):
        update_hold("settled_seconds = 600")


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize(
    "assignment",
    [
        "id = gen_random_uuid()",
        "call_id = 'another'",
        "rate_pence_per_minute = 1",
        "billing_increment_seconds = 1",
        "created_at = now() - interval '1 day'",
    ],
)
def test_changing_the_call_or_tariff_of_a_hold(organization, assignment, closed):
    if closed:
        CLOSE["committed"]()
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="never change"):
        update_hold(assignment)


def test_changing_the_owner_of_a_hold(organization):
    other = OrganizationFactory()
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="never change"):
        update_hold(f"organization_id = '{other.pk}'")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM credit_reservations",
        "DELETE FROM credit_reservations WHERE false",
        "TRUNCATE credit_reservations CASCADE",
    ],
)
@pytest.mark.parametrize("status", [None, *CLOSE])
def test_deleting_a_hold(organization, sql, status):
    if status is not None:
        CLOSE[status]()
    with refused(RESTRICT_VIOLATION, says="never (changed or )?deleted"):
        execute(sql)


def test_control_a_live_hold_may_be_raised_and_renewed(organization):
    update_hold("reserved_pence = 294, expires_at = now(), vapi_call_id = 'vapis'")
    update_organization(organization, "reserved_pence = 294")
    check_deferred_constraints()
    assert_ledger_intact()


# --- corrections, and ids that are given up ---


def correction_entry(organization, **changes):
    """An entry that corrects call-1, by hand."""
    insert_entry(
        organization,
        **{
            "type": "adjustment",
            "direction": "debit",
            "amount_pence": 10,
            "balance_after_pence": wallet_figures(organization).balance_pence - 10,
            "reservation_id": reservation_id(),
        }
        | changes,
    )


@pytest.fixture
def corrected(organization):
    """Call-1 was settled at 61 s for 98 p, and Vapi says the same."""
    commit("call-1", 61)
    update_hold("corrected_seconds = 61")
    return organization


def test_control_the_first_correction_of_a_call_is_accepted(corrected):
    correction_entry(corrected)
    carry_to_organization(corrected)
    check_deferred_constraints()


def test_a_second_correction_of_a_call(corrected):
    correction_entry(corrected)
    carry_to_organization(corrected)
    with refused(UNIQUE_VIOLATION, constraint="credit_transactions_one_correction_per_call"):
        correction_entry(corrected, idempotency_key="another")
        carry_to_organization(corrected)


def test_a_correction_of_a_call_that_was_not_corrected(organization):
    commit("call-1", 61)
    with refused(CHECK_VIOLATION, constraint="credit_transactions_correction_of_corrected"):
        correction_entry(organization)
        carry_to_organization(organization)


def test_a_correction_that_gives_back_more_than_was_taken(corrected):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_correction_within_charge"):
        correction_entry(
            corrected, direction="credit", amount_pence=99, balance_after_pence=902 + 99
        )
        carry_to_organization(corrected)


def test_a_correction_that_gives_back_more_than_was_left_owed(corrected):
    """The debt of another call is not this one's to lower."""
    commit("another", 6000, organization_id=corrected.pk)  # 902 p taken, the rest owed
    owed = wallet_figures(corrected).owed_pence
    with refused(CHECK_VIOLATION, constraint="credit_transactions_correction_within_charge"):
        correction_entry(
            corrected,
            direction="credit",
            amount_pence=0,
            balance_after_pence=0,
            owed_after_pence=owed - 1,
        )
        carry_to_organization(corrected)


@pytest.mark.parametrize(
    "changes",
    [
        {"direction": "debit", "balance_after_pence": 892, "owed_after_pence": 9},
        {"direction": "credit", "balance_after_pence": 912, "owed_after_pence": 11},
    ],
)
def test_a_correction_that_moves_money_and_what_is_owed_in_opposite_directions(corrected, changes):
    commit("another", 60 * 19, organization_id=corrected.pk)
    adjust(corrected, 902 - wallet_figures(corrected).balance_pence)
    owed = wallet_figures(corrected).owed_pence
    change = changes["owed_after_pence"] - 10
    with refused(CHECK_VIOLATION, constraint="credit_transactions_type_moves_owed"):
        correction_entry(corrected, **changes | {"owed_after_pence": owed + change})
        carry_to_organization(corrected)


def test_an_adjustment_of_what_is_owed_that_names_no_call(corrected):
    with refused(CHECK_VIOLATION, constraint="credit_transactions_type_moves_owed"):
        correction_entry(corrected, reservation_id=None, owed_after_pence=1)
        carry_to_organization(corrected)


def test_correcting_a_call_before_it_is_settled(organization):
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="corrected once, after"):
        update_hold("corrected_seconds = 60")


def test_correcting_a_call_as_it_is_settled(organization):
    release("call-1")
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="corrected once, after"):
        update_hold("settled_at = now(), settled_seconds = 0, corrected_seconds = 0")


@pytest.mark.parametrize("assignment", ["corrected_seconds = 62", "corrected_seconds = NULL"])
def test_correcting_a_call_twice(corrected, assignment):
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="corrected once"):
        update_hold(assignment)


def test_a_hold_that_is_born_corrected(organization):
    with refused(CHECK_VIOLATION, constraint="credit_reservations_corrected_when_settled"):
        insert_hold(organization, corrected_seconds=1)


@pytest.mark.parametrize("vapi_call_id", [None, "vapis"])
def test_control_an_id_may_be_given_up_for_the_rows_own_key(organization, vapi_call_id):
    reserve(organization, vapi_call_id="vapis")
    found = reservation_id()
    execute(
        "UPDATE credit_reservations SET call_id = 'displaced:' || id, vapi_call_id = %s"
        " WHERE id = %s",
        (vapi_call_id, found),
    )
    assert rows("SELECT call_id FROM credit_reservations") == [(f"displaced:{found}",)]


@pytest.mark.parametrize(
    "assignments",
    ["call_id = 'call-1'", "call_id = 'displaced:'", "call_id = 'displaced:' || gen_random_uuid()"],
)
def test_taking_an_id_back_or_another(organization, assignments):
    update_hold("call_id = 'displaced:' || id")
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="never change"):
        execute(f"UPDATE credit_reservations SET {assignments}")


@pytest.mark.parametrize("assignments", ["vapi_call_id = NULL", "vapi_call_id = 'another'"])
def test_forgetting_vapis_id_while_the_call_has_its_own(organization, assignments):
    reserve(organization, vapi_call_id="vapis")
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="learned once"):
        update_hold(assignments)


def test_learning_vapis_id_after_the_id_was_given_up(organization):
    update_hold("call_id = 'displaced:' || id")
    with refused(RESTRICT_VIOLATION, table="credit_reservations", says="learned once"):
        execute("UPDATE credit_reservations SET vapi_call_id = 'vapis'")


def test_taking_the_name_that_another_row_needs_to_give_its_id_up(organization):
    with refused(CHECK_VIOLATION, constraint="credit_reservations_displaced_by_own_key"):
        insert_hold(organization, call_id=f"displaced:{reservation_id()}")


# --- all of it at once ---


def test_no_trigger_of_the_ledger_is_switched_off_or_can_be_by_a_setting():
    """`O` fires for every ordinary session; `D` would be off."""
    found = rows(
        """
        SELECT tgname, tgenabled FROM pg_trigger
        WHERE NOT tgisinternal AND tgrelid IN ('organizations'::regclass,
            'credit_transactions'::regclass, 'credit_reservations'::regclass)
        """
    )
    expected = {
        "credit_transactions_append_only",
        "credit_transactions_follows_last",
        "credit_transactions_matches_organization",
        "organizations_matches_last_entry",
        "credit_reservations_close_once",
        "credit_reservations_kept",
    }
    enabled = {name for name, state in found if state in ("O", "A")}
    assert expected <= enabled


def test_after_ordinary_use_the_database_agrees_with_itself(organization):
    buy(organization, 100)
    top_up(organization, 50)
    commit("call-1", 61)
    check_deferred_constraints()
    assert_ledger_intact()
    assert len(ledger_snapshot()["credit_transactions"]) == 4
