"""What an organization is told by e-mail, and who of it is told."""

import uuid

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from wallets.models.organizations import Organization


class Alert(models.Model):
    """One e-mail to an organization, written with the fact that it tells of, and sent later.

    `wallets.alerts` writes it. A fact is told once: its kind and key are unique.
    """

    class Kind(models.TextChoices):
        LOW_BALANCE = "low_balance"
        EMPTY = "empty"
        TOPUP_RECEIPT = "topup_receipt"
        RECHARGE_FAILED = "recharge_failed"
        RECHARGE_OFF = "recharge_off"
        RECHARGE_NEEDS_AUTHENTICATION = "recharge_needs_authentication"
        REFUND_MADE = "refund_made"
        PAYMENT_CLAWED_BACK = "payment_clawed_back"
        CALLS_CUT_OFF = "calls_cut_off"
        RENTAL_UNPAID = "rental_unpaid"
        NUMBER_RELEASED = "number_released"

    class Status(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed", "given up"
        NOBODY = "nobody", "nobody to send it to"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="alerts", db_index=False
    )
    kind = models.CharField(max_length=40, choices=Kind.choices)
    key = models.CharField(max_length=200, help_text="Which fact of this kind it tells of.")
    context = models.JSONField(
        encoder=DjangoJSONEncoder, help_text="The figures as they were then; amounts in pence."
    )
    created_at = models.DateTimeField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(
        null=True, blank=True, help_text="When it is sent, or sent again; empty when that is over."
    )
    sent_at = models.DateTimeField(null=True, blank=True)
    sent_to = models.TextField(blank=True, help_text="The addresses, a line each.")
    last_error = models.TextField(blank=True)

    class Meta:
        db_table = "alerts"
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="idx_alerts_due",
            ),
            # Staff's lists.
            models.Index(fields=["created_at"], name="idx_alerts_time"),
            models.Index(fields=["status", "created_at"], name="idx_alerts_status"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "kind", "key"], name="alerts_once_per_fact"
            ),
            models.CheckConstraint(
                condition=Q(status="pending", next_attempt_at__isnull=False, sent_at=None)
                | Q(status="sent", next_attempt_at=None, sent_at__isnull=False)
                | Q(status__in=["failed", "nobody"], next_attempt_at=None, sent_at=None),
                name="alerts_times_match_status",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.organization_id}"


class AlertRecipient(models.Model):
    """An address that an organization's alerts go to. With none, they go to its owners."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="alert_recipients", db_index=False
    )
    email = models.EmailField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "alert_recipients"
        # Not a constraint by name: the forms inside an organization's page would not check it.
        unique_together = [("organization", "email")]

    def __str__(self) -> str:
        return self.email
