"""An appointment and the call that made it are one organization's: PostgreSQL refuses others.

A call's organization never changes, so that it is enough to look when an appointment is written.
"""

from django.db import migrations

OF_ITS_CALL = """
CREATE FUNCTION appointments_check_call() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM calls
        WHERE id = NEW.call_id AND organization_id <> NEW.organization_id
    ) THEN
        RAISE EXCEPTION 'the call of appointment % is another organization''s', NEW.id
            USING ERRCODE = 'check_violation', TABLE = 'appointments',
                CONSTRAINT = 'appointments_of_their_calls_organization';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER appointments_of_their_calls_organization
    BEFORE INSERT OR UPDATE ON appointments
    FOR EACH ROW WHEN (NEW.call_id IS NOT NULL)
    EXECUTE FUNCTION appointments_check_call();
"""
REVERSE = """
DROP TRIGGER appointments_of_their_calls_organization ON appointments;
DROP FUNCTION appointments_check_call();
"""


class Migration(migrations.Migration):
    dependencies = [("calls", "0010_lists_by_time")]

    operations = [migrations.RunSQL(OF_ITS_CALL, REVERSE)]
