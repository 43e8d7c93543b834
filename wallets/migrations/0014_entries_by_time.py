"""An organization's entries are found by their time: statements by month, and spend by day."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Calls go on being charged while a long table is indexed.
    atomic = False
    dependencies = [("wallets", "0013_recharging")]

    operations = [
        AddIndexConcurrently(
            "credittransaction",
            models.Index(
                fields=["organization", "created_at", "sequence"], name="idx_credit_txn_org_time"
            ),
        )
    ]
