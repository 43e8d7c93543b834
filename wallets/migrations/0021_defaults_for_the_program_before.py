"""What the program of before writes, which does not know these columns, is taken.

While an upgrade is under way, and after one was taken back, it inserts rows without them; Django
leaves no default in the database.
"""

from django.db import migrations

DEFAULTS = {
    "organizations": {
        "low_balance_pence": "1000",
        "total_calls": "0",
        "total_spent_pence": "0",
        "total_topped_up_pence": "0",
        "recovers_owed_from_topups": "true",
        "auto_recharge_enabled": "false",
        "auto_recharge_amount_pence": "5000",
        "auto_recharge_threshold_pence": "1000",
        "auto_recharge_monthly_cap_pence": "50000",
        "time_zone": "'Europe/London'",
    },
}


class Migration(migrations.Migration):
    dependencies = [("wallets", "0020_tariffs_within_bounds")]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}",
            f"ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT",
        )
        for table, columns in DEFAULTS.items()
        for column, default in columns.items()
    ]
