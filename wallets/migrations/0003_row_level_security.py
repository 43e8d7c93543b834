"""Customers read their own organization only: the tenant role, and the policies of these tables."""

from django.db import migrations

from voxbilling.tenancy import CREATE_TENANT_ROLE, TENANT_ROLE, row_level_security


class Migration(migrations.Migration):
    dependencies = [("wallets", "0002_ledger_triggers")]

    operations = [
        migrations.RunSQL(CREATE_TENANT_ROLE, migrations.RunSQL.noop),
        migrations.RunSQL(
            f"GRANT USAGE ON SCHEMA public TO {TENANT_ROLE}",
            f"REVOKE USAGE ON SCHEMA public FROM {TENANT_ROLE}",
        ),
        row_level_security(
            "organizations",
            key="id",
            readable=[
                "id",
                "name",
                "status",
                "balance_pence",
                "reserved_pence",
                "debt_limit_pence",
                "owed_pence",
                "last_sequence",
                "rate_pence_per_minute",
                "billing_increment_seconds",
                "charges_voicemail",
                "created_at",
            ],
        ),
        row_level_security(
            "memberships", readable=["id", "user_id", "organization_id", "role", "created_at"]
        ),
        row_level_security(
            "credit_reservations",
            readable=[
                "id",
                "organization_id",
                "call_id",
                "vapi_call_id",
                "status",
                "reserved_pence",
                "committed_pence",
                "released_pence",
                "estimated_minutes",
                "rate_pence_per_minute",
                "billing_increment_seconds",
                "created_at",
                "expires_at",
                "committed_at",
                "released_at",
                "settled_at",
                "settled_seconds",
            ],
        ),
        row_level_security(
            "credit_transactions",
            readable=[
                "id",
                "organization_id",
                "sequence",
                "type",
                "direction",
                "amount_pence",
                "balance_before_pence",
                "balance_after_pence",
                "owed_before_pence",
                "owed_after_pence",
                "idempotency_key",
                "description",
                "reservation_id",
                "created_by_id",
                "created_at",
            ],
        ),
    ]
