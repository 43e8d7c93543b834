"""Messages are no business of customers: the tenant role reads none of them."""

from django.db import migrations

from voxbilling.tenancy import row_level_security


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0001_webhooks"), ("wallets", "0003_row_level_security")]

    operations = [
        row_level_security("webhook_events", readable=[]),
    ]
