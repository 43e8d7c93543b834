"""The inbox: every message, stored once, with what became of it."""

import uuid

from django.db import models
from django.db.models import Q

from wallets.models import Organization


class WebhookEvent(models.Model):
    """A message from a provider. Only the fields that billing needs are kept."""

    class Source(models.TextChoices):
        VAPI = "vapi"
        STRIPE = "stripe"

    class Status(models.TextChoices):
        PENDING = "pending", "to be processed"
        PROCESSED = "processed"
        UNUSABLE = "unusable"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    source = models.CharField(max_length=10, choices=Source.choices)
    digest = models.CharField(
        max_length=64,
        unique=True,
        help_text="SHA-256 of the source and the raw body, or Stripe's event id, in hex.",
    )
    type = models.CharField(max_length=100, blank=True)
    vapi_call_id = models.CharField(max_length=200, blank=True, db_index=True)
    organization = models.ForeignKey(
        Organization,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="webhook_events",
        db_index=False,
        help_text="Known once the message has been processed.",
    )
    payload = models.JSONField()
    control_url_encrypted = models.TextField(blank=True, editable=False)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    outcome = models.CharField(max_length=500, blank=True)
    answer = models.JSONField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    received_at = models.DateTimeField(db_index=True)
    processed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "webhook_events"
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(status="pending"),
                name="idx_webhook_events_pending",
            ),
            models.Index(
                fields=["received_at"],
                condition=Q(status__in=["failed", "unusable"]),
                name="idx_webhook_events_to_see",
            ),
            models.Index(
                fields=["processed_at"],
                condition=Q(status="processed"),
                name="idx_webhook_events_done",
            ),
            # Staff's lists.
            models.Index(fields=["status", "received_at"], name="idx_webhook_events_status"),
            models.Index(fields=["organization", "received_at"], name="idx_webhook_events_org"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="pending") | Q(next_attempt_at__isnull=False),
                name="webhook_events_pending_will_be_tried",
            ),
            models.CheckConstraint(
                condition=Q(status="pending") | Q(control_url_encrypted=""),
                name="webhook_events_forget_control_url",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type or 'message'} from {self.source}, {self.received_at:%Y-%m-%d %H:%M:%S}"


class StripeReading(models.Model):
    """How far Stripe's list of undelivered events was read; one row."""

    THE_ONE = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    after_event_id = models.CharField(
        max_length=200,
        blank=True,
        help_text="Where the list, which begins with the newest, is read on; empty for its begin.",
    )
    reading_until = models.DateTimeField(
        null=True, blank=True, help_text="Nobody else reads the list until then."
    )

    class Meta:
        db_table = "stripe_reading"
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="stripe_reading_one_row"),
        ]

    def __str__(self) -> str:
        return f"read to {self.after_event_id or 'the end'}"
