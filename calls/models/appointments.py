"""Appointments, kept elsewhere, and the calls that made them."""

import uuid

from django.db import models

from calls.models.calls import Call
from wallets.models import Organization


class Appointment(models.Model):
    """Ties an appointment, kept elsewhere, to the call that made it. Ids only."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="appointments"
    )
    call = models.ForeignKey(
        Call,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="appointments",
        db_index=False,
        help_text="The call that made the appointment.",
    )
    vapi_call_id = models.CharField(max_length=200, blank=True)

    class Meta:
        db_table = "appointments"
        indexes = [
            models.Index(fields=["call"], name="idx_appointments_call_id"),
            models.Index(fields=["vapi_call_id"], name="idx_appointments_vapi_call_id"),
        ]

    def __str__(self) -> str:
        return f"Appointment {self.pk}"
