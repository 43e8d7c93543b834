"""The sweep of wallets that recharge themselves reads only those."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("wallets", "0012_payments_followed")]

    operations = [
        migrations.AddIndex(
            "organization",
            models.Index(
                fields=["id"],
                condition=models.Q(auto_recharge_enabled=True),
                name="idx_organizations_recharging",
            ),
        ),
    ]
