"""Staff who spend for customers need a permission of their own; no table is changed."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("wallets", "0018_entry_types_in_words"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="organization",
            options={
                "ordering": ["name"],
                "permissions": [
                    (
                        "move_money",
                        "Can credit, debit, recover, write off, set debt limits, release holds",
                    ),
                    ("suspend_organization", "Can suspend and resume organizations"),
                    (
                        "act_for_organization",
                        "Can do for customers what their owners can, and spend",
                    ),
                ],
            },
        ),
    ]
