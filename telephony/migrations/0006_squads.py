"""Squads of assistants answer numbers too. None is there yet."""

from django.db import migrations, models

from voxbilling.tenancy import TENANT_ROLE


class Migration(migrations.Migration):
    dependencies = [("telephony", "0005_refunded_orders_hold_their_number")]

    operations = [
        migrations.AddField(
            "assistant",
            "is_squad",
            models.BooleanField(
                default=False,
                help_text="The id is that of a squad: assistants that hand the caller on to each other.",
            ),
        ),
        migrations.RunSQL(
            f"GRANT SELECT (is_squad) ON assistants TO {TENANT_ROLE}",
            f"REVOKE SELECT (is_squad) ON assistants FROM {TENANT_ROLE}",
        ),
    ]
