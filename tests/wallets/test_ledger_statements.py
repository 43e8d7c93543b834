"""How the commands talk to PostgreSQL: the lock comes first, and few statements come at all."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import OrganizationFactory
from tests.wallets.steps import (
    adjust,
    buy,
    claw_back,
    commit,
    correct,
    expire_all_holds,
    extend,
    give_back,
    give_up,
    recover,
    release,
    reserve,
    resume,
    set_debt_limit,
    suspend,
    top_up,
    write_off,
)
from tests.wallets.test_ledger_arguments import COMMANDS
from wallets import ledger

ORGANIZATION = re.compile(r'"organizations"')
LOCK = re.compile(r'^SELECT .* FROM "organizations" .*FOR NO KEY UPDATE( SKIP LOCKED)?$')
WRITE = re.compile(r"^(INSERT|UPDATE|DELETE)")

RUN = {
    "add_credits": lambda organization: top_up(organization, 10),
    "adjust_balance": lambda organization: adjust(organization, -10),
    "check_balance_and_deduct_asset_cost": lambda organization: buy(organization, 10),
    "claw_back": lambda organization: claw_back(organization, 10),
    "cleanup_expired_reservations": lambda organization: expire_all_holds(),
    "commit_reserved_credits": lambda organization: commit("held", 61),
    "correct_settlement": lambda organization: correct(organization, "owed call", 121),
    "extend_reservation": lambda organization: extend("held", 600),
    "extend_reservations": lambda organization: ledger.extend_reservations(
        extensions=[ledger.Extension(call_id="held", cover_seconds=600)]
    ),
    "give_up_call_id": lambda organization: give_up(organization, "held"),
    "recover_owed": lambda organization: recover(organization, 10),
    "release_reservation": lambda organization: release("held"),
    "reserve_call_credits": lambda organization: reserve(organization, "new"),
    "resume_organization": resume,
    "return_payment": lambda organization: give_back(organization, 10),
    "set_debt_limit": lambda organization: set_debt_limit(organization, 10),
    "suspend_organization": suspend,
    "write_off_owed": lambda organization: write_off(organization, 10),
}
# The most statements that a command may need between BEGIN and COMMIT.
MOST = {
    "reserve_call_credits": 5,
    "commit_reserved_credits": 6,
    "extend_reservation": 5,
    "extend_reservations": 5,
    "release_reservation": 5,
}


@pytest.fixture
def organization():
    """It owes 98 p, has a live call, and money."""
    organization = OrganizationFactory(recovers_owed_from_topups=False)
    commit("owed call", 61, organization_id=organization.pk)
    top_up(organization, 100_000)
    reserve(organization, "held")
    return organization


def add_history(organization):
    for number in range(200):
        reserve(organization, f"live-{number}", minutes=1)
    for _ in range(500):
        top_up(organization, 1)


def statements_of(command) -> list[str]:
    """What a command sends between its BEGIN and its COMMIT, or SAVEPOINT and RELEASE in a test."""
    with CaptureQueriesContext(connection) as captured:
        command()
    control = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")
    return [query["sql"] for query in captured if not query["sql"].startswith(control)]


def assert_locks_first(statements: list[str]) -> None:
    """The first to touch the organization's row locks it, before anything is written."""
    touching = [number for number, sql in enumerate(statements) if ORGANIZATION.search(sql)]
    assert touching, "the organization is not read at all"
    assert LOCK.match(statements[touching[0]]), f"not a lock: {statements[touching[0]]}"
    writes = [number for number, sql in enumerate(statements) if WRITE.match(sql)]
    assert all(number > touching[0] for number in writes), "written before the lock"
    # What is decided from must be read under the lock, so a hold found before is read again.
    holds_read = [n for n, sql in enumerate(statements) if 'FROM "credit_reservations"' in sql]
    assert not holds_read or holds_read[-1] > touching[0], "a hold is read before the lock only"


def test_every_command_is_watched():
    assert set(RUN) == set(COMMANDS)


@pytest.mark.django_db
@pytest.mark.parametrize("name", RUN)
def test_the_organization_is_locked_before_anything_is_decided_or_written(organization, name):
    assert_locks_first(statements_of(lambda: RUN[name](organization)))


@pytest.mark.django_db
def test_a_commit_that_names_its_organization_locks_before_it_reads_the_hold(organization):
    statements = statements_of(lambda: commit("held", 61, organization_id=organization.pk))
    assert LOCK.match(statements[0])


@pytest.mark.parametrize(
    "statements",
    [
        ['SELECT * FROM "organizations" WHERE "id" = 1', 'UPDATE "organizations" SET x = 1'],
        ['SELECT * FROM "organizations" FOR UPDATE'],
        [
            'INSERT INTO "credit_reservations" VALUES (1)',
            'SELECT * FROM "organizations" WHERE "id" = 1 FOR NO KEY UPDATE',
        ],
        [
            'SELECT * FROM "credit_reservations"',
            'SELECT * FROM "organizations" WHERE "id" = 1 FOR NO KEY UPDATE',
            'UPDATE "credit_reservations" SET x = 1',
        ],
        ['UPDATE "credit_reservations" SET x = 1'],
    ],
)
def test_control_a_command_that_does_not_lock_first_is_noticed(statements):
    with pytest.raises(AssertionError):
        assert_locks_first(statements)


@pytest.mark.django_db
def test_no_command_needs_more_statements_for_a_long_history(organization):
    """Counted with one entry and one hold, and with some 500 entries and 200 active holds."""
    other = OrganizationFactory(recovers_owed_from_topups=False)
    commit("their owed call", 61, organization_id=other.pk)
    top_up(other, 100_000)
    reserve(other, "their hold")
    add_history(other)
    held = {organization: "held", other: "their hold"}
    commands = {
        "add_credits": lambda one: top_up(one, 10),
        "adjust_balance": lambda one: adjust(one, -10),
        "check_balance_and_deduct_asset_cost": lambda one: buy(one, 10),
        "reserve_call_credits": lambda one: reserve(one, f"new call of {one.pk}"),
        "a reserve again": lambda one: reserve(one, f"new call of {one.pk}"),
        "extend_reservation": lambda one: extend(held[one], 600),
        "commit_reserved_credits": lambda one: commit(held[one], 661),
        "a commit again": lambda one: commit(held[one], 661),
        "a commit without a hold": lambda one: commit(
            f"no hold of {one.pk}", 61, organization_id=one.pk
        ),
        "correct_settlement": lambda one: correct(one, held[one], 721),
        "a correction again": lambda one: correct(one, held[one], 721),
        "give_up_call_id": lambda one: give_up(one, f"no hold of {one.pk}"),
        "release_reservation": lambda one: release(f"new call of {one.pk}"),
        "extend_reservations": lambda organization: ledger.extend_reservations(
            extensions=[ledger.Extension(call_id="held", cover_seconds=600)]
        ),
        "recover_owed": lambda one: recover(one, 10),
        "write_off_owed": lambda one: write_off(one, 10),
        "set_debt_limit": lambda one: set_debt_limit(one, 10),
        "claw_back": lambda one: claw_back(one, 10),
        "return_payment": lambda one: give_back(one, 10),
        "suspend_organization": suspend,
        "resume_organization": resume,
    }
    for name, command in commands.items():
        young = statements_of(lambda: command(organization))  # noqa: B023
        old = statements_of(lambda: command(other))  # noqa: B023
        assert len(young) == len(old), name
        assert len(young) <= MOST.get(name, 6), (name, young)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "most"), [("reserve_call_credits", 5), ("commit_reserved_credits", 6)]
)
def test_between_a_real_begin_and_commit_few_statements_are_sent(organization, name, most):
    with CaptureQueriesContext(connection) as captured:
        RUN[name](organization)
    sent = [query["sql"] for query in captured]
    assert (sent[0], sent[-1]) == ("BEGIN", "COMMIT")
    assert 0 < len(sent) - 2 <= most
    assert not any(sql.startswith(("SAVEPOINT", "BEGIN", "COMMIT")) for sql in sent[1:-1])
