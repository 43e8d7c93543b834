"""What organizations answer their calls with: assistants and phone numbers at Vapi."""

import uuid

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from wallets.models import Organization

# Vapi's bounds of maxDurationSeconds, and what it uses for an assistant that names none.
VAPI_MIN_DURATION_SECONDS = 10
VAPI_MAX_DURATION_SECONDS = 43_200
VAPI_DEFAULT_DURATION_SECONDS = 600


class Assistant(models.Model):
    """A Vapi assistant that belongs to one organization."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="assistants"
    )
    name = models.CharField(max_length=200)
    vapi_assistant_id = models.CharField(max_length=200, unique=True)
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
            models.CheckConstraint(
                condition=Q(max_duration_seconds__range=(10, 43_200)),
                name="assistants_duration_within_vapi_bounds",
            )
        ]

    def __str__(self) -> str:
        return self.name


class PhoneNumber(models.Model):
    """A phone number whose calls an organization pays for."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="phone_numbers"
    )
    number = models.CharField(
        max_length=16,
        unique=True,
        validators=[RegexValidator(r"^\+[1-9]\d{6,14}$", "Write the number like +442079460123.")],
        help_text="In international form, like +442079460123.",
    )
    vapi_phone_number_id = models.CharField(max_length=200, unique=True, null=True, blank=True)
    assistant = models.ForeignKey(
        Assistant,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="phone_numbers",
        help_text="Answers the calls to this number.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "phone_numbers"

    def __str__(self) -> str:
        return self.number
