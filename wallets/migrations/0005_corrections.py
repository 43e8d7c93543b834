"""A call that was settled at another duration than Vapi's is corrected, once, by one entry; and a
reservation gives up a call id that turns out to be another call's.
"""

import django.db.models.functions
from django.db import migrations, models
from django.db.models import F, Q

from voxbilling.tenancy import TENANT_ROLE

# The function of 0002, with room for what it says now.
CHECK_CHANGE = """
CREATE OR REPLACE FUNCTION credit_reservations_check_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF --identity-- THEN
        RAISE EXCEPTION 'the call, owner and tariff of reservation % never change', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = 'credit_reservations';
    END IF;
    IF --vapi-- THEN
        RAISE EXCEPTION 'the Vapi id of reservation % is learned once', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = 'credit_reservations';
    END IF;
    IF OLD.status <> 'active'
        AND (NEW.status, NEW.reserved_pence, NEW.committed_pence, NEW.released_pence,
                NEW.committed_at, NEW.released_at)
            IS DISTINCT FROM (OLD.status, OLD.reserved_pence, OLD.committed_pence,
                OLD.released_pence, OLD.committed_at, OLD.released_at)
    THEN
        RAISE EXCEPTION 'reservation % is %: it closes once and never opens again', OLD.id, OLD.status
            USING ERRCODE = 'restrict_violation', TABLE = 'credit_reservations';
    END IF;
    IF OLD.settled_at IS NOT NULL
        AND (NEW.settled_at, NEW.settled_seconds)
            IS DISTINCT FROM (OLD.settled_at, OLD.settled_seconds)
    THEN
        RAISE EXCEPTION 'the call of reservation % is settled, and a call is settled once', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = 'credit_reservations';
    END IF;
--corrected--    RETURN NEW;
END $$;
"""


def check_change(*, identity: str, vapi: str, corrected: str = "") -> str:
    return (
        CHECK_CHANGE.replace("--identity--", identity)
        .replace("--vapi--", vapi)
        .replace("--corrected--", corrected)
    )


AS_IN_0002 = check_change(
    identity="""(NEW.id, NEW.organization_id, NEW.call_id, NEW.rate_pence_per_minute,
            NEW.billing_increment_seconds, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.organization_id, OLD.call_id, OLD.rate_pence_per_minute,
            OLD.billing_increment_seconds, OLD.created_at)
   """,
    vapi="OLD.vapi_call_id IS NOT NULL AND NEW.vapi_call_id IS DISTINCT FROM OLD.vapi_call_id",
)
NOW = check_change(
    identity="""(NEW.id, NEW.organization_id, NEW.rate_pence_per_minute,
            NEW.billing_increment_seconds, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.organization_id, OLD.rate_pence_per_minute,
            OLD.billing_increment_seconds, OLD.created_at)
        -- An id that is another call's is given up, and nothing takes its place.
        OR NEW.call_id <> OLD.call_id AND NEW.call_id <> 'displaced:' || OLD.id
   """,
    vapi="""NEW.vapi_call_id IS DISTINCT FROM OLD.vapi_call_id AND (
            OLD.vapi_call_id IS NULL AND OLD.call_id = 'displaced:' || OLD.id
            OR OLD.vapi_call_id IS NOT NULL
                AND (NEW.vapi_call_id IS NOT NULL OR NEW.call_id <> 'displaced:' || OLD.id))
   """,
    corrected="""    IF NEW.corrected_seconds IS DISTINCT FROM OLD.corrected_seconds
        AND (OLD.corrected_seconds IS NOT NULL OR OLD.settled_at IS NULL)
    THEN
        RAISE EXCEPTION 'the call of reservation % is corrected once, after it was settled', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = 'credit_reservations';
    END IF;
""",
)

CORRECTION_WITHIN_CHARGE = """
CREATE FUNCTION credit_transactions_check_correction() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    taken bigint := 0;
    left_owed bigint := 0;
BEGIN
    IF NOT EXISTS (
        SELECT FROM credit_reservations
        WHERE id = NEW.reservation_id AND corrected_seconds IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'entry % of organization % corrects a call that was not corrected',
            NEW.sequence, NEW.organization_id
            USING ERRCODE = 'check_violation', TABLE = 'credit_transactions',
                CONSTRAINT = 'credit_transactions_correction_of_corrected';
    END IF;
    SELECT amount_pence, owed_after_pence - owed_before_pence INTO taken, left_owed
        FROM credit_transactions
        WHERE reservation_id = NEW.reservation_id AND type = 'call_deduction';
    IF NEW.direction = 'credit' AND (NEW.amount_pence > coalesce(taken, 0)
        OR NEW.owed_before_pence - NEW.owed_after_pence > coalesce(left_owed, 0))
    THEN
        RAISE EXCEPTION 'entry % of organization % gives back more than its call was charged',
            NEW.sequence, NEW.organization_id
            USING ERRCODE = 'check_violation', TABLE = 'credit_transactions',
                CONSTRAINT = 'credit_transactions_correction_within_charge';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER credit_transactions_correction
    BEFORE INSERT ON credit_transactions
    FOR EACH ROW WHEN (NEW.type = 'adjustment' AND NEW.reservation_id IS NOT NULL)
    EXECUTE FUNCTION credit_transactions_check_correction();
"""


class Migration(migrations.Migration):
    dependencies = [("wallets", "0004_running_totals")]

    operations = [
        migrations.AddField(
            "creditreservation",
            "corrected_seconds",
            models.PositiveIntegerField(
                blank=True,
                help_text="The duration by Vapi, for a call that somebody else had settled before.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            "creditreservation",
            models.CheckConstraint(
                condition=Q(corrected_seconds=None) | Q(settled_at__isnull=False),
                name="credit_reservations_corrected_when_settled",
            ),
        ),
        migrations.AddConstraint(
            "creditreservation",
            models.CheckConstraint(
                condition=~Q(call_id__startswith="displaced:")
                | Q(
                    call_id=django.db.models.functions.Concat(
                        models.Value("displaced:"),
                        django.db.models.functions.Cast("id", models.CharField()),
                    )
                ),
                name="credit_reservations_displaced_by_own_key",
            ),
        ),
        migrations.AddConstraint(
            "credittransaction",
            models.UniqueConstraint(
                fields=["reservation"],
                condition=Q(type="adjustment"),
                name="credit_transactions_one_correction_per_call",
            ),
        ),
        migrations.RemoveConstraint("credittransaction", "credit_transactions_type_moves_owed"),
        migrations.AddConstraint(
            "credittransaction",
            models.CheckConstraint(
                condition=Q(
                    type__in=["call_deduction", "clawback"],
                    owed_after_pence__gte=F("owed_before_pence"),
                )
                | Q(
                    type="recovery",
                    owed_after_pence=F("owed_before_pence") - F("amount_pence"),
                )
                | Q(
                    type="write_off",
                    amount_pence=0,
                    owed_after_pence__lt=F("owed_before_pence"),
                )
                | Q(
                    type="adjustment",
                    reservation__isnull=False,
                    direction="debit",
                    owed_after_pence__gte=F("owed_before_pence"),
                )
                | Q(
                    type="adjustment",
                    reservation__isnull=False,
                    direction="credit",
                    owed_after_pence__lte=F("owed_before_pence"),
                )
                | Q(
                    ~Q(type__in=["call_deduction", "clawback", "recovery", "write_off"]),
                    owed_after_pence=F("owed_before_pence"),
                ),
                name="credit_transactions_type_moves_owed",
            ),
        ),
        migrations.RunSQL(NOW, AS_IN_0002),
        migrations.RunSQL(
            CORRECTION_WITHIN_CHARGE,
            """
            DROP TRIGGER credit_transactions_correction ON credit_transactions;
            DROP FUNCTION credit_transactions_check_correction();
            """,
        ),
        migrations.RunSQL(
            f"GRANT SELECT (corrected_seconds) ON credit_reservations TO {TENANT_ROLE}",
            f"REVOKE SELECT (corrected_seconds) ON credit_reservations FROM {TENANT_ROLE}",
        ),
    ]
