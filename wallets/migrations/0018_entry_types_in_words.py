"""People read what an entry is in words of theirs; the database is not asked to change."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("wallets", "0017_attention_in_full"),
    ]

    operations = [
        migrations.AlterField(
            model_name="credittransaction",
            name="type",
            field=models.CharField(
                choices=[
                    ("topup", "Top-up"),
                    ("call_deduction", "Call"),
                    ("refund", "Refund"),
                    ("adjustment", "Adjustment"),
                    ("bonus", "Bonus"),
                    ("phone_provisioning", "Number bought"),
                    ("phone_number", "Phone Number"),
                    ("number_rental", "Number rent"),
                    ("did", "Direct dial number"),
                    ("license", "Licence"),
                    ("clawback", "Claw-back"),
                    ("recovery", "Owed, paid"),
                    ("write_off", "Owed, written off"),
                ],
                max_length=20,
            ),
        ),
    ]
