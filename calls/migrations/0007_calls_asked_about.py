"""What is asked of Vapi, decided by staff, and compared. Calls that were never settled: asked about."""

from django.db import migrations, models

NEVER_SETTLED = """
UPDATE calls SET reconcile_at = now()
WHERE announced_by_vapi AND vapi_call_id IS NOT NULL AND settled_from <> 'vapi'
"""


class Migration(migrations.Migration):
    dependencies = [("calls", "0005_live_calls")]

    operations = [
        migrations.CreateModel(
            name="UnbilledCall",
            fields=[
                (
                    "vapi_call_id",
                    models.CharField(max_length=200, primary_key=True, serialize=False),
                ),
                ("type", models.CharField(blank=True, max_length=200)),
                ("vapi_phone_number_id", models.CharField(blank=True, max_length=200)),
                ("phone_number", models.CharField(blank=True, max_length=200)),
                ("vapi_assistant_id", models.CharField(blank=True, max_length=200)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "vapi_cost_usd",
                    models.DecimalField(blank=True, decimal_places=6, max_digits=12, null=True),
                ),
                ("reason", models.CharField(max_length=500)),
                ("seen_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "db_table": "unbilled_calls",
            },
        ),
        migrations.CreateModel(
            name="UpstreamDay",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("vapi_calls", models.PositiveIntegerField()),
                ("vapi_seconds", models.PositiveBigIntegerField()),
                ("our_calls", models.PositiveIntegerField()),
                ("our_seconds", models.PositiveBigIntegerField()),
                (
                    "details",
                    models.TextField(
                        blank=True, help_text="The first calls that differ, one a line."
                    ),
                ),
                ("compared_at", models.DateTimeField()),
            ],
            options={
                "db_table": "upstream_days",
            },
        ),
        migrations.CreateModel(
            name="VapiReading",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                (
                    "scan_from",
                    models.DateTimeField(
                        help_text="From where the list is read on, by when Vapi last changed a call."
                    ),
                ),
                (
                    "scanning_until",
                    models.DateTimeField(
                        blank=True,
                        help_text="Until when the list is left to the sweep that reads it.",
                        null=True,
                    ),
                ),
                (
                    "quiet_until",
                    models.DateTimeField(
                        blank=True,
                        help_text="Until when Vapi is asked nothing, because it was busy.",
                        null=True,
                    ),
                ),
                ("began_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "db_table": "vapi_reading",
            },
        ),
        migrations.AddField(
            model_name="call",
            name="reconcile_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When Vapi is asked about it, if it says no more; empty when all is known.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="call",
            name="reconcile_attempts",
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="call",
            name="review_decision",
            field=models.CharField(
                blank=True, help_text="What staff decided, who, and why.", max_length=600
            ),
        ),
        migrations.AddField(
            model_name="call",
            name="review_reason",
            field=models.CharField(
                blank=True,
                help_text="Why staff decide what this call is charged for.",
                max_length=500,
            ),
        ),
        migrations.AddField(
            model_name="call",
            name="unknown_to_vapi_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When Vapi first answered that it knows no such call.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="call",
            name="vapi_cost_pence",
            field=models.BigIntegerField(
                blank=True,
                help_text="What Vapi charges for it, at the rate of the day when that was learned.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="call",
            name="settled_from",
            field=models.CharField(
                blank=True,
                choices=[
                    ("vapi", "Vapi's record"),
                    ("customer", "the customer's program"),
                    ("staff", "a decision of staff's"),
                ],
                max_length=10,
            ),
        ),
        migrations.RunSQL(NEVER_SETTLED, migrations.RunSQL.noop),
    ]
