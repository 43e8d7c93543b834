"""What staff should look at is kept in whole sentences, however many."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("wallets", "0016_lists_by_time")]

    operations = [
        migrations.AlterField(
            model_name="topup",
            name="attention",
            field=models.TextField(
                blank=True, help_text="What staff should look at; empty when all is well."
            ),
        ),
    ]
