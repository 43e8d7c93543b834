"""Every tenant table has its policies, and a new one without them fails here."""

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from tests.tenancy.tables import CLOSED, hidden_columns, key_column, tenancy_problems, tenant_models
from tests.wallets.invariants import execute, rows
from voxbilling.tenancy import TENANT_ROLE, row_level_security, tenant_scope
from wallets.models import Organization

pytestmark = pytest.mark.django_db

MADE_UP = "CREATE TABLE made_up (id bigint, organization_id uuid REFERENCES organizations)"


def apply(operation):
    execute(operation.sql)


def made_up_with_policies():
    execute(MADE_UP)
    apply(row_level_security("made_up", readable=["id", "organization_id"]))


def test_every_tenant_table_shows_a_tenant_its_own_rows_and_what_is_not_hidden():
    assert tenancy_problems() == []


def test_every_tenant_table_is_looked_at():
    tables = {model._meta.db_table for model in tenant_models()}

    assert tables >= {
        *("organizations", "memberships", "credit_transactions", "credit_reservations"),
        *("assistants", "phone_numbers", "calls", "appointments", "webhook_events"),
    }
    assert tables >= CLOSED


def test_what_the_tenant_role_is():
    attributes = rows(
        "SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication"
        " FROM pg_roles WHERE rolname = %s",
        (TENANT_ROLE,),
    )
    member_of = rows(
        "SELECT roleid FROM pg_auth_members WHERE member = %s::regrole", (TENANT_ROLE,)
    )

    assert attributes == [(False,) * 6]
    assert member_of == []


def test_given_a_new_table_with_its_policies_then_nothing_is_wrong():
    made_up_with_policies()

    assert tenancy_problems() == []


def test_given_a_new_table_without_policies_then_it_is_found():
    execute(MADE_UP)

    problems = tenancy_problems()

    assert "made_up has no row-level security" in problems
    assert any("made_up has other policies" in problem for problem in problems)


def test_given_a_new_table_that_only_points_to_a_tenants_row_then_it_is_found():
    execute("CREATE TABLE made_up (id bigint, call_id uuid REFERENCES calls)")
    execute("CREATE TABLE made_up_further (id bigint PRIMARY KEY)")
    execute("ALTER TABLE made_up ADD PRIMARY KEY (id)")
    execute("ALTER TABLE made_up_further ADD FOREIGN KEY (id) REFERENCES made_up")

    problems = tenancy_problems()

    for table in ("made_up", "made_up_further"):
        assert f"{table} has no organization_id that would say whose its rows are" in problems


@isolate_apps("wallets")
def test_given_a_new_model_whose_table_does_not_show_its_tenant_then_it_is_found():
    class MadeUp(models.Model):
        owner = models.ForeignKey(Organization, models.CASCADE, db_constraint=False)

        class Meta:
            app_label = "wallets"
            db_table = "made_up"

        def __str__(self):
            return "made up"

    with connection.schema_editor() as editor:
        editor.create_model(MadeUp)

    assert tenancy_problems() == []
    assert "made_up has no row-level security" in tenancy_problems([MadeUp])


@pytest.mark.parametrize(
    "mistake",
    [
        "ALTER TABLE made_up DISABLE ROW LEVEL SECURITY",
        "DROP POLICY made_up_own_rows ON made_up",
        "DROP POLICY made_up_not_for_tenants ON made_up",
        "CREATE POLICY everything ON made_up USING (true)",
        f"CREATE POLICY others ON made_up FOR SELECT TO {TENANT_ROLE} USING (id > 0)",
        "ALTER POLICY made_up_own_rows ON made_up USING (organization_id IS NOT NULL)",
        f"ALTER POLICY made_up_own_rows ON made_up TO {TENANT_ROLE}, PUBLIC",
        f"GRANT INSERT ON made_up TO {TENANT_ROLE}",
        f"GRANT UPDATE (id) ON made_up TO {TENANT_ROLE}",
        f"GRANT MAINTAIN ON made_up TO {TENANT_ROLE}",
        "GRANT DELETE ON made_up TO PUBLIC",
        "ALTER TABLE made_up ADD COLUMN forgotten text",
        f"GRANT SELECT ON calls TO {TENANT_ROLE}",
        f"GRANT SELECT (control_url_encrypted) ON calls TO {TENANT_ROLE}",
        f"GRANT SELECT ON webhook_events TO {TENANT_ROLE}",
        f"GRANT SELECT ON auth_user TO {TENANT_ROLE}",
        f"GRANT USAGE ON SEQUENCE auth_user_id_seq TO {TENANT_ROLE}",
        # A view reads its tables as its owner, whom no policy binds.
        f"CREATE VIEW made_up_view AS TABLE calls; GRANT SELECT ON made_up_view TO {TENANT_ROLE}",
    ],
)
def test_given_a_mistake_then_it_is_found(mistake):
    made_up_with_policies()

    execute(mistake)

    assert len(tenancy_problems()) == 1


def every(model_list):
    return pytest.mark.parametrize("model", model_list, ids=lambda model: model._meta.db_table)


every_table = every(tenant_models())
every_readable_table = every(
    [model for model in tenant_models() if model._meta.db_table not in CLOSED]
)


class TestATable:
    @every_readable_table
    def test_given_a_forgotten_filter_then_there_are_ones_own_rows_only(self, model, ours, theirs):
        key = key_column(model._meta.db_table)
        with tenant_scope(ours.id):
            found = list(model.objects.defer(*hidden_columns(model)))
            counted = model.objects.count()
            by_sql = rows(f"SELECT {key} FROM {model._meta.db_table}")
            another = model.objects.filter(pk=theirs.rows[model].pk).exists()

        assert found == [ours.rows[model]]
        assert counted == 1
        assert by_sql == [(ours.id,)]
        assert not another
        assert model.objects.count() == 2

    @every_table
    def test_given_a_hidden_column_then_it_cannot_be_read(self, model, ours, refused):
        columns = {field.column for field in model._meta.local_fields}
        is_closed = model._meta.db_table in CLOSED
        for column in columns if is_closed else hidden_columns(model):
            with refused(), tenant_scope(ours.id):
                rows(f"SELECT {column} FROM {model._meta.db_table}")
            with refused(), tenant_scope(ours.id):
                model.objects.filter(pk=ours.rows[model].pk).values_list(column).get()

    @every_table
    def test_no_row_can_be_changed_added_locked_or_removed(self, model, ours, theirs, refused):
        table, key = model._meta.db_table, key_column(model._meta.db_table)
        for tenant in (ours, theirs):
            row = tenant.rows[model]
            with refused(), tenant_scope(ours.id):
                model.objects.filter(pk=row.pk).update(**{key: ours.id})
            with refused(), tenant_scope(ours.id):
                model.objects.filter(pk=row.pk)._raw_delete("default")
            with refused(), tenant_scope(ours.id):
                model.objects.bulk_create([row])
            with refused(), tenant_scope(ours.id):
                model.objects.select_for_update().filter(pk=row.pk).values_list("pk").get()
            with refused(), tenant_scope(ours.id):
                execute(f"UPDATE {table} SET {key} = %s WHERE {key} = %s", (ours.id, tenant.id))
            with refused(), tenant_scope(ours.id):
                execute(f"DELETE FROM {table}")
            with refused(), tenant_scope(ours.id):
                execute(f"TRUNCATE {table} CASCADE")

    @every_readable_table
    def test_given_no_organization_then_there_is_no_row(self, model, ours):
        table = model._meta.db_table
        with tenant_scope(ours.id):
            for nobody in ("", None):
                execute("SELECT set_config('voxbilling.organization_id', %s, true)", (nobody,))
                assert rows(f"SELECT count(*) FROM {table}") == [(0,)]


def test_given_a_setting_that_was_never_made_then_there_is_no_row(ours):
    execute(f"SET LOCAL ROLE {TENANT_ROLE}")
    found = rows("SELECT id FROM organizations")
    execute("SET LOCAL ROLE NONE")

    assert found == []
