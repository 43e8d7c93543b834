"""The entries of the ledger."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from wallets.models.organizations import Organization
from wallets.models.reservations import CreditReservation


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
            models.Index(
                fields=["organization", "created_at", "sequence"], name="idx_credit_txn_org_time"
            ),
            # Staff's lists, and what was taken today.
            models.Index(fields=["created_at"], name="idx_credit_txn_time"),
            models.Index(fields=["type", "created_at"], name="idx_credit_txn_type_time"),
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
