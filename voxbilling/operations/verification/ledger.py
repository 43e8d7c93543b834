"""The ledger's functions and the database's refusals, tried on an organization made for it.

All of it happens in one transaction, which is rolled back. Constraints that PostgreSQL checks at
commit are checked after each step.
"""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from voxbilling.counts import uncounted
from voxbilling.operations.verification.findings import Finding, failed, ok
from voxbilling.tenancy import tenant_scope
from wallets import ledger
from wallets.models import CreditReservation, Organization
from wallets.results import AssetDeduction, Reservation, Settlement
from wallets.selectors import ledger_differences

_RATE_PENCE = 50
_FUNDED_PENCE = 1000
# Live calls wait for nothing here, and this waits for nobody long.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '3s'"


class _Wrong(Exception):
    """Something did other than it should; the text says what."""


def check() -> Iterator[Finding]:
    """A line for each of the ledger's four functions, and one for each refusal."""
    with uncounted(), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_LOCK_TIMEOUT)
        findings = list(_try_all())
        transaction.set_rollback(True)
    yield from findings


def check_balances() -> Iterator[Finding]:
    """Every balance, hold sum and owed sum, recomputed."""
    differences = ledger_differences()
    for difference in differences:
        yield failed("balances", f"{difference}")
    if not differences:
        count = Organization.objects.count()
        yield ok("balances", f"those of {count} organizations are what their entries add up to")


def _try_all() -> Iterator[Finding]:
    for subject, trial in _TRIALS.items():
        try:
            with transaction.atomic():
                text = trial(_funded_organization())
                _check_deferred()
                transaction.set_rollback(True)
        except (_Wrong, DatabaseError, ledger.LedgerError) as error:
            yield failed(subject, f"{error}".strip().splitlines()[0])
        else:
            yield ok(subject, text)


def _funded_organization() -> Organization:
    organization = Organization.objects.create(
        name="Made by verify_billing_deployment",
        rate_pence_per_minute=_RATE_PENCE,
        billing_increment_seconds=60,
    )
    ledger.add_credits(
        organization_id=organization.pk,
        amount_pence=_FUNDED_PENCE,
        credit_type="bonus",
        description="For a trial that is rolled back",
        idempotency_key="trial",
    )
    _check_deferred()
    return organization


def _assets(organization: Organization) -> str:
    def buy(cost_pence: int, key: str) -> AssetDeduction:
        return ledger.check_balance_and_deduct_asset_cost(
            organization_id=organization.pk,
            cost_pence=cost_pence,
            asset_type="phone_number",
            description="For a trial that is rolled back",
            idempotency_key=key,
        )

    first, again = buy(600, "first"), buy(600, "first")
    _expect("a purchase leaves", first.balance_after_pence, 400)
    _expect_duplicate(again)
    _expect_too_little_money(lambda: buy(401, "second"))
    _expect_figures(organization, balance_pence=400, reserved_pence=0)
    return "charges once, and not more than there is"


def _holds(organization: Organization) -> str:
    call_id = str(uuid.uuid4())
    first = _reserve(organization, call_id, minutes=10)
    again = _reserve(organization, call_id, minutes=10)
    _expect("ten minutes hold", first.reserved_pence, 500)
    _expect_duplicate(again)
    _expect("a repeated hold has the same id", again.reservation_id, first.reservation_id)
    _reserve(organization, str(uuid.uuid4()), minutes=10)
    _expect_too_little_money(lambda: _reserve(organization, str(uuid.uuid4()), minutes=1))
    _expect_figures(organization, balance_pence=1000, reserved_pence=1000)
    return "holds once, and not more than there is"


def _commits(organization: Organization) -> str:
    call_id = str(uuid.uuid4())
    _reserve(organization, call_id, minutes=10)
    first = ledger.commit_reserved_credits(call_id=call_id, duration_seconds=61)
    again = ledger.commit_reserved_credits(call_id=call_id, duration_seconds=61)
    _expect("61 seconds cost", first.actual_cost_pence, 100)
    _expect("of the hold is released", first.released_pence, 400)
    _expect_duplicate(again)
    _expect_figures(organization, balance_pence=900, reserved_pence=0)
    return "charges a call once, and releases the rest of its hold"


def _expires(organization: Organization) -> str:
    """The sweep looks at everybody's holds; what it does to them is rolled back at once."""
    call_id, other_id = str(uuid.uuid4()), str(uuid.uuid4())
    _reserve(organization, call_id, minutes=10)
    _reserve(organization, other_id, minutes=1)
    long_ago = timezone.now() - timedelta(days=10_000)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE credit_reservations SET expires_at = %s WHERE call_id = %s",
            [long_ago, call_id],
        )
    ledger.cleanup_expired_reservations()
    status = CreditReservation.objects.get(call_id=call_id).status
    _expect("a hold past its expiry is", status, CreditReservation.Status.EXPIRED.value)
    _expect_figures(organization, balance_pence=1000, reserved_pence=50)
    return "gives back the holds past their expiry, and no others"


def _refusals(organization: Organization) -> str:
    """What no path may do to the money, tried in SQL, which asks none of our own code."""
    call_id = str(uuid.uuid4())
    _reserve(organization, call_id, minutes=10)
    ledger.commit_reserved_credits(call_id=call_id, duration_seconds=61)
    _reserve(organization, str(uuid.uuid4()), minutes=1)
    _check_deferred()
    for what, (sql, constraint) in _REFUSED.items():
        if not _is_refused(
            sql, {"organization": str(organization.pk), "call": call_id}, constraint
        ):
            raise _Wrong(f"the database accepts {what}")
    return f"the database itself refuses {', '.join(_REFUSED)}"


def _is_refused(sql: str, names: dict[str, str], constraint: str | None) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, names)
            _check_deferred()
            transaction.set_rollback(True)
    except IntegrityError as error:
        return isinstance(error.__cause__, psycopg.Error) and (
            error.__cause__.diag.constraint_name == constraint
        )
    return False


def _scope(organization: Organization) -> str:
    """What row-level security shows of two organizations in the scope of one."""
    other = _funded_organization()
    with tenant_scope(organization.pk):
        seen = set(
            Organization.objects.filter(pk__in=[organization.pk, other.pk]).values_list(
                "pk", flat=True
            )
        )
    _expect("organizations that a tenant sees are", seen, {organization.pk})
    try:
        with transaction.atomic(), tenant_scope(organization.pk), connection.cursor() as cursor:
            cursor.execute("UPDATE organizations SET name = name")
    except DatabaseError as error:
        if not isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            raise
    else:
        raise _Wrong("a tenant may change its organization")
    return "a tenant sees its own organization only, and changes nothing"


# A row of the ledger once more, with some of its columns replaced.
_AGAIN = """
INSERT INTO credit_transactions
SELECT (jsonb_populate_record(entry, jsonb_build_object(
    'id', gen_random_uuid(), 'sequence', entry.sequence + 1,
    'balance_before_pence', entry.balance_after_pence,
    'balance_after_pence', entry.balance_after_pence - entry.amount_pence, {changes}))).*
FROM credit_transactions entry
WHERE organization_id = %(organization)s ORDER BY sequence DESC LIMIT 1
"""
# What to try, and the constraint that must refuse it; None where a trigger just says no.
_REFUSED = {
    "an overdraft": (
        "UPDATE organizations SET balance_pence = reserved_pence - debt_limit_pence - 1"
        " WHERE id = %(organization)s",
        "organizations_within_debt_limit",
    ),
    "a balance without an entry": (
        "UPDATE organizations SET balance_pence = balance_pence + 1 WHERE id = %(organization)s",
        "organizations_matches_last_entry",
    ),
    "held money without a hold": (
        "UPDATE organizations SET reserved_pence = reserved_pence + 1 WHERE id = %(organization)s",
        "organizations_matches_holds",
    ),
    "a second charge for a call": (
        _AGAIN.format(changes="'idempotency_key', 'another'"),
        "credit_transactions_one_charge_per_call",
    ),
    "a key used twice": (
        _AGAIN.format(changes="'reservation_id', NULL, 'type', 'phone_number'"),
        "idx_credit_txn_idempotency",
    ),
    "a second hold for a call": (
        "INSERT INTO credit_reservations"
        " SELECT (jsonb_populate_record(hold, jsonb_build_object('id', gen_random_uuid()))).*"
        " FROM credit_reservations hold WHERE call_id = %(call)s",
        "credit_reservations_call_id_key",
    ),
    "a call settled again": (
        "UPDATE credit_reservations SET settled_seconds = 1 WHERE call_id = %(call)s",
        None,
    ),
    "a changed entry": (
        "UPDATE credit_transactions SET description = 'changed'"
        " WHERE organization_id = %(organization)s",
        None,
    ),
    "a deleted entry": (
        "DELETE FROM credit_transactions WHERE organization_id = %(organization)s",
        None,
    ),
    "a deleted hold": ("DELETE FROM credit_reservations WHERE call_id = %(call)s", None),
}
# The four that operators know, by their names. The sweep comes last: it locks what is due.
_TRIALS: dict[str, Callable[[Organization], str]] = {
    "check_balance_and_deduct_asset_cost": _assets,
    "reserve_call_credits": _holds,
    "commit_reserved_credits": _commits,
    "refusals": _refusals,
    "tenant scope": _scope,
    "cleanup_expired_reservations": _expires,
}


def _reserve(organization: Organization, call_id: str, *, minutes: int) -> Reservation:
    return ledger.reserve_call_credits(
        organization_id=organization.pk, call_id=call_id, estimated_minutes=minutes
    )


def _check_deferred() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def _expect(what: str, actual: object, expected: object) -> None:
    if actual != expected:
        raise _Wrong(f"{what} {expected}, and it was {actual}")


def _expect_duplicate(result: AssetDeduction | Reservation | Settlement) -> None:
    if not result.duplicate:
        raise _Wrong("what was repeated was done twice")


def _expect_figures(organization: Organization, *, balance_pence: int, reserved_pence: int) -> None:
    organization.refresh_from_db()
    _expect("the balance is then", organization.balance_pence, balance_pence)
    _expect("held is then", organization.reserved_pence, reserved_pence)


def _expect_too_little_money(command: Callable[[], object]) -> None:
    try:
        command()
    except ledger.InsufficientBalance:
        return
    raise _Wrong("more was spent than there was")
