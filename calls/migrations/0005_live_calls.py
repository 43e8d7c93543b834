"""When live calls are looked at, and callers were warned. Calls that are live now: at once."""

from django.db import migrations, models
from django.db.models import Q

LIVE_NOW = """
UPDATE calls SET check_at = now()
WHERE started_at IS NOT NULL AND ended_at IS NULL AND end_ordered_at IS NULL AND announced_by_vapi
"""


class Migration(migrations.Migration):
    dependencies = [("calls", "0004_self_reported_calls_checked")]

    operations = [
        migrations.AddField(
            "call",
            "check_at",
            models.DateTimeField(
                blank=True,
                help_text=(
                    "When the money of a live call is looked at next; empty for any other call."
                ),
                null=True,
            ),
        ),
        migrations.AddField(
            "call",
            "warned_at",
            models.DateTimeField(
                blank=True, help_text="When the caller was told that the money ends.", null=True
            ),
        ),
        migrations.RunSQL(LIVE_NOW, migrations.RunSQL.noop),
        migrations.AddIndex(
            "call",
            models.Index(
                fields=["check_at"], condition=Q(check_at__isnull=False), name="idx_calls_check"
            ),
        ),
        migrations.AddIndex(
            "call",
            models.Index(
                fields=["organization"],
                condition=Q(ended_at=None, announced_by_vapi=True),
                name="idx_calls_not_ended",
            ),
        ),
        migrations.AddConstraint(
            "call",
            models.CheckConstraint(
                condition=Q(check_at=None) | Q(ended_at=None, end_ordered_at=None),
                name="calls_checked_while_live",
            ),
        ),
    ]
