"""Tenants with their wallets, and the people who belong to them."""

import uuid
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from wallets.formats import pounds
from wallets.pricing import SECONDS_PER_MINUTE, Tariff

MAX_RATE_PENCE_PER_MINUTE = 100_000
MAX_INCREMENT_SECONDS = 3_600


def default_rate_pence_per_minute() -> int:
    return int(settings.CALL_RATE_PENCE_PER_MINUTE)


def default_billing_increment_seconds() -> int:
    return int(settings.BILLING_INCREMENT_SECONDS)


def check_time_zone(name: str) -> None:
    """Raises ValidationError for what is no time zone's name."""
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValidationError(
            f"{name!r} is no time zone: write its name, like Europe/London or America/New_York."
        ) from None


class Figures(NamedTuple):
    """What a wallet had at one moment, in pence."""

    balance_pence: int
    effective_balance_pence: int
    debt_limit_pence: int


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
    # Within the bounds of the settings that they begin with.
    rate_pence_per_minute = models.PositiveIntegerField(
        default=default_rate_pence_per_minute,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_RATE_PENCE_PER_MINUTE)],
        help_text="In pence, from 1 to 100,000 (£1,000).",
    )
    billing_increment_seconds = models.PositiveIntegerField(
        default=default_billing_increment_seconds,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_INCREMENT_SECONDS)],
        help_text="Calls are charged by so many seconds, each begun one in full; up to 3,600.",
    )
    charges_voicemail = models.BooleanField(
        default=True, help_text="Charge calls that a voicemail answered: Vapi charges them to us."
    )
    recovers_owed_from_topups = models.BooleanField(
        default=True, help_text="Pay what is owed from each top-up, as an entry of its own."
    )
    auto_recharge_enabled = models.BooleanField(
        default=False, help_text="Top up by the saved card when the effective balance runs low."
    )
    auto_recharge_amount_pence = models.PositiveBigIntegerField(
        default=5000, help_text="What one automatic recharge pays in, in pence."
    )
    auto_recharge_threshold_pence = models.PositiveBigIntegerField(
        default=1000, help_text="An effective balance below this starts a recharge, in pence."
    )
    auto_recharge_monthly_cap_pence = models.PositiveBigIntegerField(
        default=50_000,
        help_text="What automatic recharges pay in at most in a calendar month (UTC), in pence.",
    )
    time_zone = models.CharField(
        max_length=64,
        default="Europe/London",
        validators=[check_time_zone],
        help_text="How its people's clocks go: the times in its e-mails. Like Europe/London.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    # As they were when the row was read or last written: what crossings are judged from.
    figures_in_row: Figures

    class Meta:
        db_table = "organizations"
        ordering = ["name"]
        permissions = [
            ("move_money", "Can credit, debit, recover, write off, set debt limits, release holds"),
            ("suspend_organization", "Can suspend and resume organizations"),
            ("act_for_organization", "Can do for customers what their owners can, and spend"),
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(auto_recharge_enabled=True),
                name="idx_organizations_recharging",
            )
        ]
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
                condition=Q(
                    rate_pence_per_minute__lte=MAX_RATE_PENCE_PER_MINUTE,
                    billing_increment_seconds__lte=MAX_INCREMENT_SECONDS,
                ),
                name="organizations_tariff_within_bounds",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["active", "suspended"]), name="organizations_status_known"
            ),
            models.CheckConstraint(
                condition=Q(auto_recharge_amount_pence__gt=0),
                name="organizations_recharge_amount_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        organization = super().from_db(*args, **kwargs)
        if not organization.get_deferred_fields() & {
            "balance_pence",
            "reserved_pence",
            "debt_limit_pence",
        }:
            organization.figures_in_row = organization.figures
        return organization

    @property
    def figures(self) -> Figures:
        return Figures(
            balance_pence=self.balance_pence,
            effective_balance_pence=self.effective_balance_pence,
            debt_limit_pence=self.debt_limit_pence,
        )

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
        return pounds(self.balance_pence)


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
