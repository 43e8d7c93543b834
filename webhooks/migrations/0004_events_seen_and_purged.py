from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # The table is a long one, and messages go on being stored while its indexes are made.
    atomic = False

    dependencies = [("webhooks", "0003_stripe_events")]

    operations = [
        AddIndexConcurrently(
            "webhookevent",
            models.Index(
                fields=["received_at"],
                condition=Q(status__in=["failed", "unusable"]),
                name="idx_webhook_events_to_see",
            ),
        ),
        AddIndexConcurrently(
            "webhookevent",
            models.Index(
                fields=["processed_at"],
                condition=Q(status="processed"),
                name="idx_webhook_events_done",
            ),
        ),
    ]
