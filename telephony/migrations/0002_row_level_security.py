"""Customers read their own organization's assistants and numbers only."""

from django.db import migrations

from voxbilling.tenancy import row_level_security


class Migration(migrations.Migration):
    dependencies = [("telephony", "0001_telephony"), ("wallets", "0003_row_level_security")]

    operations = [
        row_level_security(
            "assistants",
            readable=[
                "id",
                "organization_id",
                "name",
                "vapi_assistant_id",
                "max_duration_seconds",
                "created_at",
            ],
        ),
        row_level_security(
            "phone_numbers",
            readable=[
                "id",
                "organization_id",
                "number",
                "vapi_phone_number_id",
                "assistant_id",
                "created_at",
            ],
        ),
    ]
