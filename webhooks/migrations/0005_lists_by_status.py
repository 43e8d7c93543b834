"""Staff's lists of messages are read by an index, by status and by organization."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Calls go on while long tables are indexed.
    atomic = False

    dependencies = [
        ("wallets", "0016_lists_by_time"),
        ("webhooks", "0004_events_seen_and_purged"),
    ]

    operations = [
        migrations.AlterField(
            model_name="webhookevent",
            name="organization",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="Known once the message has been processed.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="webhook_events",
                to="wallets.organization",
            ),
        ),
        AddIndexConcurrently(
            model_name="webhookevent",
            index=models.Index(fields=["status", "received_at"], name="idx_webhook_events_status"),
        ),
        AddIndexConcurrently(
            model_name="webhookevent",
            index=models.Index(
                fields=["organization", "received_at"], name="idx_webhook_events_org"
            ),
        ),
    ]
