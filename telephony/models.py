"""What organizations answer their calls with: assistants, phone numbers and orders of them."""

import uuid

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from wallets.models import CreditTransaction, Organization

# Vapi's bounds of maxDurationSeconds, and what it uses for an assistant that names none.
VAPI_MIN_DURATION_SECONDS = 10
VAPI_MAX_DURATION_SECONDS = 43_200
VAPI_DEFAULT_DURATION_SECONDS = 600


class Assistant(models.Model):
    """A Vapi assistant that belongs to one organization, or a squad of them."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="assistants"
    )
    name = models.CharField(max_length=200)
    vapi_assistant_id = models.CharField(max_length=200, unique=True)
    is_squad = models.BooleanField(
        default=False,
        help_text="The id is that of a squad: assistants that hand the caller on to each other.",
    )
    max_duration_seconds = models.PositiveIntegerField(
        default=VAPI_DEFAULT_DURATION_SECONDS,
        validators=[
            MinValueValidator(VAPI_MIN_DURATION_SECONDS),
            MaxValueValidator(VAPI_MAX_DURATION_SECONDS),
        ],
        help_text="The longest call that it takes, in seconds, however full the wallet.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "assistants"
        constraints = [
            # What the key of a number's organization and assistant refers to.
            models.UniqueConstraint(
                fields=["organization", "id"], name="assistants_organization_and_id"
            ),
            models.CheckConstraint(
                condition=Q(max_duration_seconds__range=(10, 43_200)),
                name="assistants_duration_within_vapi_bounds",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ProviderWork(models.Model):
    """A row for which something has to be done at Twilio or Vapi; see `telephony.leases`."""

    work_due_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When the sweep takes it up, unless whoever works on it is done by then; empty "
        "when nothing is left to do.",
    )
    work_attempts = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="How often the sweep has taken it up."
    )
    attention = models.CharField(
        max_length=500,
        blank=True,
        editable=False,
        help_text="Why it is not finished, when that takes long; empty when nothing is wrong.",
    )

    class Meta:
        abstract = True


class PhoneNumber(ProviderWork):
    """A phone number whose calls an organization pays for.

    Bought here, it has a Twilio id and a monthly price; entered by staff, it has neither. Released
    numbers stay, since calls point at them, and their digits may belong to somebody else later.
    """

    # The tenant role may not read these: customers' pages and answers defer them.
    HIDDEN_FROM_CUSTOMERS = (
        "twilio_sid",
        "work_due_at",
        "work_attempts",
        "attention",
        "rent_attempt_at",
    )

    class Status(models.TextChoices):
        ACTIVE = "active"
        RELEASING = "releasing"
        RELEASED = "released"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="phone_numbers"
    )
    number = models.CharField(
        max_length=16,
        validators=[RegexValidator(r"^\+[1-9]\d{6,14}$", "Write the number like +442079460123.")],
        help_text="In international form, like +442079460123.",
    )
    vapi_phone_number_id = models.CharField(max_length=200, unique=True, null=True, blank=True)
    twilio_sid = models.CharField(max_length=64, unique=True, null=True, blank=True, editable=False)
    assistant = models.ForeignKey(
        Assistant,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="phone_numbers",
        help_text="Answers the calls to this number.",
    )
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.ACTIVE, editable=False
    )
    monthly_price_pence = models.PositiveIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text="In pence; empty for a number without rent.",
    )
    purchased_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its first month began."
    )
    months_paid = models.PositiveIntegerField(null=True, blank=True, editable=False)
    paid_until = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When the next month begins, and has to be paid.",
    )
    rent_attempt_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When the sweep charges the next month."
    )
    rent_unpaid_since = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When the wallet first could not pay the month that is due; empty when all is "
        "paid.",
    )
    release_reason = models.CharField(max_length=200, blank=True, editable=False)
    released_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "phone_numbers"
        indexes = [
            models.Index(
                fields=["work_due_at"],
                condition=Q(work_due_at__isnull=False),
                name="idx_phone_numbers_work_due",
            ),
            models.Index(
                fields=["rent_attempt_at"],
                condition=Q(rent_attempt_at__isnull=False),
                name="idx_phone_numbers_rent",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["number"],
                condition=Q(released_at=None),
                name="phone_numbers_number_in_use_once",
            ),
            models.CheckConstraint(
                condition=Q(status="active", released_at=None, work_due_at=None)
                | Q(
                    status="releasing",
                    released_at=None,
                    work_due_at__isnull=False,
                    twilio_sid__isnull=False,
                )
                | Q(status="released", released_at__isnull=False, work_due_at=None),
                name="phone_numbers_work_matches_status",
            ),
            models.CheckConstraint(
                # PostgreSQL lets a CHECK pass when it is NULL, so every branch says what is not.
                condition=Q(
                    monthly_price_pence=None,
                    purchased_at=None,
                    months_paid=None,
                    paid_until=None,
                    rent_attempt_at=None,
                    rent_unpaid_since=None,
                )
                | Q(
                    monthly_price_pence__isnull=False,
                    monthly_price_pence__gt=0,
                    twilio_sid__isnull=False,
                    purchased_at__isnull=False,
                    months_paid__isnull=False,
                    months_paid__gte=1,
                    paid_until__isnull=False,
                    paid_until__gt=F("purchased_at"),
                ),
                name="phone_numbers_rent_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(monthly_price_pence=None)
                | Q(status="active", rent_attempt_at__isnull=False)
                | Q(~Q(status="active"), rent_attempt_at=None),
                name="phone_numbers_active_ones_pay",
            ),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def is_bought(self) -> bool:
        """Whether we bought it at Twilio; otherwise staff entered it."""
        return self.twilio_sid is not None


# Orders whose number no other order may ask for. Twilio lets an account buy its own number again,
# and only gives it the new name: what such an order has to give back would then be the other's.
HOLDS_ITS_NUMBER = (
    Q(status__in=["charged", "bought", "imported", "cancelling"])
    | Q(status="refunded", work_due_at__isnull=False)
) & ~Q(number="")


class NumberOrder(ProviderWork):
    """A customer's order of a phone number, from its charge to the number or the refund.

    `charged → bought → imported → active`, or from any of the first three
    `→ cancelling → refunded`. Never back: a trigger sees to it. A refunded order stays due until
    nothing of it is left at the providers.
    """

    # The tenant role may not read these: customers' pages and answers defer them.
    HIDDEN_FROM_CUSTOMERS = (
        "twilio_sid",
        "work_due_at",
        "work_attempts",
        "attention",
        "purchase_attempted_at",
        "import_attempted_at",
    )

    class Status(models.TextChoices):
        CHARGED = "charged"
        BOUGHT = "bought"
        IMPORTED = "imported"
        ACTIVE = "active"
        CANCELLING = "cancelling"
        REFUNDED = "refunded"

    OPEN = (Status.CHARGED, Status.BOUGHT, Status.IMPORTED, Status.CANCELLING)

    class NumberType(models.TextChoices):
        LOCAL = "local"
        TOLL_FREE = "toll_free"
        MOBILE = "mobile"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="number_orders", db_index=False
    )
    idempotency_key = models.CharField(
        max_length=128, help_text="The customer's; the order's own id if there was none."
    )
    country = models.CharField(max_length=2)
    number_type = models.CharField(max_length=10, choices=NumberType.choices)
    area_code = models.CharField(max_length=10, blank=True)
    price_pence = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.CHARGED)
    charge = models.OneToOneField(CreditTransaction, on_delete=models.PROTECT, related_name="+")
    number = models.CharField(
        max_length=16, blank=True, help_text="The number that is being or was bought."
    )
    purchase_attempted_at = models.DateTimeField(
        null=True, blank=True, help_text="When Twilio was last asked to sell a number."
    )
    twilio_sid = models.CharField(max_length=64, unique=True, null=True, blank=True)
    import_attempted_at = models.DateTimeField(
        null=True, blank=True, help_text="When Vapi was last asked to import the number."
    )
    vapi_phone_number_id = models.CharField(max_length=200, unique=True, null=True, blank=True)
    phone_number = models.OneToOneField(
        PhoneNumber, on_delete=models.PROTECT, null=True, blank=True, related_name="order"
    )
    failure_code = models.CharField(max_length=40, blank=True)
    failure = models.CharField(
        max_length=500, blank=True, help_text="What the customer is told, in a sentence or two."
    )
    refund = models.OneToOneField(
        CreditTransaction, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "number_orders"
        ordering = ["-created_at"]
        indexes = [
            models.Index(
                fields=["work_due_at"],
                condition=Q(work_due_at__isnull=False),
                name="idx_number_orders_work_due",
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "idempotency_key"], name="number_orders_once_per_key"
            ),
            models.UniqueConstraint(
                fields=["number"],
                condition=HOLDS_ITS_NUMBER,
                name="number_orders_number_at_work_once",
            ),
            models.CheckConstraint(
                condition=Q(price_pence__gt=0), name="number_orders_price_positive"
            ),
            models.CheckConstraint(
                condition=Q(number_type__in=["local", "toll_free", "mobile"]),
                name="number_orders_number_type_known",
            ),
            models.CheckConstraint(
                condition=Q(purchase_attempted_at=None) | ~Q(number=""),
                name="number_orders_attempt_names_number",
            ),
            models.CheckConstraint(
                condition=Q(twilio_sid=None) | ~Q(number=""),
                name="number_orders_sid_names_number",
            ),
            models.CheckConstraint(
                condition=Q(status="charged", twilio_sid=None, vapi_phone_number_id=None)
                | Q(status="bought", twilio_sid__isnull=False, vapi_phone_number_id=None)
                | Q(
                    status__in=["imported", "active"],
                    twilio_sid__isnull=False,
                    vapi_phone_number_id__isnull=False,
                )
                | Q(status__in=["cancelling", "refunded"]),
                name="number_orders_has_what_status_says",
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=["charged", "bought", "imported"],
                    phone_number=None,
                    refund=None,
                    failure_code="",
                    finished_at=None,
                    work_due_at__isnull=False,
                )
                | Q(
                    status="active",
                    phone_number__isnull=False,
                    refund=None,
                    failure_code="",
                    finished_at__isnull=False,
                    work_due_at=None,
                )
                | Q(
                    ~Q(failure_code=""),
                    status="cancelling",
                    phone_number=None,
                    refund=None,
                    finished_at=None,
                    work_due_at__isnull=False,
                )
                | Q(
                    ~Q(failure_code=""),
                    status="refunded",
                    phone_number=None,
                    refund__isnull=False,
                    finished_at__isnull=False,
                ),
                name="number_orders_number_or_refund",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} number for {self.organization_id}, {self.status}"

    @property
    def kind(self) -> str:
        """Country and type, like GB-local."""
        return f"{self.country}-{self.number_type}"

    @property
    def provider_key(self) -> str:
        """Our key at both providers: Twilio has room for 64 characters, Vapi for 40."""
        return f"vox-{self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether it has neither become a number nor been refunded yet."""
        return self.status in self.OPEN
