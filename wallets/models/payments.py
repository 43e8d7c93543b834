"""What moves money between Stripe and wallets: cards, top-ups, refunds and disputes.

`wallets.payments` writes them. Each row that moved money names the entry that did it.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from wallets.models.entries import CreditTransaction
from wallets.models.organizations import Organization


class PaymentProfile(models.Model):
    """An organization at Stripe: its customer, the card it agreed to keep there, its recharges."""

    # The tenant role may not read these: customers see the card's brand and last digits.
    HIDDEN_FROM_CUSTOMERS = ("stripe_customer_id", "stripe_payment_method_id")

    organization = models.OneToOneField(
        Organization, on_delete=models.PROTECT, primary_key=True, related_name="payment_profile"
    )
    stripe_customer_id = models.CharField(
        max_length=200, unique=True, null=True, blank=True, editable=False
    )
    stripe_payment_method_id = models.CharField(max_length=200, blank=True, editable=False)
    card_brand = models.CharField(max_length=40, blank=True, editable=False)
    card_last4 = models.CharField(max_length=4, blank=True, editable=False)
    card_saved_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When a payment by this card was made with consent to keep it.",
    )
    declines_in_a_row = models.PositiveSmallIntegerField(
        default=0,
        editable=False,
        help_text="Automatic recharges that failed since the last good one.",
    )
    recharge_not_before = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="No recharge is started before this: cooldown, or pause after a decline.",
    )

    class Meta:
        db_table = "payment_profiles"
        constraints = [
            models.CheckConstraint(
                condition=Q(stripe_payment_method_id="", card_saved_at=None)
                | (
                    ~Q(stripe_payment_method_id="")
                    & Q(card_saved_at__isnull=False, stripe_customer_id__isnull=False)
                ),
                name="payment_profiles_card_kept_with_consent",
            ),
        ]

    def __str__(self) -> str:
        return f"payment profile of {self.organization_id}"

    @property
    def has_payment_method(self) -> bool:
        return self.stripe_payment_method_id != ""


class TopUp(models.Model):
    """Money that a customer pays in. It is written before Stripe is asked, and credited once."""

    HIDDEN_FROM_CUSTOMERS = ("attention", "card_due_at")

    class Origin(models.TextChoices):
        CHECKOUT = "checkout"
        AUTO_RECHARGE = "auto_recharge"

    class Status(models.TextChoices):
        PENDING = "pending", "waiting for the payment"
        PROCESSING = "processing", "paid by a method that takes days"
        PAID = "paid"
        FAILED = "failed"
        EXPIRED = "expired"

    # Money that may still come by itself.
    IN_FLIGHT = (Status.PENDING, Status.PROCESSING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="topups", db_index=False
    )
    origin = models.CharField(max_length=20, choices=Origin.choices)
    amount_pence = models.BigIntegerField()
    saves_card = models.BooleanField(
        default=False, help_text="Whether the customer agreed to keep the card for recharges."
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    stripe_checkout_session_id = models.CharField(
        max_length=200, unique=True, null=True, blank=True
    )
    stripe_payment_intent_id = models.CharField(max_length=200, unique=True, null=True, blank=True)
    entry = models.OneToOneField(
        CreditTransaction, on_delete=models.PROTECT, null=True, blank=True, related_name="topup"
    )
    failure_code = models.CharField(max_length=60, blank=True)
    failure = models.CharField(
        max_length=500, blank=True, help_text="What the customer is told, in a sentence."
    )
    refunded_pence = models.BigIntegerField(
        default=0, help_text="Given back by staff and not reversed, in pence."
    )
    stripe_refunded_pence = models.BigIntegerField(
        default=0, help_text="Given back as Stripe says, by whomever, in pence; never falls."
    )
    clawed_back_pence = models.BigIntegerField(
        default=0, help_text="Taken from the wallet for refunds from outside, in pence."
    )
    attention = models.TextField(
        blank=True, help_text="What staff should look at; empty when all is well."
    )
    created_at = models.DateTimeField()
    asked_at = models.DateTimeField(
        null=True, blank=True, help_text="When Stripe was last asked what became of it."
    )
    finished_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was paid, failed or expired."
    )
    card_due_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When the sweep asks Stripe for the card to keep; empty when there is none.",
    )

    class Meta:
        db_table = "topups"
        indexes = [
            models.Index(fields=["organization", "created_at"], name="idx_topups_org_created"),
            # Staff's lists.
            models.Index(fields=["created_at"], name="idx_topups_time"),
            models.Index(
                fields=["created_at"], condition=~Q(attention=""), name="idx_topups_attention"
            ),
            models.Index(
                fields=["created_at"],
                condition=Q(status__in=["pending", "processing"]),
                name="idx_topups_in_flight",
            ),
            models.Index(
                fields=["card_due_at"],
                condition=Q(card_due_at__isnull=False),
                name="idx_topups_card_due",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["organization"],
                condition=Q(origin="auto_recharge", status__in=["pending", "processing"]),
                name="topups_one_recharge_in_flight",
            ),
            models.CheckConstraint(condition=Q(amount_pence__gt=0), name="topups_amount_positive"),
            models.CheckConstraint(
                condition=Q(origin__in=["checkout", "auto_recharge"]), name="topups_origin_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "processing"], entry=None, finished_at=None)
                | Q(status__in=["failed", "expired"], entry=None, finished_at__isnull=False)
                | Q(
                    status="paid",
                    entry__isnull=False,
                    stripe_payment_intent_id__isnull=False,
                    finished_at__isnull=False,
                ),
                name="topups_paid_with_entry",
            ),
            models.CheckConstraint(
                condition=Q(
                    refunded_pence__gte=0,
                    stripe_refunded_pence__gte=0,
                    clawed_back_pence__gte=0,
                    amount_pence__gte=F("refunded_pence") + F("clawed_back_pence"),
                ),
                name="topups_given_back_at_most_once",
            ),
            models.CheckConstraint(
                condition=Q(status="paid") | Q(refunded_pence=0, clawed_back_pence=0),
                name="topups_given_back_when_paid",
            ),
            models.CheckConstraint(
                condition=Q(card_due_at=None) | Q(status="paid", saves_card=True),
                name="topups_card_kept_with_consent",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status} top-up of {self.amount_pence}p"

    @property
    def is_paid(self) -> bool:
        return self.status == self.Status.PAID


class Refund(models.Model):
    """A top-up, or a part of one, that staff give back: taken from the wallet, then sent back."""

    class Status(models.TextChoices):
        DEBITED = "debited", "taken from the wallet, Stripe is asked"
        ACCEPTED = "accepted", "on its way to the customer"
        REVERSED = "reversed", "refused by Stripe, back in the wallet"
        RETURNED = "returned", "came back from the bank, back in the wallet"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="refunds")
    topup = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="refunds")
    amount_pence = models.BigIntegerField()
    reason = models.CharField(max_length=300)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.DEBITED)
    stripe_refund_id = models.CharField(max_length=200, unique=True, null=True, blank=True)
    failure = models.CharField(max_length=500, blank=True)
    debit = models.OneToOneField(CreditTransaction, on_delete=models.PROTECT, related_name="refund")
    reversal = models.OneToOneField(
        CreditTransaction,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="reversed_refund",
    )
    created_at = models.DateTimeField()
    work_due_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When the sweep asks Stripe about it; empty when it is known.",
    )
    work_attempts = models.PositiveSmallIntegerField(default=0)

    # What staff wrote, and how we work on it.
    HIDDEN_FROM_CUSTOMERS = (
        "reason",
        "requested_by_id",
        "failure",
        "work_due_at",
        "work_attempts",
    )

    class Meta:
        db_table = "refunds"
        indexes = [
            models.Index(
                fields=["work_due_at"],
                condition=Q(work_due_at__isnull=False),
                name="idx_refunds_work_due",
            )
        ]
        constraints = [
            models.CheckConstraint(condition=Q(amount_pence__gt=0), name="refunds_amount_positive"),
            models.CheckConstraint(
                condition=Q(status="debited", reversal=None, work_due_at__isnull=False)
                | Q(
                    status="accepted",
                    reversal=None,
                    stripe_refund_id__isnull=False,
                    work_due_at=None,
                )
                | Q(status="reversed", reversal__isnull=False, work_due_at=None)
                | Q(
                    status="returned",
                    reversal__isnull=False,
                    stripe_refund_id__isnull=False,
                    work_due_at=None,
                ),
                name="refunds_reversed_with_entry",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status} refund of {self.amount_pence}p"


class Dispute(models.Model):
    """A payment that the cardholder contests. Stripe takes the money, and may bring it back."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="disputes"
    )
    topup = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="disputes")
    stripe_dispute_id = models.CharField(max_length=200, unique=True)
    amount_pence = models.BigIntegerField()
    reason = models.CharField(max_length=100, blank=True, help_text="As Stripe says.")
    withdrawn_at = models.DateTimeField(
        null=True, blank=True, help_text="When Stripe took the money; empty for an inquiry."
    )
    reinstated_at = models.DateTimeField(
        null=True, blank=True, help_text="When Stripe brought the money back."
    )
    claw_back = models.OneToOneField(
        CreditTransaction, on_delete=models.PROTECT, null=True, blank=True, related_name="dispute"
    )
    is_given_back = models.BooleanField(
        default=False, help_text="Whether the wallet has got back what was taken."
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = "disputes"
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_pence__gt=0), name="disputes_amount_positive"
            ),
            models.CheckConstraint(
                condition=Q(claw_back__isnull=False) | Q(is_given_back=False),
                name="disputes_given_back_when_taken",
            ),
            models.CheckConstraint(
                condition=Q(claw_back=None) | Q(withdrawn_at__isnull=False),
                name="disputes_taken_when_withdrawn",
            ),
            models.CheckConstraint(
                condition=Q(is_given_back=False) | Q(reinstated_at__isnull=False),
                name="disputes_given_back_when_reinstated",
            ),
        ]

    def __str__(self) -> str:
        return f"dispute of {self.amount_pence}p"
