"""What no CHECK can say about the ledger: entries are append-only and follow one another, the
organization's figures are those of its last entry and its active holds, an id means one call, and
a hold closes once.

Plain SQL, with no switch to turn it off. Functions have a search path of their own, so a session
that changes its own cannot redirect them. It names pg_temp, last: PostgreSQL looks there first
unless told otherwise, and a temporary table would stand in for the real one.
"""

from django.db import migrations

APPEND_ONLY = """
CREATE FUNCTION credit_transactions_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'ledger entries are never changed or deleted; make a new entry instead'
        USING ERRCODE = 'restrict_violation', TABLE = 'credit_transactions';
END $$;

CREATE TRIGGER credit_transactions_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION credit_transactions_refuse_change();
"""

FOLLOWS_THE_LAST = """
CREATE FUNCTION credit_transactions_check_follows_last() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    last_sequence bigint := 0;
    last_balance bigint := 0;
    last_owed bigint := 0;
BEGIN
    SELECT sequence, balance_after_pence, owed_after_pence
        INTO last_sequence, last_balance, last_owed
        FROM credit_transactions
        WHERE organization_id = NEW.organization_id
        ORDER BY sequence DESC LIMIT 1;
    IF NEW.sequence <> coalesce(last_sequence, 0) + 1
        OR NEW.balance_before_pence <> coalesce(last_balance, 0)
        OR NEW.owed_before_pence <> coalesce(last_owed, 0)
    THEN
        RAISE EXCEPTION
            'entry % of organization % starts at balance %, owed %; the last one, %, ended at %, %',
            NEW.sequence, NEW.organization_id, NEW.balance_before_pence, NEW.owed_before_pence,
            coalesce(last_sequence, 0), coalesce(last_balance, 0), coalesce(last_owed, 0)
            USING ERRCODE = 'check_violation', TABLE = 'credit_transactions',
                CONSTRAINT = 'credit_transactions_follows_last';
    END IF;
    IF NEW.reservation_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM credit_reservations
        WHERE id = NEW.reservation_id AND organization_id = NEW.organization_id
    ) THEN
        RAISE EXCEPTION 'entry % of organization % names a reservation that is not its own',
            NEW.sequence, NEW.organization_id
            USING ERRCODE = 'check_violation', TABLE = 'credit_transactions',
                CONSTRAINT = 'credit_transactions_own_reservation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER credit_transactions_follows_last
    BEFORE INSERT ON credit_transactions
    FOR EACH ROW EXECUTE FUNCTION credit_transactions_check_follows_last();
"""

# At commit, not at once: the entry and the organization's row are two statements.
ORGANIZATION_MATCHES = """
CREATE FUNCTION organizations_check_matches_last_entry() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    owner uuid;
    wallet record;
    last_entry record;
BEGIN
    IF TG_TABLE_NAME = 'organizations' THEN owner := NEW.id; ELSE owner := NEW.organization_id; END IF;
    SELECT balance_pence, owed_pence, last_sequence INTO wallet
        FROM organizations WHERE id = owner;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT balance_after_pence, owed_after_pence, sequence INTO last_entry
        FROM credit_transactions WHERE organization_id = owner
        ORDER BY sequence DESC LIMIT 1;
    IF wallet.balance_pence <> coalesce(last_entry.balance_after_pence, 0)
        OR wallet.owed_pence <> coalesce(last_entry.owed_after_pence, 0)
        OR wallet.last_sequence <> coalesce(last_entry.sequence, 0)
    THEN
        RAISE EXCEPTION
            'organization % has balance %, owed %, sequence %; its last entry says %, %, %',
            owner, wallet.balance_pence, wallet.owed_pence, wallet.last_sequence,
            coalesce(last_entry.balance_after_pence, 0), coalesce(last_entry.owed_after_pence, 0),
            coalesce(last_entry.sequence, 0)
            USING ERRCODE = 'check_violation', TABLE = 'organizations',
                CONSTRAINT = 'organizations_matches_last_entry';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER organizations_matches_last_entry
    AFTER INSERT OR UPDATE OF balance_pence, owed_pence, last_sequence ON organizations
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION organizations_check_matches_last_entry();

CREATE CONSTRAINT TRIGGER credit_transactions_matches_organization
    AFTER INSERT ON credit_transactions
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION organizations_check_matches_last_entry();
"""

HOLDS_ADD_UP = """
CREATE FUNCTION organizations_check_matches_holds() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    owner uuid;
    recorded bigint;
    held bigint;
BEGIN
    IF TG_TABLE_NAME = 'organizations' THEN owner := NEW.id; ELSE owner := NEW.organization_id; END IF;
    SELECT reserved_pence INTO recorded FROM organizations WHERE id = owner;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(sum(reserved_pence), 0) INTO held
        FROM credit_reservations WHERE organization_id = owner AND status = 'active';
    IF recorded <> held THEN
        RAISE EXCEPTION 'organization % has % pence reserved; its active holds sum up to %',
            owner, recorded, held
            USING ERRCODE = 'check_violation', TABLE = 'organizations',
                CONSTRAINT = 'organizations_matches_holds';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER organizations_matches_holds
    AFTER INSERT OR UPDATE OF reserved_pence ON organizations
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION organizations_check_matches_holds();

CREATE CONSTRAINT TRIGGER credit_reservations_matches_organization
    AFTER INSERT OR UPDATE OF status, reserved_pence ON credit_reservations
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION organizations_check_matches_holds();
"""

# The unique columns do not see each other, and neither do two transactions that have not
# committed: so each id is locked first, in one order.
ONE_CALL_FOR_AN_ID = """
CREATE FUNCTION credit_reservations_check_ids() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended(id, 0) AS key
        FROM unnest(ARRAY[NEW.call_id, NEW.vapi_call_id]) AS id
        WHERE id IS NOT NULL ORDER BY key
    ) AS keys;
    IF EXISTS (
        SELECT FROM credit_reservations
        WHERE (call_id = NEW.vapi_call_id OR vapi_call_id = NEW.call_id) AND id <> NEW.id
    ) THEN
        RAISE EXCEPTION 'an id of reservation % is the id of another call', NEW.id
            USING ERRCODE = 'unique_violation', TABLE = 'credit_reservations',
                CONSTRAINT = 'credit_reservations_one_call_for_an_id';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER credit_reservations_one_call_for_an_id
    BEFORE INSERT OR UPDATE OF call_id, vapi_call_id ON credit_reservations
    FOR EACH ROW EXECUTE FUNCTION credit_reservations_check_ids();
"""

HOLDS_CLOSE_ONCE = """
CREATE FUNCTION credit_reservations_check_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF (NEW.id, NEW.organization_id, NEW.call_id, NEW.rate_pence_per_minute,
            NEW.billing_increment_seconds, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.organization_id, OLD.call_id, OLD.rate_pence_per_minute,
            OLD.billing_increment_seconds, OLD.created_at)
    THEN
        RAISE EXCEPTION 'the call, owner and tariff of reservation % never change', OLD.id
            USING ERRCODE = 'restrict_violation', TABLE = 'credit_reservations';
    END IF;
    IF OLD.vapi_call_id IS NOT NULL AND NEW.vapi_call_id IS DISTINCT FROM OLD.vapi_call_id THEN
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
    RETURN NEW;
END $$;

CREATE TRIGGER credit_reservations_close_once
    BEFORE UPDATE ON credit_reservations
    FOR EACH ROW EXECUTE FUNCTION credit_reservations_check_change();

CREATE FUNCTION credit_reservations_refuse_removal() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'reservations are never deleted: they keep a call from being settled twice'
        USING ERRCODE = 'restrict_violation', TABLE = 'credit_reservations';
END $$;

CREATE TRIGGER credit_reservations_kept
    BEFORE DELETE OR TRUNCATE ON credit_reservations
    FOR EACH STATEMENT EXECUTE FUNCTION credit_reservations_refuse_removal();
"""


class Migration(migrations.Migration):
    dependencies = [("wallets", "0001_wallets")]

    operations = [
        migrations.RunSQL(
            APPEND_ONLY,
            """
            DROP TRIGGER credit_transactions_append_only ON credit_transactions;
            DROP FUNCTION credit_transactions_refuse_change();
            """,
        ),
        migrations.RunSQL(
            FOLLOWS_THE_LAST,
            """
            DROP TRIGGER credit_transactions_follows_last ON credit_transactions;
            DROP FUNCTION credit_transactions_check_follows_last();
            """,
        ),
        migrations.RunSQL(
            ORGANIZATION_MATCHES,
            """
            DROP TRIGGER organizations_matches_last_entry ON organizations;
            DROP TRIGGER credit_transactions_matches_organization ON credit_transactions;
            DROP FUNCTION organizations_check_matches_last_entry();
            """,
        ),
        migrations.RunSQL(
            HOLDS_ADD_UP,
            """
            DROP TRIGGER organizations_matches_holds ON organizations;
            DROP TRIGGER credit_reservations_matches_organization ON credit_reservations;
            DROP FUNCTION organizations_check_matches_holds();
            """,
        ),
        migrations.RunSQL(
            ONE_CALL_FOR_AN_ID,
            """
            DROP TRIGGER credit_reservations_one_call_for_an_id ON credit_reservations;
            DROP FUNCTION credit_reservations_check_ids();
            """,
        ),
        migrations.RunSQL(
            HOLDS_CLOSE_ONCE,
            """
            DROP TRIGGER credit_reservations_close_once ON credit_reservations;
            DROP FUNCTION credit_reservations_check_change();
            DROP TRIGGER credit_reservations_kept ON credit_reservations;
            DROP FUNCTION credit_reservations_refuse_removal();
            """,
        ),
    ]
