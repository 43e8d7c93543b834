"""Pages take as many statements with 100,000 entries as with one, and read as few rows.

Of what was spent by day and of a month's statement, they read the days and the month, however much
came before.
"""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls.models import Call
from tests.pages.visitors import PART, links

pytestmark = pytest.mark.django_db

MANY = 100_000
# Who asks, for whom, the tenant scope with its savepoints, and what is shown.
MOST_STATEMENTS = 20
# A read, and the tenant scope around it.
STATEMENTS_PER_CHUNK = 6
# A minute apart, up to now: a busy month has some 43,000.
_ENTRIES = """
INSERT INTO credit_transactions (id, organization_id, sequence, type, direction, amount_pence,
    balance_before_pence, balance_after_pence, owed_before_pence, owed_after_pence,
    idempotency_key, description, created_at)
SELECT gen_random_uuid(), %(organization)s, n, 'topup', 'credit', 1, n - 1, n, 0, 0, 'bulk-' || n,
    'Entry ' || n, now() - (%(many)s - n) * interval '1 minute'
FROM generate_series(2, %(many)s) AS n
"""
_CALLS = """
INSERT INTO calls (id, organization_id, call_id, customer_call_id, announced_by_vapi, type,
    vapi_status, "authorization", control_url_encrypted, created_at, ended_at, ended_reason,
    end_attempts, reconcile_attempts, review_reason, review_decision, settled_at, settled_from,
    charged_pence, uncollected_pence, not_charged_because, attention)
SELECT gen_random_uuid(), %(organization)s, 'bulk-' || n, '', false, '', '', 'pending', '', at, at,
    '', 0, 0, '', '', at, 'customer', 0, 0, '', ''
FROM generate_series(2, %(many)s) AS n,
    LATERAL (SELECT now() - (%(many)s - n) * interval '1 minute' AS at) AS it
"""


def fill(organization):
    wanted = {"organization": organization.pk, "many": MANY}
    with connection.cursor() as cursor:
        # The ledger's own triggers would take minutes.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_ENTRIES, wanted)
        cursor.execute(_CALLS, wanted)
        cursor.execute(
            "UPDATE organizations SET last_sequence = %(many)s, balance_pence = %(many)s"
            " WHERE id = %(organization)s",
            wanted,
        )
        cursor.execute("SET LOCAL session_replication_role = origin")
        cursor.execute("ANALYZE credit_transactions, calls")


def rows_read():
    """How many rows of the two long tables this transaction has read until now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables"
            " WHERE relname IN ('credit_transactions', 'calls')"
        )
        return int(cursor.fetchone()[0])


def look(client, address, **headers):
    """How many statements a page takes, and how many rows it reads."""
    before = rows_read()
    with CaptureQueriesContext(connection) as captured:
        response = client.get(address, headers=headers)
        assert response.status_code == 200
        list(response)
    return len(captured), rows_read() - before, response


def test_pages_do_not_grow_with_history(client, owner, organization):
    entry = organization.entries.get()
    call = Call.objects.create(organization=organization, call_id="bulk-1")
    now = timezone.now()
    Call.objects.create(
        organization=organization,
        call_id="bulk-0",
        ended_at=now,
        settled_at=now,
        settled_from="customer",
        charged_pence=0,
        uncollected_pence=0,
    )
    pages = [
        "/wallet/transactions/",
        "/wallet/transactions/?type=topup",
        "/wallet/transactions/?type=refund",
        f"/wallet/transactions/{entry.pk}/",
        "/wallet/statements/",
        "/wallet/statement.csv?month=2001-01",
        "/numbers/",
        "/numbers/search/",
        "/numbers/buy/?country=GB&number_type=local",
        "/calls/",
        "/calls/?status=settled",
        "/calls/live/",
        f"/calls/{call.pk}/",
        "/wallet/top-up/",
        "/wallet/auto-recharge/",
        "/wallet/e-mails/",
    ]
    # Each a whole period's.
    of_a_period = ["/wallet/", f"/wallet/statements/{now:%Y-%m}/"]
    few = {address: look(client, address)[0] for address in [*pages, *of_a_period]}
    few_in_part = look(client, "/wallet/", **PART)[0]
    fill(organization)

    for address in pages:
        statements, rows, _ = look(client, address)
        assert statements == few[address] <= MOST_STATEMENTS, address
        assert rows < 500, address
    for address in of_a_period:
        statements, rows, _ = look(client, address)
        # One more: the month before has a last entry now.
        assert statements <= few[address] + 1 <= MOST_STATEMENTS, address
        assert rows < MANY, address
    part = look(client, "/wallet/", **PART)
    assert part[0] == few_in_part
    assert part[1] < 500
    # A statement for each thousand.
    taken, rows, _ = look(client, f"/wallet/statement.csv?month={now:%Y-%m}")
    assert taken < MOST_STATEMENTS + STATEMENTS_PER_CHUNK * (rows // 1_000 + 2)


def test_the_last_page_takes_no_more_than_the_first(client, owner, organization):
    fill(organization)
    for address in ("/wallet/transactions/", "/calls/"):
        statements, rows, first = look(client, address)
        [(_, older)] = links(first)
        deep_statements, deep_rows, _ = look(client, address + older)
        assert deep_statements == statements
        assert max(rows, deep_rows) < 500
