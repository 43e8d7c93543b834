"""The scope begins and ends where its block does, whatever happens inside and around it."""

from contextlib import ExitStack, contextmanager, nullcontext, suppress
from uuid import uuid4

import pytest
from django.db import (
    DatabaseError,
    InternalError,
    ProgrammingError,
    connection,
    transaction,
)
from django.db.models import Sum

from tests.concurrency.harness import run_together
from tests.tenancy.conftest import make_tenant
from tests.tenancy.state import state, tenant_state
from tests.wallets.invariants import execute, rows
from voxbilling.tenancy import tenant_scope
from wallets import ledger
from wallets.models import CreditReservation, Organization


@contextmanager
def another_scope():
    with tenant_scope(uuid4()):
        yield


@contextmanager
def savepoint_in_transaction():
    with transaction.atomic(), transaction.atomic():
        yield


@pytest.fixture
def tenants(transactional_db):
    """Ours and theirs, committed."""
    return make_tenant("ours"), make_tenant("theirs")


@pytest.fixture(
    params=[nullcontext, transaction.atomic, savepoint_in_transaction, another_scope],
    ids=["alone", "in a transaction", "in a savepoint", "in another scope"],
)
def around(request, tenants):
    """What the scope may stand in; it must be as it was before once the scope is closed."""
    with ExitStack() as outer:
        outside = state()
        assert outside[1:] == ("none", "")
        outer.enter_context(request.param())
        before = state()
        yield before
        assert state() == before
        outer.close()
        assert state() == outside
        assert Organization.objects.count() == 2


class TestTheScopeEnds:
    def test_when_its_block_does(self, around, tenants):
        ours, _ = tenants
        with tenant_scope(ours.id):
            assert state() == tenant_state(ours.id)

    def test_when_a_scope_inside_it_ended_before(self, around, tenants):
        ours, theirs = tenants
        with tenant_scope(ours.id):
            with tenant_scope(theirs.id):
                assert state() == tenant_state(theirs.id)
                assert list(Organization.objects.all()) == [theirs.organization]
            assert state() == tenant_state(ours.id)
            with tenant_scope(ours.id):
                assert state() == tenant_state(ours.id)
            assert list(Organization.objects.all()) == [ours.organization]

    def test_when_a_scope_inside_it_failed(self, around, tenants):
        ours, theirs = tenants
        with tenant_scope(ours.id):
            with pytest.raises(ProgrammingError), tenant_scope(theirs.id):
                rows("SELECT * FROM webhook_events")
            assert state() == tenant_state(ours.id)

    def test_when_an_exception_leaves_it(self, around, tenants):
        with pytest.raises(LookupError), tenant_scope(tenants[0].id):
            raise LookupError

    def test_when_a_database_error_leaves_it(self, around, tenants):
        with pytest.raises(DatabaseError), tenant_scope(tenants[0].id):
            rows("SELECT 1 / 0")

    def test_when_a_database_error_was_caught_in_a_savepoint(self, around, tenants):
        ours, _ = tenants
        with tenant_scope(ours.id):
            with suppress(DatabaseError), transaction.atomic():
                rows("SELECT 1 / 0")
            assert state() == tenant_state(ours.id)

    def test_when_a_database_error_was_swallowed(self, around, tenants):
        """The transaction is broken, and nothing read after it could be trusted."""
        aborted = pytest.raises(InternalError, match="aborted")
        with aborted, tenant_scope(tenants[0].id), suppress(DatabaseError):
            rows("SELECT 1 / 0")

    def test_when_savepoints_were_released_in_it(self, around, tenants):
        ours, _ = tenants
        with tenant_scope(ours.id):
            for _ in range(3):
                with transaction.atomic():
                    assert state() == tenant_state(ours.id)
            assert state() == tenant_state(ours.id)

    def test_when_it_is_rolled_back(self, around, tenants):
        with tenant_scope(tenants[0].id):
            transaction.set_rollback(True)

    def test_when_raw_sql_changed_the_role_and_the_setting(self, around, tenants):
        with tenant_scope(tenants[0].id):
            execute("SET LOCAL ROLE NONE")
            execute("SELECT set_config('voxbilling.organization_id', 'nonsense', true)")

    def test_when_its_generator_is_closed(self, around, tenants):
        ours, _ = tenants

        def reading():
            with tenant_scope(ours.id):
                yield list(Organization.objects.all())

        reader = reading()
        assert next(reader) == [ours.organization]
        reader.close()

    def test_before_what_waits_for_the_commit_is_called(self, around, tenants):
        called = []
        with tenant_scope(tenants[0].id):
            transaction.on_commit(lambda: called.append(state()))
        if not connection.in_atomic_block:
            assert called == [around]

    def test_when_it_could_not_be_opened(self, around):
        with pytest.raises(DatabaseError), tenant_scope("nobody's id"):
            list(Organization.objects.all())


@pytest.mark.django_db
class TestWhatIsSeen:
    def test_given_a_queryset_made_outside_when_evaluated_inside_then_it_shows_ones_own(
        self, ours, theirs
    ):
        everybody = Organization.objects.all()
        with tenant_scope(ours.id):
            assert list(everybody) == [ours.organization]

    def test_given_a_queryset_made_inside_when_evaluated_outside_then_it_shows_all(
        self, ours, theirs
    ):
        """This is why rendering and streaming belong into the scope."""
        with tenant_scope(ours.id):
            everybody = Organization.objects.all()
        assert len(everybody) == 2

    def test_given_an_iterator_begun_inside_then_it_goes_on_with_what_it_has_read(
        self, ours, theirs
    ):
        with tenant_scope(ours.id):
            organizations = Organization.objects.iterator(chunk_size=1)
            assert next(organizations) == ours.organization
        assert list(organizations) == []

    def test_given_relations_and_aggregates_then_they_are_ones_own(self, ours, theirs):
        with tenant_scope(ours.id):
            organization = Organization.objects.prefetch_related("entries", "reservations").get()
            total = Organization.objects.aggregate(Sum("balance_pence"))
            joined = rows(
                "SELECT o.name FROM credit_transactions CROSS JOIN organizations o"
                " LEFT JOIN organizations other ON other.id <> o.id"
            )

        assert [entry.organization_id for entry in organization.entries.all()] == [ours.id]
        assert total == {"balance_pence__sum": ours.organization.balance_pence}
        assert joined == [("ours",)]

    def test_given_an_organization_that_does_not_exist_then_nothing_is_seen(self, ours):
        with tenant_scope(uuid4()):
            assert not Organization.objects.exists()

    def test_given_users_and_sessions_then_they_are_not_seen(self, ours):
        for table in ("auth_user", "django_session", "django_admin_log", "django_migrations"):
            with pytest.raises(ProgrammingError, match="permission denied"), tenant_scope(ours.id):
                rows(f"SELECT * FROM {table}")


class TestTheLedger:
    def test_cannot_be_written_in_a_scope(self, tenants):
        for tenant in tenants:
            with pytest.raises(ProgrammingError, match="denied"), tenant_scope(tenants[0].id):
                ledger.reserve_call_credits(organization_id=tenant.id, call_id="another")
            tenant.organization.refresh_from_db()
            assert tenant.organization.reserved_pence == 5 * 49

    def test_goes_on_in_the_transaction_around_a_scope(self, tenants):
        ours, theirs = tenants
        with transaction.atomic():
            for number, tenant in enumerate([ours, theirs, ours]):
                ledger.reserve_call_credits(organization_id=tenant.id, call_id=f"call {number}")
                with tenant_scope(tenant.id):
                    seen = Organization.objects.get()
                    assert seen == tenant.organization
                    assert seen.reserved_pence == 5 * 49 * CreditReservation.objects.count()
        assert ours.organization.reservations.count() == 3


class TestConnections:
    def test_given_a_pooled_connection_when_it_is_used_again_then_it_is_as_new(self, tenants):
        ours, _ = tenants
        outside, backends = state(), []
        for end in [nullcontext, lambda: pytest.raises(LookupError)] * 10:
            with end() as expected, tenant_scope(ours.id):
                backends.append(rows("SELECT pg_backend_pid()"))
                if expected:
                    raise LookupError
            connection.close()  # back to the pool
            assert state() == outside
            assert Organization.objects.count() == 2
            connection.close()

        assert len(backends) > len({str(backend) for backend in backends})

    def test_given_a_connection_that_goes_back_in_the_middle_then_it_is_as_new(self, tenants):
        """A worker that dies in a scope, as far as its connection can tell."""
        outside = state()
        for _ in range(10):
            with suppress(DatabaseError), tenant_scope(tenants[0].id):
                connection.close()
            assert not connection.in_atomic_block
            assert state() == outside
            connection.close()

    def test_given_threads_then_each_is_in_its_own_scope_or_in_none(self, tenants):
        outside = state()

        def look(tenant):
            seen = set()
            for _ in range(20):
                if tenant is None:
                    seen.add((state(), Organization.objects.count()))
                    continue
                with tenant_scope(tenant.id):
                    seen.add((state(), Organization.objects.get().pk))
            return seen

        with tenant_scope(tenants[0].id):
            everybody = [*tenants, None] * 4
            outcomes = run_together([lambda tenant=tenant: look(tenant) for tenant in everybody])

        for tenant, outcome in zip(everybody, outcomes, strict=True):
            expected = (tenant_state(tenant.id), tenant.id) if tenant else (outside, 2)
            assert outcome.result == {expected}, outcome.error
