"""Staff's lists of entries, holds, alerts and top-ups are read by an index, newest first."""

from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Calls go on while long tables are indexed.
    atomic = False

    dependencies = [
        ("wallets", "0015_staff_actions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="alert",
            index=models.Index(fields=["created_at"], name="idx_alerts_time"),
        ),
        AddIndexConcurrently(
            model_name="alert",
            index=models.Index(fields=["status", "created_at"], name="idx_alerts_status"),
        ),
        AddIndexConcurrently(
            model_name="creditreservation",
            index=models.Index(fields=["created_at"], name="idx_credit_res_time"),
        ),
        AddIndexConcurrently(
            model_name="creditreservation",
            index=models.Index(
                fields=["organization", "created_at"], name="idx_credit_res_org_time"
            ),
        ),
        AddIndexConcurrently(
            model_name="credittransaction",
            index=models.Index(fields=["created_at"], name="idx_credit_txn_time"),
        ),
        AddIndexConcurrently(
            model_name="credittransaction",
            index=models.Index(fields=["type", "created_at"], name="idx_credit_txn_type_time"),
        ),
        AddIndexConcurrently(
            model_name="topup",
            index=models.Index(fields=["created_at"], name="idx_topups_time"),
        ),
        AddIndexConcurrently(
            model_name="topup",
            index=models.Index(
                condition=models.Q(("attention", ""), _negated=True),
                fields=["created_at"],
                name="idx_topups_attention",
            ),
        ),
    ]
