"""What no CHECK can say about orders: they go forward only, and are not deleted. And who reads what.

An order that went back could be charged or refunded twice; one that was deleted would leave a
number, or money, that nobody knows about.
"""

from django.db import migrations

from voxbilling.tenancy import TENANT_ROLE, row_level_security

ORDERS_GO_FORWARD = """
CREATE FUNCTION number_orders_check_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF (NEW.id, NEW.organization_id, NEW.idempotency_key, NEW.country, NEW.number_type,
            NEW.area_code, NEW.price_pence, NEW.charge_id, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.organization_id, OLD.idempotency_key, OLD.country,
            OLD.number_type, OLD.area_code, OLD.price_pence, OLD.charge_id, OLD.created_at)
    THEN
        RAISE EXCEPTION 'what was ordered and charged by order % never changes', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = 'number_orders';
    END IF;
    IF NEW.status <> OLD.status AND (OLD.status, NEW.status) NOT IN (
        ('charged', 'bought'), ('bought', 'imported'), ('imported', 'active'),
        ('charged', 'cancelling'), ('bought', 'cancelling'), ('imported', 'cancelling'),
        ('cancelling', 'refunded')
    ) THEN
        RAISE EXCEPTION 'order % is %: it cannot become %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'restrict_violation', TABLE = 'number_orders';
    END IF;
    IF OLD.status IN ('active', 'refunded')
        AND (NEW.phone_number_id, NEW.refund_id, NEW.failure_code, NEW.finished_at)
            IS DISTINCT FROM (OLD.phone_number_id, OLD.refund_id, OLD.failure_code, OLD.finished_at)
    THEN
        RAISE EXCEPTION 'order % is %: that is its end', OLD.id, OLD.status
            USING ERRCODE = 'restrict_violation', TABLE = 'number_orders';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER number_orders_go_forward
    BEFORE UPDATE ON number_orders
    FOR EACH ROW EXECUTE FUNCTION number_orders_check_change();

CREATE FUNCTION number_orders_refuse_delete() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'orders of numbers are never deleted'
        USING ERRCODE = 'restrict_violation', TABLE = 'number_orders';
END $$;

CREATE TRIGGER number_orders_never_deleted
    BEFORE DELETE ON number_orders
    FOR EACH STATEMENT EXECUTE FUNCTION number_orders_refuse_delete();
"""

NO_TRIGGERS = """
DROP TRIGGER number_orders_never_deleted ON number_orders;
DROP FUNCTION number_orders_refuse_delete();
DROP TRIGGER number_orders_go_forward ON number_orders;
DROP FUNCTION number_orders_check_change();
"""

COLUMNS = (
    "status, monthly_price_pence, purchased_at, months_paid, paid_until, rent_unpaid_since, "
    "release_reason, released_at"
)


class Migration(migrations.Migration):
    dependencies = [("telephony", "0003_number_orders")]

    operations = [
        migrations.RunSQL(ORDERS_GO_FORWARD, NO_TRIGGERS),
        row_level_security(
            "number_orders",
            readable=[
                "id",
                "organization_id",
                "idempotency_key",
                "country",
                "number_type",
                "area_code",
                "price_pence",
                "status",
                "charge_id",
                "number",
                "vapi_phone_number_id",
                "phone_number_id",
                "failure_code",
                "failure",
                "refund_id",
                "created_at",
                "finished_at",
            ],
        ),
        migrations.RunSQL(
            f"GRANT SELECT ({COLUMNS}) ON phone_numbers TO {TENANT_ROLE}",
            f"REVOKE SELECT ({COLUMNS}) ON phone_numbers FROM {TENANT_ROLE}",
        ),
    ]
