"""Calls that a customer's program announces and settles. All that were known so far were Vapi's."""

from django.db import migrations, models

SETTLED_SO_FAR = "UPDATE calls SET settled_from = 'vapi' WHERE settled_at IS NOT NULL"
ANNOUNCED_HELP = "Vapi sent a message about it, so that only Vapi's record charges it."


class Migration(migrations.Migration):
    dependencies = [("calls", "0002_row_level_security")]

    operations = [
        # True for the rows that are there, false for new ones.
        migrations.AddField(
            "call",
            "announced_by_vapi",
            models.BooleanField(default=True, help_text=ANNOUNCED_HELP),
        ),
        migrations.AlterField(
            "call",
            "announced_by_vapi",
            models.BooleanField(default=False, help_text=ANNOUNCED_HELP),
        ),
        migrations.AddField(
            "call",
            "customer_call_id",
            models.CharField(
                blank=True,
                help_text=(
                    "The id that the customer's program has for a call that Vapi announced first."
                ),
                default="",
                max_length=200,
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "call",
            "settled_from",
            models.CharField(
                blank=True,
                choices=[("vapi", "Vapi's record"), ("customer", "the customer's program")],
                default="",
                max_length=10,
            ),
            preserve_default=False,
        ),
        migrations.AlterField(
            "call",
            "duration_seconds",
            models.BigIntegerField(
                blank=True,
                help_text="As Vapi or, before it, the customer's program reported it, charged or not.",
                null=True,
            ),
        ),
        migrations.RunSQL(SETTLED_SO_FAR, migrations.RunSQL.noop),
    ]
