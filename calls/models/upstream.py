"""What Vapi says beside our own calls: how far it was read, and what differs."""

from django.db import models
from django.db.models import Q


class VapiReading(models.Model):
    """How far Vapi's list of calls has been read, and until when Vapi is left alone. One row."""

    THE_ONE = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    scan_from = models.DateTimeField(
        help_text="From where the list is read on, by when Vapi last changed a call."
    )
    scanning_until = models.DateTimeField(
        null=True, blank=True, help_text="Until when the list is left to the sweep that reads it."
    )
    quiet_until = models.DateTimeField(
        null=True, blank=True, help_text="Until when Vapi is asked nothing, because it was busy."
    )
    began_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "vapi_reading"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="vapi_reading_one_row")]

    def __str__(self) -> str:
        return f"Vapi's calls have been read up to {self.scan_from}"


class UnbilledCall(models.Model):
    """A call on Vapi's bill that could not be billed here: most often nobody is known to pay."""

    vapi_call_id = models.CharField(primary_key=True, max_length=200)
    type = models.CharField(max_length=200, blank=True)
    vapi_phone_number_id = models.CharField(max_length=200, blank=True)
    phone_number = models.CharField(max_length=200, blank=True)
    vapi_assistant_id = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    vapi_cost_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    reason = models.CharField(max_length=500)
    seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "unbilled_calls"
        indexes = [models.Index(fields=["seen_at"], name="idx_unbilled_calls_seen")]

    def __str__(self) -> str:
        return f"Unbilled call {self.vapi_call_id}"


class UpstreamDay(models.Model):
    """The connected calls that ended on a day of UTC, by Vapi's list and by ours."""

    day = models.DateField(primary_key=True)
    vapi_calls = models.PositiveIntegerField()
    vapi_seconds = models.PositiveBigIntegerField()
    our_calls = models.PositiveIntegerField()
    our_seconds = models.PositiveBigIntegerField()
    details = models.TextField(blank=True, help_text="The first calls that differ, one a line.")
    compared_at = models.DateTimeField()

    class Meta:
        db_table = "upstream_days"

    def __str__(self) -> str:
        return f"{self.day}: {self.vapi_calls} calls at Vapi, {self.our_calls} here"

    @property
    def differs(self) -> bool:
        figures = (self.vapi_calls, self.vapi_seconds) != (self.our_calls, self.our_seconds)
        return figures or bool(self.details)
