"""What organizations are told by e-mail, who is told, and by what clock."""

import uuid

import django.core.serializers.json
import django.db.models.deletion
from django.db import migrations, models

import wallets.models.organizations
from voxbilling.tenancy import TENANT_ROLE, row_level_security


class Migration(migrations.Migration):
    dependencies = [
        ("wallets", "0008_payments"),
    ]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="time_zone",
            field=models.CharField(
                default="Europe/London",
                help_text="How its people's clocks go: the times in its e-mails. Like Europe/London.",
                max_length=64,
                validators=[wallets.models.organizations.check_time_zone],
            ),
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("low_balance", "Low Balance"),
                            ("empty", "Empty"),
                            ("topup_receipt", "Topup Receipt"),
                            ("recharge_failed", "Recharge Failed"),
                            ("recharge_off", "Recharge Off"),
                            ("recharge_needs_authentication", "Recharge Needs Authentication"),
                            ("refund_made", "Refund Made"),
                            ("payment_clawed_back", "Payment Clawed Back"),
                            ("calls_cut_off", "Calls Cut Off"),
                            ("rental_unpaid", "Rental Unpaid"),
                            ("number_released", "Number Released"),
                        ],
                        max_length=40,
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        help_text="Which fact of this kind it tells of.", max_length=200
                    ),
                ),
                (
                    "context",
                    models.JSONField(
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        help_text="The figures as they were then; amounts in pence.",
                    ),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sent", "Sent"),
                            ("failed", "given up"),
                            ("nobody", "nobody to send it to"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "next_attempt_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When it is sent, or sent again; empty when that is over.",
                        null=True,
                    ),
                ),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("sent_to", models.TextField(blank=True, help_text="The addresses, a line each.")),
                ("last_error", models.TextField(blank=True)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="alerts",
                        to="wallets.organization",
                    ),
                ),
            ],
            options={
                "db_table": "alerts",
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_attempt_at__isnull", False)),
                        fields=["next_attempt_at"],
                        name="idx_alerts_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "kind", "key"), name="alerts_once_per_fact"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("next_attempt_at__isnull", False),
                                ("sent_at", None),
                                ("status", "pending"),
                            ),
                            models.Q(
                                ("next_attempt_at", None),
                                ("sent_at__isnull", False),
                                ("status", "sent"),
                            ),
                            models.Q(
                                ("next_attempt_at", None),
                                ("sent_at", None),
                                ("status__in", ["failed", "nobody"]),
                            ),
                            _connector="OR",
                        ),
                        name="alerts_times_match_status",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AlertRecipient",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("email", models.EmailField(max_length=254)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="alert_recipients",
                        to="wallets.organization",
                    ),
                ),
            ],
            options={
                "db_table": "alert_recipients",
                "unique_together": {("organization", "email")},
            },
        ),
        migrations.RunSQL(
            f"GRANT SELECT (time_zone) ON organizations TO {TENANT_ROLE}",
            f"REVOKE SELECT (time_zone) ON organizations FROM {TENANT_ROLE}",
        ),
        row_level_security("alerts", readable=[]),
        row_level_security(
            "alert_recipients", readable=["id", "organization_id", "email", "created_at"]
        ),
    ]
