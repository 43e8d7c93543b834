"""A refunded order keeps its number from other orders until nothing of it is left at the providers.

Another order may have its number already. Then the refunded one is not looked at again, and staff are
told: what is left of it cannot be told from what the other has.
"""

from django.db import migrations, models

TELL_STAFF = """
UPDATE number_orders AS refunded
SET work_due_at = NULL,
    attention = 'Another order has its number, so it was not looked at again after the refund: '
        || 'look at Twilio for a number named vox-' || refunded.id || '.'
WHERE refunded.status = 'refunded' AND refunded.work_due_at IS NOT NULL AND refunded.number <> ''
    AND EXISTS (
        SELECT FROM number_orders AS other
        WHERE other.number = refunded.number AND other.id <> refunded.id
            AND (other.status IN ('charged', 'bought', 'imported', 'cancelling')
                OR (other.status = 'refunded' AND other.work_due_at IS NOT NULL
                    AND (other.created_at, other.id) > (refunded.created_at, refunded.id)))
    )
"""


class Migration(migrations.Migration):
    dependencies = [("telephony", "0004_orders_go_forward")]

    operations = [
        migrations.RemoveConstraint(
            model_name="numberorder", name="number_orders_number_at_work_once"
        ),
        migrations.RunSQL(TELL_STAFF, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="numberorder",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    models.Q(
                        ("status__in", ["charged", "bought", "imported", "cancelling"]),
                        models.Q(("status", "refunded"), ("work_due_at__isnull", False)),
                        _connector="OR",
                    ),
                    models.Q(("number", ""), _negated=True),
                ),
                fields=("number",),
                name="number_orders_number_at_work_once",
            ),
        ),
    ]
