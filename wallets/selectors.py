"""Reads of wallets. Nothing here locks or writes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, Exists, Min, OuterRef, Q, Sum

from voxbilling.api.pages import Cursor, Page, page_of
from wallets.errors import OrganizationNotFound
from wallets.ledger.reservations import (
    by_call_id,
    find_reservation,
    find_reservations_of_calls,
)
from wallets.models import (
    Alert,
    CreditReservation,
    CreditTransaction,
    Organization,
    PaymentProfile,
    TopUp,
)

# Of what nobody may ever look at.
MOST_COUNTED = 1_000


def wallet(organization_id: UUID) -> Organization:
    """The organization whose wallet it is, and `has_payment_method`: whether a card is kept.

    Raises OrganizationNotFound.
    """
    # The column that customers' reads may see.
    kept = PaymentProfile.objects.filter(organization=OuterRef("pk"), card_saved_at__isnull=False)
    try:
        return Organization.objects.annotate(has_payment_method=Exists(kept)).get(
            pk=organization_id
        )
    except Organization.DoesNotExist:
        raise OrganizationNotFound(organization_id) from None


def organizations_of(user: Any) -> list[Organization]:
    """The organizations that a person belongs to, by name."""
    return list(Organization.objects.filter(memberships__user=user).order_by("name", "pk"))


def topup(organization_id: UUID, topup_id: UUID) -> TopUp | None:
    """One of the organization's top-ups, as its people may see it."""
    topups = TopUp.objects.defer(*TopUp.HIDDEN_FROM_CUSTOMERS)
    return topups.filter(organization_id=organization_id, pk=topup_id).first()


def kept_card(organization_id: UUID) -> PaymentProfile | None:
    """The card that is charged for automatic recharges; None if none is kept."""
    profiles = PaymentProfile.objects.defer(*PaymentProfile.HIDDEN_FROM_CUSTOMERS)
    return profiles.filter(pk=organization_id, card_saved_at__isnull=False).first()


def entries_page(
    organization_id: UUID, *, limit: int, entry_type: str | None = None, cursor: Cursor | None
) -> Page[CreditTransaction]:
    """A page of the organization's entries, newest first, by their sequence."""
    entries = CreditTransaction.objects.filter(organization_id=organization_id)
    if entry_type is not None:
        entries = entries.filter(type=entry_type)
    if cursor is not None:
        entries = entries.filter(
            **{"sequence__gt" if cursor.towards_newer else "sequence__lt": cursor.key}
        )
    nearest_first = "sequence" if cursor is not None and cursor.towards_newer else "-sequence"
    fetched = entries.select_related("reservation").order_by(nearest_first)[: limit + 1]
    return page_of(list(fetched), limit=limit, cursor=cursor, key=lambda entry: entry.sequence)


def entry(organization_id: UUID, entry_id: UUID) -> CreditTransaction | None:
    """One of the organization's entries, with the hold of the call that it is about."""
    entries = CreditTransaction.objects.select_related("reservation")
    return entries.filter(organization_id=organization_id, pk=entry_id).first()


def reservation_of_call(call_id: str, organization_id: UUID) -> CreditReservation | None:
    """The one reservation of a call, by either of its ids; None if this organization has none."""
    reservation = find_reservation(call_id)
    is_own = reservation is not None and reservation.organization_id == organization_id
    return reservation if is_own else None


def reservations_of_calls(
    call_ids: Collection[str], organization_ids: Collection[UUID]
) -> dict[str, CreditReservation]:
    """The reservations of many calls of these organizations, by either id, in one statement."""
    found = find_reservations_of_calls(call_ids)
    return by_call_id(found.filter(organization__in=organization_ids))


@dataclass(frozen=True, kw_only=True)
class WalletFigures:
    """Sums over all wallets, in pence, when the oldest active hold was made, and what waits."""

    owed_pence: int
    held_pence: int
    oldest_hold_made_at: datetime | None
    alerts_waiting: int
    oldest_alert_raised_at: datetime | None
    alerts_given_up: int
    topups_processing: int


def wallet_figures() -> WalletFigures:
    sums = Organization.objects.aggregate(owed=Sum("owed_pence"), held=Sum("reserved_pence"))
    active = CreditReservation.objects.filter(status=CreditReservation.Status.ACTIVE)
    alerts = Alert.objects.filter(status=Alert.Status.PENDING).aggregate(
        all=Count("pk"), oldest=Min("created_at")
    )
    return WalletFigures(
        owed_pence=sums["owed"] or 0,
        held_pence=sums["held"] or 0,
        oldest_hold_made_at=active.aggregate(oldest=Min("created_at"))["oldest"],
        alerts_waiting=alerts["all"],
        oldest_alert_raised_at=alerts["oldest"],
        alerts_given_up=Alert.objects.filter(status__in=[Alert.Status.FAILED, Alert.Status.NOBODY])[
            :MOST_COUNTED
        ].count(),
        topups_processing=TopUp.objects.filter(
            status=TopUp.Status.PROCESSING, status__in=TopUp.IN_FLIGHT
        ).count(),
    )


# What orders active holds by their expiry, to go on from.
HoldKey = tuple[datetime, UUID]


@dataclass(frozen=True, kw_only=True)
class ExpiringHold:
    """An active hold, with the one or two ids of its call."""

    call_ids: tuple[str, ...]
    expires_at: datetime
    key: HoldKey


def holds_expiring(
    *, before: datetime, after: HoldKey | None = None, limit: int = 500
) -> list[ExpiringHold]:
    """Active holds that expire before a moment, the first to expire first, from a key on."""
    holds = CreditReservation.objects.filter(
        status=CreditReservation.Status.ACTIVE, expires_at__lt=before
    )
    if after is not None:
        holds = holds.filter(Q(expires_at__gt=after[0]) | Q(expires_at=after[0], pk__gt=after[1]))
    return [
        ExpiringHold(
            call_ids=(hold.call_id, hold.vapi_call_id) if hold.vapi_call_id else (hold.call_id,),
            expires_at=hold.expires_at,
            key=(hold.expires_at, hold.pk),
        )
        for hold in holds.order_by("expires_at", "pk")[:limit]
    ]


def call_ids_with_reservation(call_ids: Collection[str]) -> set[str]:
    """Those of the ids by which a reservation is known, whoever has it."""
    return set(by_call_id(find_reservations_of_calls(call_ids))) & set(call_ids)


@dataclass(frozen=True, kw_only=True)
class CallMoney:
    """What is held for a call now, in pence, and the entry that charged it, if one did."""

    reserved_pence: int = 0
    transaction_id: UUID | None = None


def money_of_calls(call_ids: Sequence[str], organization_id: UUID) -> dict[str, CallMoney]:
    """The figures of each of these calls of an organization, by its id, in two statements."""
    by_id = reservations_of_calls(call_ids, [organization_id])
    of_calls = Q(reservation__in=[row.pk for row in by_id.values()])
    # One type at a time, since each has an index of its own. A call that was settled at 0 was
    # charged by its correction, if at all.
    entries = CreditTransaction.objects.filter(
        of_calls & Q(type=CreditTransaction.Type.CALL_DEDUCTION)
        | of_calls & Q(type=CreditTransaction.Type.ADJUSTMENT)
    )
    charged_by = {
        entry.reservation_id: entry.pk
        for entry in entries.only("reservation_id").order_by("-sequence")
    }
    return {
        call_id: CallMoney(
            reserved_pence=by_id[call_id].reserved_pence if by_id[call_id].is_active else 0,
            transaction_id=charged_by.get(by_id[call_id].pk),
        )
        if call_id in by_id
        else CallMoney()
        for call_id in call_ids
    }


@dataclass(frozen=True, kw_only=True)
class LedgerDifference:
    """A figure that an organization's row or entry states, and what it is recomputed to be."""

    organization_id: UUID
    organization_name: str
    figure: str
    recorded: int
    recomputed: int

    def __str__(self) -> str:
        return (
            f"{self.organization_name} ({self.organization_id}): {self.figure} is recorded as "
            f"{self.recorded}, but recomputed as {self.recomputed}"
        )


# One statement, so that all of it is seen at one moment while calls go on.
_DIFFERENCES = """
WITH
entries AS (
    SELECT organization_id,
        sum(CASE direction WHEN 'credit' THEN amount_pence ELSE -amount_pence END) AS balance_pence,
        sum(owed_after_pence - owed_before_pence) AS owed_pence,
        sum(CASE
            WHEN type = 'refund' THEN -amount_pence
            WHEN type IN ('call_deduction', 'recovery', 'phone_provisioning', 'phone_number',
                'number_rental', 'did', 'license') THEN amount_pence
            -- The correction of a call, either way.
            WHEN reservation_id IS NOT NULL THEN balance_before_pence - balance_after_pence
            ELSE 0 END) AS spent_pence,
        sum(amount_pence) FILTER (WHERE type = 'topup') AS topped_up_pence,
        count(*) AS entry_count,
        max(sequence) AS last_sequence
    FROM credit_transactions GROUP BY organization_id
),
breaks AS (
    SELECT organization_id, count(*) AS count FROM (
        SELECT organization_id,
            (sequence, balance_before_pence, owed_before_pence) IS DISTINCT FROM (
                coalesce(lag(sequence) OVER previous, 0) + 1,
                coalesce(lag(balance_after_pence) OVER previous, 0),
                coalesce(lag(owed_after_pence) OVER previous, 0)
            ) AS is_break
        FROM credit_transactions
        WINDOW previous AS (PARTITION BY organization_id ORDER BY sequence)
    ) AS entry WHERE is_break GROUP BY organization_id
),
last_entries AS (
    SELECT DISTINCT ON (organization_id) organization_id, balance_after_pence, owed_after_pence
    FROM credit_transactions ORDER BY organization_id, sequence DESC
),
holds AS (
    SELECT organization_id, sum(reserved_pence) AS reserved_pence
    FROM credit_reservations WHERE status = 'active' GROUP BY organization_id
),
calls AS (
    SELECT reservation.organization_id,
        count(*) FILTER (WHERE billed_seconds > 0) AS calls,
        count(*) FILTER (WHERE
            (charge.price_pence <> taken_pence + owed_pence AND NOT (
                -- Less than it left owed: the rest had been recovered or written off before.
                corrected_seconds < settled_seconds AND taken_pence <= charge.price_pence
                AND charge.price_pence < taken_pence + owed_pence))
            OR (status = 'committed' AND committed_pence <> coalesce(entry.amount_pence, 0))
        ) AS wrong
    FROM credit_reservations reservation
    LEFT JOIN credit_transactions entry
        ON entry.reservation_id = reservation.id AND entry.type = 'call_deduction'
    LEFT JOIN credit_transactions correction
        ON correction.reservation_id = reservation.id AND correction.type = 'adjustment'
    CROSS JOIN LATERAL (SELECT
        coalesce(corrected_seconds, settled_seconds, 0) AS billed_seconds,
        coalesce(entry.balance_before_pence - entry.balance_after_pence, 0)
            + coalesce(correction.balance_before_pence - correction.balance_after_pence, 0)
            AS taken_pence,
        coalesce(entry.owed_after_pence - entry.owed_before_pence, 0)
            + coalesce(correction.owed_after_pence - correction.owed_before_pence, 0)
            AS owed_pence
    ) AS billed
    CROSS JOIN LATERAL (SELECT
        -- Whole increments, then whole pence, both rounded up.
        ((billed_seconds + billing_increment_seconds - 1)
            / billing_increment_seconds * billing_increment_seconds::bigint
            * rate_pence_per_minute + 59) / 60 AS price_pence
    ) AS charge
    GROUP BY reservation.organization_id
),
payments AS (
    SELECT organization_id, count(*) AS wrong FROM (
        -- A paid top-up is one entry, by its payment; what was given back of it is refunds and
        -- claw-backs.
        SELECT topup.organization_id FROM topups topup
        LEFT JOIN credit_transactions entry ON entry.id = topup.entry_id
        LEFT JOIN (
            SELECT topup_id, sum(amount_pence) AS pence FROM refunds
            WHERE status IN ('debited', 'accepted') GROUP BY topup_id
        ) AS given ON given.topup_id = topup.id
        LEFT JOIN (
            SELECT organization_id, split_part(idempotency_key, ':', 3) AS topup_id,
                sum(amount_pence + owed_after_pence - owed_before_pence) AS pence
            FROM credit_transactions
            WHERE type = 'clawback' AND idempotency_key LIKE 'clawback:refunded:%'
            GROUP BY 1, 2
        ) AS clawed
            ON clawed.organization_id = topup.organization_id AND clawed.topup_id = topup.id::text
        WHERE (topup.status = 'paid' AND (entry.organization_id, entry.type, entry.amount_pence,
                entry.idempotency_key) IS DISTINCT FROM (topup.organization_id, 'topup',
                topup.amount_pence, 'credit:' || topup.stripe_payment_intent_id))
            OR topup.refunded_pence <> coalesce(given.pence, 0)
            OR topup.clawed_back_pence <> coalesce(clawed.pence, 0)
        UNION ALL
        SELECT refund.organization_id FROM refunds refund
        LEFT JOIN credit_transactions debit ON debit.id = refund.debit_id
        LEFT JOIN credit_transactions reversal ON reversal.id = refund.reversal_id
        WHERE (debit.organization_id, debit.direction, debit.amount_pence)
                IS DISTINCT FROM (refund.organization_id, 'debit', refund.amount_pence)
            OR (refund.reversal_id IS NOT NULL
                AND (reversal.organization_id, reversal.direction, reversal.amount_pence)
                IS DISTINCT FROM (refund.organization_id, 'credit', refund.amount_pence))
        UNION ALL
        SELECT dispute.organization_id FROM disputes dispute
        JOIN credit_transactions entry ON entry.id = dispute.claw_back_id
        WHERE (entry.organization_id, entry.type,
                entry.amount_pence + entry.owed_after_pence - entry.owed_before_pence)
            IS DISTINCT FROM (dispute.organization_id, 'clawback', dispute.amount_pence)
    ) AS payment GROUP BY organization_id
),
figures AS (
    SELECT organization.id, organization.name, figure, recorded, recomputed
    FROM organizations organization
    LEFT JOIN entries ON entries.organization_id = organization.id
    LEFT JOIN breaks ON breaks.organization_id = organization.id
    LEFT JOIN last_entries ON last_entries.organization_id = organization.id
    LEFT JOIN holds ON holds.organization_id = organization.id
    LEFT JOIN calls ON calls.organization_id = organization.id
    LEFT JOIN payments ON payments.organization_id = organization.id
    CROSS JOIN LATERAL (VALUES
        ('balance_pence', organization.balance_pence, coalesce(entries.balance_pence, 0)),
        ('owed_pence', organization.owed_pence, coalesce(entries.owed_pence, 0)),
        ('reserved_pence', organization.reserved_pence, coalesce(holds.reserved_pence, 0)),
        ('last_sequence', organization.last_sequence, coalesce(entries.last_sequence, 0)),
        ('total_spent_pence', organization.total_spent_pence, coalesce(entries.spent_pence, 0)),
        ('total_topped_up_pence', organization.total_topped_up_pence,
            coalesce(entries.topped_up_pence, 0)),
        ('total_calls', organization.total_calls, coalesce(calls.calls, 0)),
        ('balance after the last entry', coalesce(last_entries.balance_after_pence, 0),
            coalesce(entries.balance_pence, 0)),
        ('owed after the last entry', coalesce(last_entries.owed_after_pence, 0),
            coalesce(entries.owed_pence, 0)),
        ('number of entries that do not follow the one before', coalesce(breaks.count, 0), 0),
        ('number of entries', coalesce(entries.entry_count, 0),
            coalesce(entries.last_sequence, 0)),
        ('number of calls not charged their price', coalesce(calls.wrong, 0), 0),
        ('number of payments that differ from their entries', coalesce(payments.wrong, 0), 0)
    ) AS stated (figure, recorded, recomputed)
)
SELECT id, name, figure, recorded, recomputed FROM figures
WHERE recorded <> recomputed ORDER BY name, id, figure
"""


def ledger_differences() -> list[LedgerDifference]:
    """Every recorded figure that differs from what entries and holds add up to; none is right."""
    with connection.cursor() as cursor:
        cursor.execute(_DIFFERENCES)
        return [
            LedgerDifference(
                organization_id=row[0],
                organization_name=row[1],
                figure=row[2],
                recorded=int(row[3]),
                recomputed=int(row[4]),
            )
            for row in cursor.fetchall()
        ]
