"""What the program of before writes, which does not know these columns, is taken.

While an upgrade is under way, and after one was taken back, it inserts rows without them; Django
leaves no default in the database.
"""

from django.db import migrations

DEFAULTS = {
    "calls": {
        "announced_by_vapi": "true",
        "customer_call_id": "''",
        "settled_from": "''",
        "reconcile_attempts": "0",
        "review_decision": "''",
        "review_reason": "''",
    },
}


class Migration(migrations.Migration):
    dependencies = [("calls", "0011_appointments_of_their_calls_organization")]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}",
            f"ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT",
        )
        for table, columns in DEFAULTS.items()
        for column, default in columns.items()
    ]
