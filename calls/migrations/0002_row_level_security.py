"""Customers read their own organization's calls and appointments only.

Not granted: the control URL, with which whoever has it ends the call; what the call cost the
operator; and what staff should look at.
"""

from django.db import migrations

from voxbilling.tenancy import row_level_security


class Migration(migrations.Migration):
    dependencies = [("calls", "0001_calls"), ("wallets", "0003_row_level_security")]

    operations = [
        row_level_security(
            "calls",
            readable=[
                "id",
                "organization_id",
                "call_id",
                "vapi_call_id",
                "type",
                "phone_number_id",
                "assistant_id",
                "appointment_id",
                "vapi_status",
                "authorization",
                "authorization_answer",
                "max_duration_seconds",
                "created_at",
                "started_at",
                "ended_at",
                "ended_reason",
                "duration_seconds",
                "money_ended_at",
                "end_ordered_at",
                "end_sent_at",
                "end_attempts",
                "end_retry_at",
                "settled_at",
                "charged_pence",
                "uncollected_pence",
                "not_charged_because",
            ],
        ),
        row_level_security(
            "appointments", readable=["id", "organization_id", "call_id", "vapi_call_id"]
        ),
    ]
