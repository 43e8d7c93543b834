"""Staff's lists of calls are read by an index, newest first."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Calls go on while long tables are indexed.
    atomic = False

    dependencies = [
        ("calls", "0009_vapi_read_from_now"),
        ("wallets", "0016_lists_by_time"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="call",
            index=models.Index(fields=["created_at"], name="idx_calls_time"),
        ),
        AddIndexConcurrently(
            model_name="call",
            index=models.Index(
                condition=models.Q(("attention", ""), _negated=True),
                fields=["created_at"],
                name="idx_calls_attention",
            ),
        ),
    ]
