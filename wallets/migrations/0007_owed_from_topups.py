"""Whether what is owed is paid from top-ups. It is for all that are there, too."""

from django.db import migrations, models

from voxbilling.tenancy import TENANT_ROLE


class Migration(migrations.Migration):
    dependencies = [("wallets", "0006_entries_by_type")]

    operations = [
        migrations.AddField(
            "organization",
            "recovers_owed_from_topups",
            models.BooleanField(
                default=True, help_text="Pay what is owed from each top-up, as an entry of its own."
            ),
        ),
        migrations.RunSQL(
            f"GRANT SELECT (recovers_owed_from_topups) ON organizations TO {TENANT_ROLE}",
            f"REVOKE SELECT (recovers_owed_from_topups) ON organizations FROM {TENANT_ROLE}",
        ),
    ]
