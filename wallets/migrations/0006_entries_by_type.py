"""Entries of one type are found without reading those of all others."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("wallets", "0005_corrections")]

    operations = [
        migrations.AddIndex(
            "credittransaction",
            models.Index(
                fields=["organization", "type", "sequence"], name="idx_credit_txn_org_type"
            ),
        )
    ]
