"""A number's assistant is its organization's own: PostgreSQL refuses another one's."""

from django.db import migrations, models

# Where the two disagree, the number's owner pays, and the assistant answered for nothing.
DETACH = """
UPDATE phone_numbers SET assistant_id = NULL
FROM assistants
WHERE assistants.id = phone_numbers.assistant_id
    AND assistants.organization_id <> phone_numbers.organization_id;
SET CONSTRAINTS ALL IMMEDIATE;
"""
ONE_ORGANIZATION = """
ALTER TABLE phone_numbers ADD CONSTRAINT phone_numbers_assistant_of_organization
    FOREIGN KEY (organization_id, assistant_id) REFERENCES assistants (organization_id, id)
    DEFERRABLE INITIALLY DEFERRED;
"""


class Migration(migrations.Migration):
    dependencies = [("telephony", "0006_squads")]

    operations = [
        migrations.AddConstraint(
            model_name="assistant",
            constraint=models.UniqueConstraint(
                fields=["organization", "id"], name="assistants_organization_and_id"
            ),
        ),
        migrations.RunSQL(DETACH, migrations.RunSQL.noop),
        migrations.RunSQL(
            ONE_ORGANIZATION,
            "ALTER TABLE phone_numbers DROP CONSTRAINT phone_numbers_assistant_of_organization",
        ),
    ]
