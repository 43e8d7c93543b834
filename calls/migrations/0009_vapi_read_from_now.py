"""From now on, what no message of Vapi's tells of is ours to bill."""

from django.db import migrations

READ_FROM_NOW = """
INSERT INTO vapi_reading (id, scan_from, began_at) VALUES (1, now(), now()) ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("calls", "0008_calls_asked_about_checked")]

    operations = [migrations.RunSQL(READ_FROM_NOW, migrations.RunSQL.noop)]
