"""What staff did, for good: a log that PostgreSQL lets grow and nothing else."""

import uuid

import django.core.serializers.json
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from voxbilling.tenancy import row_level_security

APPEND_ONLY = """
CREATE FUNCTION staff_actions_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'what staff did is never changed or deleted'
        USING ERRCODE = 'restrict_violation', TABLE = 'staff_actions';
END $$;

CREATE TRIGGER staff_actions_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON staff_actions
    FOR EACH STATEMENT EXECUTE FUNCTION staff_actions_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("wallets", "0014_entries_by_time"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="organization",
            options={
                "ordering": ["name"],
                "permissions": [
                    (
                        "move_money",
                        "Can credit, debit, recover, write off, set debt limits, release holds",
                    ),
                    ("suspend_organization", "Can suspend and resume organizations"),
                ],
            },
        ),
        migrations.CreateModel(
            name="StaffAction",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "username",
                    models.CharField(help_text="The name that the user had then.", max_length=150),
                ),
                ("action", models.CharField(max_length=60)),
                (
                    "target_kind",
                    models.CharField(
                        help_text="What was acted on, like wallets.topup.", max_length=60
                    ),
                ),
                ("target_id", models.CharField(max_length=200)),
                (
                    "target_name",
                    models.CharField(help_text="How it was called then.", max_length=200),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "asked",
                    models.JSONField(
                        default=dict,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        help_text="What was asked for; amounts in pence.",
                    ),
                ),
                (
                    "before",
                    models.JSONField(
                        blank=True,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        null=True,
                    ),
                ),
                (
                    "after",
                    models.JSONField(
                        blank=True,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        null=True,
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="Whose wallet, call or number it was about; empty if nobody's.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="staff_actions",
                        to="wallets.organization",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "staff_actions",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["at"], name="idx_staff_actions_at"),
                    models.Index(fields=["action", "at"], name="idx_staff_actions_action"),
                    models.Index(fields=["organization", "at"], name="idx_staff_actions_org"),
                    models.Index(fields=["user", "at"], name="idx_staff_actions_user"),
                    models.Index(fields=["target_id", "at"], name="idx_staff_actions_target"),
                ],
            },
        ),
        migrations.RunSQL(
            APPEND_ONLY,
            """
            DROP TRIGGER staff_actions_append_only ON staff_actions;
            DROP FUNCTION staff_actions_refuse_change();
            """,
        ),
        row_level_security("staff_actions", readable=[]),
    ]
