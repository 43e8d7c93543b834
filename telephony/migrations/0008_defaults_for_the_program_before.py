"""What the program of before writes, which does not know these columns, is taken.

While an upgrade is under way, and after one was taken back, it inserts rows without them; Django
leaves no default in the database.
"""

from django.db import migrations

DEFAULTS = {
    "phone_numbers": {
        "attention": "''",
        "release_reason": "''",
        "status": "'active'",
        "work_attempts": "0",
    },
    "assistants": {
        "is_squad": "false",
    },
}


class Migration(migrations.Migration):
    dependencies = [("telephony", "0007_numbers_and_assistants_of_one_organization")]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}",
            f"ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT",
        )
        for table, columns in DEFAULTS.items()
        for column, default in columns.items()
    ]
