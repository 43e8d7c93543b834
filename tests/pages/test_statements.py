"""Statements by month: each entry is in one, and each begins where another ended."""

import csv
import io
import itertools
import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from tests.factories import OrganizationFactory
from tests.pages.visitors import sign_in, text_of
from tests.wallets.steps import adjust, buy, commit, correct, top_up
from voxbilling.api import throttles
from wallets import statements
from wallets.models import Organization
from wallets.statements import Month, read_month

pytestmark = pytest.mark.django_db

MONTHS, CSV = "/wallet/statements/", "/wallet/statement.csv"
MARCH = Month(year=2026, month=3)


@pytest.fixture
def march(time_machine, client):
    """An organization in London that was funded in February and spent in March; the owner is in."""
    time_machine.move_to("2026-02-10T12:00:00Z", tick=False)
    organization = OrganizationFactory(name="Clinic", funded_pence=10_000)
    time_machine.move_to("2026-03-05T12:00:00Z", tick=False)
    buy(organization, 1_000, description="A number")
    commit("call-1", 61, organization_id=organization.pk)
    time_machine.move_to("2026-03-20T12:00:00Z", tick=False)
    sign_in(client, organization)
    return organization


def rows(client, month="2026-03"):
    response = client.get(CSV, {"month": month})
    assert response.status_code == 200
    content = b"".join(response.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(content)))


def test_a_month_shows_what_it_began_with_what_moved_and_what_it_came_to(client, march):
    page = text_of(client.get(f"{MONTHS}2026-03/"))
    assert "<dd>£100.00</dd>" in page
    assert "<dt>Balance so far</dt><dd>£89.02</dd>" in page
    assert "−£10.00" in page
    assert "A number" in page
    assert "Opening balance</a>" not in page


def test_a_month_that_is_over_has_a_closing_balance(client, march):
    page = text_of(client.get(f"{MONTHS}2026-02/"))
    assert "<dt>Closing balance</dt><dd>£100.00</dd>" in page
    assert "+£100.00" in page


def test_every_month_since_the_first_is_listed(client, march):
    page = text_of(client.get(MONTHS))
    assert re.findall(r'href="/wallet/statements/([^"/]+)/"', page) == ["2026-03", "2026-02"]
    assert re.findall(r'href="/wallet/statement\.csv\?month=([^"]+)"', page) == [
        "2026-03",
        "2026-02",
    ]


def test_the_csv_has_every_entry_oldest_first_in_pounds(client, march):
    first, second = rows(client)
    assert (first["number"], first["type"], first["amount_gbp"]) == (
        "2",
        "phone_provisioning",
        "-10.00",
    )
    assert first["time"] == "2026-03-05T12:00:00+00:00"
    assert (second["amount_gbp"], second["balance_gbp"], second["owed_gbp"]) == (
        "-0.98",
        "89.02",
        "0.00",
    )
    assert second["call_id"] == "call-1"


def test_the_csv_is_a_download_that_says_whose_month_it_is(client, march):
    response = client.get(CSV, {"month": "2026-03"})
    assert response["Content-Disposition"] == 'attachment; filename="statement-2026-03.csv"'
    assert response["Content-Type"].startswith("text/csv")
    assert "no-store" in response["Cache-Control"]


def test_a_debt_and_what_is_owed_are_below_0_and_beside(client, march):
    Organization.objects.filter(pk=march.pk).update(debt_limit_pence=500)
    commit("call-2", 60 * 300, organization_id=march.pk)
    last = rows(client)[-1]
    assert last["balance_gbp"] == "-5.00"
    assert last["owed_gbp"] == "52.98"
    page = text_of(client.get(f"{MONTHS}2026-03/"))
    assert "−£5.00" in page
    assert "£0.00 at the beginning, £52.98 now" in page


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "\t"])
def test_no_text_is_a_formula_to_a_spreadsheet(client, march, beginning):
    formula = f"{beginning}cmd|' /C calc'!A0"
    adjust(march, 1, reason=f'{formula},\n"x"')
    last = rows(client)[-1]
    assert last["description"].startswith(f"'{beginning}".rstrip())
    assert last["description"].endswith(',\n"x"')


def test_a_months_days_are_those_of_the_organization(client, march, time_machine):
    Organization.objects.filter(pk=march.pk).update(time_zone="America/New_York")
    # Still March, there.
    time_machine.move_to("2026-04-01T03:59:59Z", tick=False)
    top_up(march, 1)
    time_machine.move_to("2026-04-01T04:00:00Z", tick=False)
    top_up(march, 2)
    assert [row["amount_gbp"] for row in rows(client)][-1] == "0.01"
    assert [row["amount_gbp"] for row in rows(client, "2026-04")] == ["0.02"]
    assert rows(client)[-1]["time"] == "2026-03-31T23:59:59-04:00"


@pytest.mark.parametrize(
    "month", ["", "2026", "2026-13", "2026-00", "1999-01", "2026-3", "2026-03-01", "x", "٢٠٢٦-03"]
)
def test_a_month_that_cannot_be_is_answered_with_how_to_name_one(client, march, month):
    for response in (client.get(CSV, {"month": month}), month and client.get(f"{MONTHS}{month}/")):
        if response:
            assert response.status_code == 400
            assert "like 2026-11" in text_of(response)


@pytest.mark.parametrize("month", ["2000-01", "2026-01", "2026-04", "2099-12"])
def test_a_month_without_entries_says_so(client, march, month):
    assert "Nothing moved in this month" in text_of(client.get(f"{MONTHS}{month}/"))
    assert rows(client, month) == []


def test_statements_of_others_are_not_there(client, march, time_machine):
    theirs = OrganizationFactory(funded_pence=77_777)
    buy(theirs, 7_777, description="Theirs")
    assert "£77.77" not in text_of(client.get(f"{MONTHS}2026-03/"))
    assert len(rows(client)) == 2


def test_a_long_month_is_shown_in_part_and_the_csv_has_all(client, march, monkeypatch):
    monkeypatch.setattr("wallets.pages.statements.ENTRIES_ON_A_PAGE", 2)
    monkeypatch.setattr(statements, "_ENTRIES_PER_READ", 2)
    for number in range(3):
        buy(march, 1, description=f"Number {number}.")
    page = text_of(client.get(f"{MONTHS}2026-03/"))
    assert "Number 0." not in page
    assert "has 3 more" in page
    assert len(rows(client)) == 5


def test_totals_add_up_to_the_closing_balance(client, march):
    top_up(march, 500)
    adjust(march, -100)
    correct(march, "call-1", 30)
    shown = statements.statement(march, MARCH)
    moved = sum(total.credit_pence - total.debit_pence for total in shown.totals)
    assert shown.opening_balance_pence + moved == shown.closing_balance_pence
    assert sum(total.count for total in shown.totals) == shown.count == 5


def test_months_follow_each_other_whatever_the_clocks_of_servers_said(march, time_machine):
    chance = random.Random(3)
    for number in range(200):
        # Two servers, whose clocks are up to a minute apart, around the end of a month.
        moment = datetime(2026, 3, 31, 22, 58, tzinfo=UTC) + timedelta(
            seconds=number + chance.uniform(-30, 30)
        )
        time_machine.move_to(moment, tick=False)
        top_up(march, 1 + number)
    shown = [statements.statement(march, Month(year=2026, month=month)) for month in range(1, 7)]
    assert shown[0].after_sequence == 0
    for earlier, later in itertools.pairwise(shown):
        assert earlier.last_sequence == later.after_sequence
        assert earlier.closing_balance_pence == later.opening_balance_pence
    march.refresh_from_db()
    assert shown[-1].closing_balance_pence == march.balance_pence
    assert sum(month.count for month in shown) == march.last_sequence
    assert shown[2].count > 2
    assert shown[3].count > 0


def test_spend_by_day_counts_what_the_organizations_total_counts(march, time_machine):
    time_machine.move_to("2026-03-21T12:00:00Z", tick=False)
    correct(march, "call-1", 30)
    top_up(march, 900, credit_type="refund", description="Given back")
    commit("call-2", 10, organization_id=march.pk)
    days = {day.day.isoformat(): day.spent_pence for day in statements.spend_by_day(march, days=17)}
    assert len(days) == 17
    assert days["2026-03-05"] == 1_098
    assert days["2026-03-21"] == -49 - 900 + 49
    march.refresh_from_db()
    assert sum(days.values()) == march.total_spent_pence


def test_the_months_entries_are_found_by_an_index(march):
    with connection.cursor() as cursor:
        # Of a few rows the planner would as soon sort what another index finds.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_incremental_sort = off")
        cursor.execute(
            "EXPLAIN SELECT * FROM credit_transactions WHERE organization_id = %s"
            " AND created_at < now() ORDER BY created_at DESC, sequence DESC LIMIT 1",
            [march.pk],
        )
        plan = " ".join(row[0] for row in cursor.fetchall())
    assert "idx_credit_txn_org_time" in plan
    assert "Sort" not in plan


def test_a_month_that_runs_has_every_entry_whatever_the_clock_that_dated_it(march, time_machine):
    time_machine.move_to("2026-03-25T12:00:00Z", tick=False)
    top_up(march, 5)
    time_machine.move_to("2026-03-20T12:00:00Z", tick=False)
    top_up(march, 7)
    march.refresh_from_db()
    shown = statements.statement(march, MARCH)
    assert shown.last_sequence == march.last_sequence
    assert shown.closing_balance_pence == march.balance_pence


def test_an_organization_may_download_so_often(client, march, time_machine):
    time_machine.move_to("2026-04-02T10:01:00Z", tick=False)
    address = "/wallet/statement.csv?month=2026-03"
    for _ in range(throttles.DOWNLOADS_PER_ORGANIZATION.requests):
        assert client.get(address).status_code == 200
    refused = client.get(address)
    assert (refused.status_code, refused["Retry-After"]) == (429, "240")
    assert client.get("/wallet/statements/2026-03/").status_code == 200


def test_months_are_read_as_they_are_written():
    assert str(read_month("2026-03")) == "2026-03"
    assert MARCH.preceding == Month(year=2026, month=2)
    assert Month(year=2026, month=12).following == Month(year=2027, month=1)
    assert Month(year=2026, month=1).preceding == Month(year=2025, month=12)
