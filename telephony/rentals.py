"""The monthly price of numbers. The purchase pays the first month; beat charges each later one.

Months run from the purchase, in UTC: one bought on 31 January is due on 28 February and then on
31 March. A month is charged once, in the transaction that moves the number on to the next. A
wallet that cannot pay has a grace period; then the number is released.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from dateutil.relativedelta import relativedelta
from django.db import transaction
from django.utils import timezone

from telephony.models import PhoneNumber
from telephony.releases import begin_release
from wallets import alerts, ledger
from wallets.locks import lock_free_organizations
from wallets.models import CreditTransaction

logger = structlog.get_logger(__name__)

Status = PhoneNumber.Status

# From the first time that the month could not be paid. After an outage of ours, nobody loses a
# number that they were not asked to pay for.
GRACE = timedelta(days=7)
RETRY_UNPAID_AFTER = timedelta(hours=1)
NUMBERS_PER_SWEEP = 500


def start_of_month(purchased_at: datetime, months: int) -> datetime:
    """When so many months after the purchase are over, which is when the next has to be paid."""
    return purchased_at.astimezone(UTC) + relativedelta(months=months)


def released_unless_paid_by(number: PhoneNumber) -> datetime | None:
    """When the grace of a number's unpaid month is over; None if all is paid."""
    since = number.rent_unpaid_since
    return since + GRACE if since is not None and number.status == Status.ACTIVE else None


def charge_rents() -> int:
    """Charge every month that is due; returns how many were paid."""
    due = list(
        PhoneNumber.objects.filter(rent_attempt_at__lte=timezone.now())
        .order_by("rent_attempt_at")
        .values_list("pk", "organization_id")[:NUMBERS_PER_SWEEP]
    )
    paid = 0
    for number_id, organization_id in due:
        try:
            while _charge_next_month(number_id, organization_id):
                paid += 1
        except Exception:
            # The others have their turn, and this one stays due.
            logger.exception("number_rent_not_charged", phone_number_id=str(number_id))
    return paid


@transaction.atomic
def _charge_next_month(number_id: UUID, organization_id: UUID) -> bool:
    """Charge the month that is due, if one is; returns whether it was paid."""
    if not lock_free_organizations([organization_id]):
        return False
    number = PhoneNumber.objects.select_for_update(no_key=True).get(pk=number_id)
    now = timezone.now()
    if (
        number.rent_attempt_at is None
        or number.rent_attempt_at > now
        or number.monthly_price_pence is None
        or number.purchased_at is None
        or number.months_paid is None
        or number.paid_until is None
    ):
        return False
    month = number.months_paid + 1
    try:
        ledger.check_balance_and_deduct_asset_cost(
            organization_id=organization_id,
            cost_pence=number.monthly_price_pence,
            asset_type=CreditTransaction.Type.NUMBER_RENTAL,
            description=f"Phone number {number}: month {month}, from {number.paid_until:%Y-%m-%d}",
            idempotency_key=f"number-rental:{number.pk}:{month}",
        )
    except (ledger.InsufficientBalance, ledger.OrganizationSuspended) as refusal:
        _note_unpaid(number, now, refusal)
        return False
    number.months_paid = month
    number.paid_until = number.rent_attempt_at = start_of_month(number.purchased_at, month)
    number.rent_unpaid_since = None
    number.save(update_fields=["months_paid", "paid_until", "rent_attempt_at", "rent_unpaid_since"])
    return True


def _note_unpaid(number: PhoneNumber, now: datetime, refusal: ledger.LedgerError) -> None:
    if number.rent_unpaid_since is None:
        number.rent_unpaid_since = now
        logger.warning("number_rent_unpaid", phone_number_id=str(number.pk), reason=str(refusal))
        alerts.raise_alert(
            number.organization_id,
            alerts.Kind.RENTAL_UNPAID,
            key=f"{number.pk}:{number.months_paid}",
            context={
                "number": number.number,
                "price_pence": number.monthly_price_pence,
                "releases_at": now + GRACE,
            },
        )
    released_at = number.rent_unpaid_since + GRACE
    if now >= released_at:
        alerts.raise_alert(
            number.organization_id,
            alerts.Kind.NUMBER_RELEASED,
            key=str(number.pk),
            context={
                "number": number.number,
                "price_pence": number.monthly_price_pence,
                "unpaid_since_at": number.rent_unpaid_since,
            },
        )
        begin_release(number, "The monthly price was not paid within the grace period.")
        return
    number.rent_attempt_at = min(now + RETRY_UNPAID_AFTER, released_at)
    number.save(update_fields=["rent_attempt_at", "rent_unpaid_since"])
