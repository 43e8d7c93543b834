"""What must be true of calls that a customer's program settles, and how customers page through calls.

Apart from 0003, because PostgreSQL alters no table whose rows the same transaction has changed.
"""

from django.db import migrations, models
from django.db.models import Q

from voxbilling.tenancy import TENANT_ROLE

COLUMNS = "announced_by_vapi, customer_call_id, settled_from"


class Migration(migrations.Migration):
    dependencies = [("calls", "0003_self_reported_calls"), ("wallets", "0005_corrections")]

    operations = [
        migrations.AddConstraint(
            "call",
            models.CheckConstraint(
                condition=Q(settled_at=None, settled_from="")
                | Q(settled_at__isnull=False, settled_from="customer")
                | Q(settled_at__isnull=False, settled_from="vapi", announced_by_vapi=True),
                name="calls_settled_from_somebody",
            ),
        ),
        migrations.AddConstraint(
            "call",
            models.CheckConstraint(
                condition=Q(customer_call_id="") | Q(announced_by_vapi=True),
                name="calls_customer_id_of_announced",
            ),
        ),
        migrations.AddConstraint(
            "call",
            models.UniqueConstraint(
                fields=["organization", "customer_call_id"],
                condition=~Q(customer_call_id=""),
                name="calls_customer_id_once_per_organization",
            ),
        ),
        migrations.AddIndex(
            "call",
            models.Index(fields=["organization", "created_at", "id"], name="idx_calls_page"),
        ),
        migrations.AddIndex(
            "call",
            models.Index(
                fields=["organization", "phone_number", "created_at", "id"],
                name="idx_calls_page_number",
            ),
        ),
        migrations.AddIndex(
            "call",
            models.Index(
                condition=Q(ended_at=None),
                fields=["organization", "created_at", "id"],
                name="idx_calls_page_live",
            ),
        ),
        migrations.RunSQL(
            f"GRANT SELECT ({COLUMNS}) ON calls TO {TENANT_ROLE}",
            f"REVOKE SELECT ({COLUMNS}) ON calls FROM {TENANT_ROLE}",
        ),
    ]
