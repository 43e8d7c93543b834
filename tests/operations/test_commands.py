"""The operator's commands."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from calls import reconciliation
from tests.factories import OrganizationFactory
from wallets import ledger
from wallets.models import Organization

pytestmark = pytest.mark.django_db


def run(command):
    out = StringIO()
    call_command(command, stdout=out)
    return out.getvalue()


def falsify(sql, *parameters):
    """Change what the database would refuse: as a broken disk or a superuser could."""
    with connection.cursor() as cursor:
        # What the ledger wrote so far is checked now, and not after it was changed.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, parameters)
        cursor.execute("SET LOCAL session_replication_role = origin")


def test_check_ledger_is_content_with_what_the_ledger_wrote():
    organization = OrganizationFactory(funded_pence=1_000)
    ledger.reserve_call_credits(organization_id=organization.pk, call_id="a")
    ledger.reserve_call_credits(organization_id=organization.pk, call_id="b")
    ledger.commit_reserved_credits(call_id="a", duration_seconds=61)

    assert "adds up: 1 organizations" in run("check_ledger")


@pytest.mark.parametrize(
    ("sql", "figure", "recorded", "recomputed"),
    [
        ("UPDATE organizations SET balance_pence = 903 WHERE id = %s", "balance_pence", 903, 902),
        ("UPDATE organizations SET reserved_pence = 1 WHERE id = %s", "reserved_pence", 1, 0),
        ("UPDATE organizations SET owed_pence = 7 WHERE id = %s", "owed_pence", 7, 0),
        ("UPDATE organizations SET last_sequence = 9 WHERE id = %s", "last_sequence", 9, 2),
        (
            "UPDATE credit_transactions SET amount_pence = 99, balance_before_pence = 1001 "
            "WHERE type = 'call_deduction' AND organization_id = %s",
            "balance_pence",
            902,
            901,
        ),
        (
            "UPDATE credit_reservations SET committed_pence = 90, released_pence = 155 "
            "WHERE organization_id = %s",
            "number of calls not charged their price",
            1,
            0,
        ),
        (
            "UPDATE credit_reservations SET settled_seconds = 121 WHERE organization_id = %s",
            "number of calls not charged their price",
            1,
            0,
        ),
        (
            "UPDATE credit_transactions SET balance_before_pence = balance_before_pence + 100, "
            "balance_after_pence = balance_after_pence + 100 WHERE organization_id = %s",
            "balance after the last entry",
            1002,
            902,
        ),
        (
            "UPDATE credit_transactions SET owed_before_pence = 7, owed_after_pence = 7 "
            "WHERE organization_id = %s",
            "owed after the last entry",
            7,
            0,
        ),
        (
            "UPDATE credit_transactions SET balance_before_pence = 5, balance_after_pence = 1005 "
            "WHERE sequence = 1 AND organization_id = %s",
            "number of entries that do not follow the one before",
            2,
            0,
        ),
        (
            "DELETE FROM credit_transactions WHERE sequence = 1 AND organization_id = %s",
            "number of entries",
            1,
            2,
        ),
    ],
)
def test_check_ledger_names_the_organization_and_both_figures(sql, figure, recorded, recomputed):
    # Given a wallet that the ledger wrote, and that somebody changed behind its back
    organization = OrganizationFactory(name="Tampered", funded_pence=1_000)
    ledger.reserve_call_credits(organization_id=organization.pk, call_id="a")
    ledger.commit_reserved_credits(call_id="a", duration_seconds=61)
    falsify(sql, organization.pk)

    # When the ledger is checked
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("check_ledger", stdout=out)

    # Then the difference is named
    expected = (
        f"Tampered ({organization.pk}): {figure} is recorded as {recorded}, "
        f"but recomputed as {recomputed}"
    )
    assert expected in out.getvalue()


def test_prepare_stack_makes_three_organizations_and_refills_them(settings):
    # Given a prepared stack whose organizations have spent and earned
    settings.DEBUG = True
    first = json.loads(run("prepare_stack"))
    clinic, shop, office = first["organizations"]
    for organization, pence in ((clinic, -60_000), (shop, -100), (office, 30)):
        ledger.adjust_balance(
            organization_id=organization["id"],
            change_pence=pence,
            reason="spent",
            idempotency_key="spent",
        )

    # When it is prepared again
    second = json.loads(run("prepare_stack"))

    # Then logins and ids are the same, and so are the balances
    assert second == first
    assert [one["balance_pence"] for one in second["organizations"]] == [100_000, 147, 0]
    assert Organization.objects.count() == 3
    run("check_ledger")


def test_prepare_stack_refuses_a_production_server(settings):
    settings.DEBUG = False
    with pytest.raises(CommandError, match="DEBUG"):
        run("prepare_stack")


def test_the_sweeps_say_what_they_did():
    assert run("cleanup_expired_reservations") == "0 holds expired.\n"
    assert run("retry_webhook_events") == "0 messages tried again.\n"
    assert run("settle_missing_reports") == "0 calls asked about.\n"
    reconciliation.leave_alone(timedelta(minutes=1))
    assert "left alone" in run("settle_missing_reports")
