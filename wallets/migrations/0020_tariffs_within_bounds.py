"""A rate or an increment beyond what the settings allow is a slip of the hand."""

import django.core.validators
from django.db import migrations, models

import wallets.models.organizations


class Migration(migrations.Migration):
    dependencies = [
        ("wallets", "0019_acting_for_customers"),
    ]

    operations = [
        migrations.AlterField(
            model_name="organization",
            name="billing_increment_seconds",
            field=models.PositiveIntegerField(
                default=wallets.models.organizations.default_billing_increment_seconds,
                help_text="Calls are charged by so many seconds, each begun one in full; up to 3,600.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(3600),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="organization",
            name="rate_pence_per_minute",
            field=models.PositiveIntegerField(
                default=wallets.models.organizations.default_rate_pence_per_minute,
                help_text="In pence, from 1 to 100,000 (£1,000).",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(100000),
                ],
            ),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("billing_increment_seconds__lte", 3600), ("rate_pence_per_minute__lte", 100000)
                ),
                name="organizations_tariff_within_bounds",
            ),
        ),
    ]
