"""A call: who pays for it, how far it has come, and what it was charged for."""

import uuid
from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q

from telephony.models import VAPI_MAX_DURATION_SECONDS, Assistant, PhoneNumber
from wallets.models import Organization


class Call(models.Model):
    """One call, from the first message about it to its settlement.

    The organization is fixed when the call is first seen. What was charged is copied from the
    ledger in the transaction that charges it.
    """

    # The tenant role may not read these: customers' pages and answers defer them.
    HIDDEN_FROM_CUSTOMERS = (
        "control_url_encrypted",
        "vapi_cost_usd",
        "attention",
        "check_at",
        "warned_at",
        "reconcile_at",
        "reconcile_attempts",
        "unknown_to_vapi_at",
        "review_reason",
        "review_decision",
        "vapi_cost_pence",
    )

    class Authorization(models.TextChoices):
        PENDING = "pending", "not asked yet"
        AUTHORIZED = "authorized"
        REFUSED = "refused"

    class SettledFrom(models.TextChoices):
        VAPI = "vapi", "Vapi's record"
        CUSTOMER = "customer", "the customer's program"
        STAFF = "staff", "a decision of staff's"

    class State(models.TextChoices):
        LIVE = "live"
        LAPSED = "lapsed", "its hold lapsed, and nothing was heard of it"
        ENDED = "ended"
        SETTLED = "settled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="calls", db_index=False
    )
    call_id = models.CharField(max_length=200, unique=True)
    vapi_call_id = models.CharField(max_length=200, unique=True, null=True, blank=True)
    customer_call_id = models.CharField(
        max_length=200,
        blank=True,
        help_text="The id that the customer's program has for a call that Vapi announced first.",
    )
    announced_by_vapi = models.BooleanField(
        default=False,
        help_text="Vapi sent a message about it, so that only Vapi's record charges it.",
    )
    type = models.CharField(max_length=200, blank=True)
    phone_number = models.ForeignKey(
        PhoneNumber, on_delete=models.PROTECT, null=True, blank=True, related_name="calls"
    )
    assistant = models.ForeignKey(
        Assistant, on_delete=models.PROTECT, null=True, blank=True, related_name="calls"
    )
    appointment = models.ForeignKey(
        "Appointment",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="calls",
        db_index=False,
        help_text="The appointment that the call is about.",
    )

    vapi_status = models.CharField(max_length=40, blank=True)
    authorization = models.CharField(
        max_length=10, choices=Authorization.choices, default=Authorization.PENDING
    )
    authorization_answer = models.JSONField(
        null=True, blank=True, help_text="What Vapi was told; a repeated request gets it again."
    )
    max_duration_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="The cap that Vapi was told, in seconds."
    )
    control_url_encrypted = models.TextField(blank=True, editable=False)

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_reason = models.CharField(max_length=500, blank=True)
    duration_seconds = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="As Vapi or, before it, the customer's program reported it, charged or not.",
    )

    check_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When the money of a live call is looked at next; empty for any other call.",
    )
    warned_at = models.DateTimeField(
        null=True, blank=True, help_text="When the caller was told that the money ends."
    )
    money_ended_at = models.DateTimeField(
        null=True, blank=True, help_text="When the money of a call that was ended by us ran out."
    )
    end_ordered_at = models.DateTimeField(null=True, blank=True)
    end_sent_at = models.DateTimeField(
        null=True, blank=True, help_text="When Vapi accepted the order to end the call."
    )
    end_attempts = models.PositiveSmallIntegerField(default=0)
    end_retry_at = models.DateTimeField(
        null=True, blank=True, help_text="When the order to end is sent again; empty when done."
    )

    reconcile_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When Vapi is asked about it, if it says no more; empty when all is known.",
    )
    reconcile_attempts = models.PositiveSmallIntegerField(default=0)
    unknown_to_vapi_at = models.DateTimeField(
        null=True, blank=True, help_text="When Vapi first answered that it knows no such call."
    )
    review_reason = models.CharField(
        max_length=500, blank=True, help_text="Why staff decide what this call is charged for."
    )
    review_decision = models.CharField(
        max_length=600, blank=True, help_text="What staff decided, who, and why."
    )

    settled_at = models.DateTimeField(null=True, blank=True)
    settled_from = models.CharField(max_length=10, choices=SettledFrom.choices, blank=True)
    charged_pence = models.BigIntegerField(null=True, blank=True)
    uncollected_pence = models.BigIntegerField(null=True, blank=True)
    not_charged_because = models.CharField(max_length=200, blank=True)
    vapi_cost_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    vapi_cost_pence = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="What Vapi charges for it, at the rate of the day when that was learned.",
    )
    attention = models.TextField(
        blank=True, help_text="What staff should look at, a sentence a line; empty when nothing."
    )

    class Meta:
        db_table = "calls"
        indexes = [
            # Serves margin by organization and period from the index alone.
            models.Index(
                fields=["organization", "ended_at"],
                include=["charged_pence", "vapi_cost_usd"],
                name="idx_calls_cost",
            ),
            models.Index(fields=["appointment"], name="idx_calls_appointment_id"),
            models.Index(
                fields=["end_retry_at"],
                condition=Q(end_retry_at__isnull=False),
                name="idx_calls_end_retry",
            ),
            models.Index(
                fields=["check_at"], condition=Q(check_at__isnull=False), name="idx_calls_check"
            ),
            models.Index(
                fields=["organization"],
                condition=Q(ended_at=None, announced_by_vapi=True),
                name="idx_calls_not_ended",
            ),
            # Customers page through their calls by these, newest first.
            models.Index(fields=["organization", "created_at", "id"], name="idx_calls_page"),
            models.Index(
                fields=["organization", "phone_number", "created_at", "id"],
                name="idx_calls_page_number",
            ),
            models.Index(
                fields=["organization", "created_at", "id"],
                condition=Q(ended_at=None),
                name="idx_calls_page_live",
            ),
            models.Index(
                fields=["reconcile_at"],
                condition=Q(reconcile_at__isnull=False),
                name="idx_calls_reconcile",
            ),
            models.Index(
                fields=["ended_at"], condition=~Q(review_reason=""), name="idx_calls_review"
            ),
            models.Index(fields=["ended_at"], name="idx_calls_ended"),
            # Staff's lists.
            models.Index(fields=["created_at"], name="idx_calls_time"),
            models.Index(
                fields=["created_at"], condition=~Q(attention=""), name="idx_calls_attention"
            ),
            models.Index(
                fields=["ended_at"],
                condition=Q(charged_pence__lt=F("vapi_cost_pence")),
                name="idx_calls_below_cost",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(check_at=None) | Q(ended_at=None, end_ordered_at=None),
                name="calls_checked_while_live",
            ),
            models.CheckConstraint(
                condition=Q(settled_at=None, charged_pence=None, uncollected_pence=None)
                | Q(
                    settled_at__isnull=False,
                    charged_pence__isnull=False,
                    charged_pence__gte=0,
                    uncollected_pence__isnull=False,
                    uncollected_pence__gte=0,
                ),
                name="calls_settled_with_amounts",
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(control_url_encrypted=""),
                name="calls_forget_control_url_when_ended",
            ),
            models.CheckConstraint(
                condition=Q(settled_at=None, settled_from="")
                | Q(settled_at__isnull=False, settled_from="customer")
                | Q(
                    settled_at__isnull=False,
                    settled_from__in=["vapi", "staff"],
                    announced_by_vapi=True,
                ),
                name="calls_settled_from_somebody",
            ),
            models.CheckConstraint(
                condition=Q(review_reason="")
                | Q(
                    announced_by_vapi=True,
                    ended_at__isnull=False,
                    settled_from__in=["", "customer"],
                ),
                name="calls_reviewed_when_ended",
            ),
            # No call is forgotten: Vapi is asked, or staff decide, until it is settled.
            models.CheckConstraint(
                condition=Q(
                    reconcile_at__isnull=False,
                    announced_by_vapi=True,
                    vapi_call_id__isnull=False,
                    settled_from__in=["", "customer"],
                    review_reason="",
                )
                | Q(reconcile_at=None)
                & (
                    Q(announced_by_vapi=False)
                    | Q(vapi_call_id=None)
                    | Q(settled_from__in=["vapi", "staff"])
                    | ~Q(review_reason="")
                ),
                name="calls_asked_about_until_settled",
            ),
            models.CheckConstraint(
                condition=Q(customer_call_id="") | Q(announced_by_vapi=True),
                name="calls_customer_id_of_announced",
            ),
            models.UniqueConstraint(
                fields=["organization", "customer_call_id"],
                condition=~Q(customer_call_id=""),
                name="calls_customer_id_once_per_organization",
            ),
        ]

    def __str__(self) -> str:
        return f"Call {self.call_id}"

    @property
    def is_over(self) -> bool:
        """Whether the call has ended: then it gets no hold and needs no ending.

        One that was settled and that Vapi shows alive is not over: it must be ended.
        """
        return self.ended_at is not None

    @property
    def state(self) -> State:
        if self.ended_at is None:
            return self.State.LIVE
        return self.State.SETTLED if self.settled_at else self.State.ENDED

    @property
    def cost_pence(self) -> int | None:
        """What it cost, paid by the wallet or not; None until it is settled."""
        if self.charged_pence is None or self.uncollected_pence is None:
            return None
        return self.charged_pence + self.uncollected_pence

    @property
    def payer_is_known(self) -> bool:
        """Whether Vapi's facts name who pays; if not, a customer's program claimed the call."""
        return self.phone_number_id is not None or self.assistant_id is not None

    @property
    def is_settled_for_good(self) -> bool:
        """Whether nothing that Vapi says later changes what it is charged for."""
        return self.settled_from in (self.SettledFrom.VAPI, self.SettledFrom.STAFF)

    @property
    def awaits_vapi(self) -> bool:
        """Whether it is settled from what Vapi says next of it, told or asked."""
        return (
            self.announced_by_vapi
            and self.vapi_call_id is not None
            and not self.is_settled_for_good
            and not self.review_reason
        )

    @property
    def last_possible_second(self) -> datetime | None:
        """When a call that has started has ended by itself, at its cap."""
        if self.started_at is None:
            return None
        cap_seconds = self.max_duration_seconds
        if cap_seconds is None and self.assistant is not None:
            cap_seconds = self.assistant.max_duration_seconds
        return self.started_at + timedelta(seconds=cap_seconds or VAPI_MAX_DURATION_SECONDS)

    @property
    def is_to_be_told_to_end(self) -> bool:
        """Whether we decided that it ends, and neither Vapi took the order nor it has ended."""
        return (
            self.end_ordered_at is not None and self.end_sent_at is None and self.ended_at is None
        )

    def end(self, ended_at: datetime) -> None:
        """Note that the call is over: nothing is watched or sent any more; the caller saves."""
        self.ended_at = ended_at
        self.control_url_encrypted = ""
        self.end_retry_at = None
        self.check_at = None

    def add_attention(self, sentence: str) -> None:
        """Show a sentence to staff, once; the caller saves."""
        lines = self.attention.splitlines()
        if sentence not in lines:
            self.attention = "\n".join([*lines, sentence])
