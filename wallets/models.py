"""Organizations, their ledger entries and the holds of their calls.

Only `wallets.ledger` writes balances, holds and entries. The constraints here and the triggers in
the migrations make the rules hold for every other way in, too.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Cast, Concat, Greatest

from wallets.pricing import SECONDS_PER_MINUTE, Tariff


def default_rate_pence_per_minute() -> int:
    return int(settings.CALL_RATE_PENCE_PER_MINUTE)


def default_billing_increment_seconds() -> int:
    return int(settings.BILLING_INCREMENT_SECONDS)


class Organization(models.Model):
    """A tenant with one wallet. Its row is what every money operation locks."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.ACTIVE, editable=False
    )
    balance_pence = models.BigIntegerField(
        default=0, editable=False, help_text="Paid in less charged, in pence."
    )
    reserved_pence = models.BigIntegerField(
        default=0, editable=False, help_text="Sum of the active holds, in pence."
    )
    debt_limit_pence = models.BigIntegerField(
        default=0,
        editable=False,
        help_text="How far below 0 calls may take the effective balance, in pence.",
    )
    owed_pence = models.BigIntegerField(
        default=0,
        editable=False,
        help_text="What the wallet could not pay, not yet recovered or written off, in pence.",
    )
    last_sequence = models.BigIntegerField(
        default=0, editable=False, help_text="The sequence of the last entry; 0 without entries."
    )
    # Running totals, since sums over entries would take longer with every call.
    total_spent_pence = models.BigIntegerField(
        default=0,
        editable=False,
        help_text="Charged for calls and assets, less what was refunded, in pence.",
    )
    total_topped_up_pence = models.BigIntegerField(
        default=0, editable=False, help_text="Paid in by top-ups, in pence."
    )
    total_calls = models.BigIntegerField(
        default=0, editable=False, help_text="Calls that were settled and lasted above 0 seconds."
    )
    low_balance_pence = models.PositiveIntegerField(
        default=1000,
        help_text="An effective balance below this counts as low, in pence.",
    )
    rate_pence_per_minute = models.PositiveIntegerField(default=default_rate_pence_per_minute)
    billing_increment_seconds = models.PositiveIntegerField(
        default=default_billing_increment_seconds
    )
    charges_voicemail = models.BooleanField(
        default=True, help_text="Charge calls that a voicemail answered: Vapi charges them to us."
    )
    recovers_owed_from_topups = models.BooleanField(
        default=True, help_text="Pay what is owed from each top-up, as an entry of its own."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "organizations"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(reserved_pence__gte=0), name="organizations_reserved_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(owed_pence__gte=0), name="organizations_owed_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(debt_limit_pence__gte=0), name="organizations_debt_limit_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(balance_pence__gte=F("reserved_pence") - F("debt_limit_pence")),
                name="organizations_within_debt_limit",
            ),
            models.CheckConstraint(
                condition=Q(rate_pence_per_minute__gt=0, billing_increment_seconds__gt=0),
                name="organizations_tariff_positive",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["active", "suspended"]), name="organizations_status_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def effective_balance_pence(self) -> int:
        """What is not held for calls, in pence; negative when a debt limit is in use."""
        return self.balance_pence - self.reserved_pence

    @property
    def spendable_on_calls_pence(self) -> int:
        """What calls can spend: the effective balance and the debt limit, in pence."""
        return self.effective_balance_pence + self.debt_limit_pence

    @property
    def is_suspended(self) -> bool:
        return self.status == self.Status.SUSPENDED

    @property
    def is_low_balance(self) -> bool:
        return self.effective_balance_pence < self.low_balance_pence

    @property
    def tariff(self) -> Tariff:
        return Tariff(
            rate_pence_per_minute=self.rate_pence_per_minute,
            billing_increment_seconds=self.billing_increment_seconds,
        )

    @property
    def estimated_minutes_remaining(self) -> int:
        """Whole minutes that what calls can spend pays for."""
        return self.tariff.affordable_seconds(self.spendable_on_calls_pence) // SECONDS_PER_MINUTE

    @property
    def balance_formatted(self) -> str:
        """The balance in pounds, as people write it; a debt is never hidden."""
        pounds, pence = divmod(abs(self.balance_pence), 100)
        return f"{'−' if self.balance_pence < 0 else ''}£{pounds}.{pence:02}"


class Membership(models.Model):
    """A person's place in an organization: owners may spend, viewers may only read."""

    class Role(models.TextChoices):
        OWNER = "owner"
        VIEWER = "viewer"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "memberships"
        constraints = [
            models.UniqueConstraint(
                fields=["user", "organization"], name="memberships_once_per_organization"
            ),
            models.CheckConstraint(
                condition=Q(role__in=["owner", "viewer"]), name="memberships_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization} ({self.role})"


class CreditReservation(models.Model):
    """The hold of one call, and the mark that the call is settled. One for a call, ever.

    A call that is charged without a hold gets a row too, committed from a hold of 0, so that one
    unique column keeps every call from being settled twice, also a call that cost nothing.
    """

    # What stands in front of the row's own key in the place of a call id that it had to give up.
    DISPLACED_PREFIX = "displaced:"

    class Status(models.TextChoices):
        ACTIVE = "active"
        COMMITTED = "committed"
        RELEASED = "released"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="reservations", db_index=False
    )
    call_id = models.CharField(max_length=200, unique=True)
    vapi_call_id = models.CharField(max_length=200, unique=True, null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.ACTIVE)
    reserved_pence = models.BigIntegerField(help_text="The hold, in pence; kept when it closes.")
    committed_pence = models.BigIntegerField(
        null=True, blank=True, help_text="Charged when the hold was committed, in pence."
    )
    released_pence = models.BigIntegerField(
        null=True, blank=True, help_text="Given back when the hold closed, in pence."
    )
    estimated_minutes = models.PositiveIntegerField()
    rate_pence_per_minute = models.PositiveIntegerField()
    billing_increment_seconds = models.PositiveIntegerField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    committed_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(
        null=True, blank=True, help_text="When the hold was released or expired uncommitted."
    )
    settled_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When the call was charged, from the hold or after it was gone.",
    )
    settled_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="The duration that the call was charged for."
    )
    corrected_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="The duration by Vapi, for a call that somebody else had settled before.",
    )

    class Meta:
        db_table = "credit_reservations"
        indexes = [
            models.Index(fields=["organization", "status"], name="idx_credit_res_org_status"),
            models.Index(
                fields=["expires_at"], condition=Q(status="active"), name="idx_credit_res_expires"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(reserved_pence__gte=0), name="credit_reservations_hold_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(rate_pence_per_minute__gt=0, billing_increment_seconds__gt=0),
                name="credit_reservations_tariff_positive",
            ),
            models.CheckConstraint(
                # PostgreSQL lets a CHECK pass when it is NULL, so every branch says what is not.
                condition=Q(
                    status="active",
                    committed_pence=None,
                    released_pence=None,
                    committed_at=None,
                    released_at=None,
                    settled_at=None,
                )
                | Q(
                    status="committed",
                    committed_pence__isnull=False,
                    committed_pence__gte=0,
                    released_pence__isnull=False,
                    released_pence=Greatest(F("reserved_pence") - F("committed_pence"), 0),
                    committed_at__isnull=False,
                    released_at=None,
                    settled_at__isnull=False,
                    settled_at=F("committed_at"),
                )
                | Q(
                    status__in=["released", "expired"],
                    committed_pence__isnull=False,
                    committed_pence=0,
                    released_pence__isnull=False,
                    released_pence=F("reserved_pence"),
                    committed_at=None,
                    released_at__isnull=False,
                ),
                name="credit_reservations_amounts_match_status",
            ),
            models.CheckConstraint(
                condition=Q(settled_at=None, settled_seconds=None)
                | Q(
                    settled_at__isnull=False,
                    settled_seconds__isnull=False,
                    settled_seconds__gte=0,
                ),
                name="credit_reservations_settled_with_seconds",
            ),
            models.CheckConstraint(
                condition=Q(corrected_seconds=None) | Q(settled_at__isnull=False),
                name="credit_reservations_corrected_when_settled",
            ),
            models.CheckConstraint(
                # Nobody may take beforehand the name that a row needs when it gives up its id.
                condition=~Q(call_id__startswith="displaced:")
                | Q(call_id=Concat(Value("displaced:"), Cast("id", models.CharField()))),
                name="credit_reservations_displaced_by_own_key",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status} hold of {self.reserved_pence}p for call {self.call_id}"

    @property
    def is_active(self) -> bool:
        return self.status == self.Status.ACTIVE

    @property
    def is_settled(self) -> bool:
        return self.settled_at is not None

    @property
    def displaced_call_id(self) -> str:
        """What this row is called once it has given up its call id."""
        return f"{self.DISPLACED_PREFIX}{self.pk}"

    @property
    def tariff(self) -> Tariff:
        """The tariff as it was when the call was authorized."""
        return Tariff(
            rate_pence_per_minute=self.rate_pence_per_minute,
            billing_increment_seconds=self.billing_increment_seconds,
        )


class CreditTransaction(models.Model):
    """A ledger entry. Entries are never changed and never deleted; a correction is a new entry."""

    class Direction(models.TextChoices):
        CREDIT = "credit"
        DEBIT = "debit"

    class Type(models.TextChoices):
        TOPUP = "topup"
        CALL_DEDUCTION = "call_deduction"
        REFUND = "refund"
        ADJUSTMENT = "adjustment"
        BONUS = "bonus"
        PHONE_PROVISIONING = "phone_provisioning"
        PHONE_NUMBER = "phone_number"
        NUMBER_RENTAL = "number_rental"
        DID = "did"
        LICENSE = "license"
        CLAWBACK = "clawback"
        RECOVERY = "recovery"
        WRITE_OFF = "write_off"

    CREDIT_TYPES = frozenset({Type.TOPUP, Type.REFUND, Type.BONUS})
    ASSET_TYPES = frozenset(
        {Type.PHONE_PROVISIONING, Type.PHONE_NUMBER, Type.NUMBER_RENTAL, Type.DID, Type.LICENSE}
    )

    # What counts as spent. A recovery pays for a call or claw-back that the wallet owed.
    SPENDING_TYPES = ASSET_TYPES | {Type.CALL_DEDUCTION, Type.RECOVERY}

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="entries", db_index=False
    )
    sequence = models.BigIntegerField(help_text="1, 2, 3 … within the organization.")
    type = models.CharField(max_length=20, choices=Type.choices)
    direction = models.CharField(max_length=6, choices=Direction.choices)
    amount_pence = models.BigIntegerField()
    balance_before_pence = models.BigIntegerField()
    balance_after_pence = models.BigIntegerField()
    owed_before_pence = models.BigIntegerField()
    owed_after_pence = models.BigIntegerField()
    idempotency_key = models.CharField(max_length=200)
    description = models.CharField(max_length=500)
    reservation = models.ForeignKey(
        CreditReservation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="entries",
        db_index=False,
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The member of staff who made it; empty for the system's own entries.",
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = "credit_transactions"
        ordering = ["organization", "-sequence"]
        indexes = [
            models.Index(
                fields=["organization", "type", "sequence"], name="idx_credit_txn_org_type"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "sequence"], name="credit_transactions_sequence"
            ),
            models.UniqueConstraint(
                fields=["organization", "idempotency_key"], name="idx_credit_txn_idempotency"
            ),
            models.UniqueConstraint(
                fields=["reservation"],
                condition=Q(type="call_deduction"),
                name="credit_transactions_one_charge_per_call",
            ),
            models.UniqueConstraint(
                fields=["reservation"],
                condition=Q(type="adjustment"),
                name="credit_transactions_one_correction_per_call",
            ),
            models.CheckConstraint(
                condition=Q(amount_pence__gte=0), name="credit_transactions_amount_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(
                    direction="credit",
                    balance_after_pence=F("balance_before_pence") + F("amount_pence"),
                )
                | Q(
                    direction="debit",
                    balance_after_pence=F("balance_before_pence") - F("amount_pence"),
                ),
                name="credit_transactions_balance_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(owed_before_pence__gte=0, owed_after_pence__gte=0),
                name="credit_transactions_owed_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(amount_pence__gt=0) | ~Q(owed_before_pence=F("owed_after_pence")),
                name="credit_transactions_changes_something",
            ),
            models.CheckConstraint(
                condition=Q(type__in=["topup", "refund", "bonus"], direction="credit")
                | Q(type="adjustment")
                | Q(
                    type__in=[
                        "call_deduction",
                        "phone_provisioning",
                        "phone_number",
                        "number_rental",
                        "did",
                        "license",
                        "clawback",
                        "recovery",
                        "write_off",
                    ],
                    direction="debit",
                ),
                name="credit_transactions_type_has_direction",
            ),
            models.CheckConstraint(
                # What cannot be paid becomes owed by a call or a claw-back; a recovery pays it, a
                # write-off gives it up, the correction of a call does what the call should have
                # done; nothing else touches it.
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
            models.CheckConstraint(
                condition=~Q(type="call_deduction") | Q(reservation__isnull=False),
                name="credit_transactions_call_charge_names_its_call",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.direction} {self.amount_pence}p ({self.type}) #{self.sequence}"

    @property
    def owed_change_pence(self) -> int:
        return self.owed_after_pence - self.owed_before_pence
