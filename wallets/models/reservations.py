"""The holds of calls."""

import uuid

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Cast, Concat, Greatest

from wallets.models.organizations import Organization
from wallets.pricing import Tariff


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
            # Staff's lists.
            models.Index(fields=["created_at"], name="idx_credit_res_time"),
            models.Index(fields=["organization", "created_at"], name="idx_credit_res_org_time"),
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
