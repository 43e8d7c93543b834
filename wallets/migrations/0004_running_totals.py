"""What the wallet has spent and received in all, kept as it goes, and when its balance is low."""

from django.db import migrations, models

from voxbilling.tenancy import TENANT_ROLE

COLUMNS = "low_balance_pence, total_calls, total_spent_pence, total_topped_up_pence"

ADD_UP = """
UPDATE organizations SET
    total_spent_pence = entries.spent_pence,
    total_topped_up_pence = entries.topped_up_pence,
    total_calls = entries.calls
FROM (
    SELECT organization_id,
        sum(CASE
            WHEN type = 'refund' THEN -amount_pence
            WHEN type IN ('call_deduction', 'recovery', 'phone_provisioning', 'phone_number',
                'number_rental', 'did', 'license') THEN amount_pence
            ELSE 0 END) AS spent_pence,
        coalesce(sum(amount_pence) FILTER (WHERE type = 'topup'), 0) AS topped_up_pence,
        count(*) FILTER (WHERE type = 'call_deduction') AS calls
    FROM credit_transactions GROUP BY organization_id
) AS entries
WHERE entries.organization_id = organizations.id;
"""


def total(help_text: str) -> models.BigIntegerField:
    return models.BigIntegerField(default=0, editable=False, help_text=help_text)


class Migration(migrations.Migration):
    dependencies = [("wallets", "0003_row_level_security")]

    operations = [
        migrations.AddField(
            "organization",
            "low_balance_pence",
            models.PositiveIntegerField(
                default=1000,
                help_text="An effective balance below this counts as low, in pence.",
            ),
        ),
        migrations.AddField(
            "organization",
            "total_calls",
            total("Calls that were settled and lasted above 0 seconds."),
        ),
        migrations.AddField(
            "organization",
            "total_spent_pence",
            total("Charged for calls and assets, less what was refunded, in pence."),
        ),
        migrations.AddField(
            "organization",
            "total_topped_up_pence",
            total("Paid in by top-ups, in pence."),
        ),
        migrations.RunSQL(ADD_UP, migrations.RunSQL.noop),
        migrations.RunSQL(
            f"GRANT SELECT ({COLUMNS}) ON organizations TO {TENANT_ROLE}",
            f"REVOKE SELECT ({COLUMNS}) ON organizations FROM {TENANT_ROLE}",
        ),
    ]
