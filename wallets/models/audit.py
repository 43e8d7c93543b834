"""What staff did, for good."""

import uuid

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from wallets.models.organizations import Organization


class StaffAction(models.Model):
    """One thing that a member of staff did, with how things stood before and after.

    `wallets.audit` writes it, in the transaction of what it records. It is never changed and never
    deleted. Customers read nothing of it.
    """

    # The action's own key: a form that is sent twice has the same.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField()
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    username = models.CharField(max_length=150, help_text="The name that the user had then.")
    action = models.CharField(max_length=60)
    organization = models.ForeignKey(
        Organization,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="staff_actions",
        db_index=False,
        help_text="Whose wallet, call or number it was about; empty if nobody's.",
    )
    target_kind = models.CharField(
        max_length=60, help_text="What was acted on, like wallets.topup."
    )
    target_id = models.CharField(max_length=200)
    target_name = models.CharField(max_length=200, help_text="How it was called then.")
    reason = models.CharField(max_length=500, blank=True)
    asked = models.JSONField(
        encoder=DjangoJSONEncoder, default=dict, help_text="What was asked for; amounts in pence."
    )
    before = models.JSONField(encoder=DjangoJSONEncoder, null=True, blank=True)
    after = models.JSONField(encoder=DjangoJSONEncoder, null=True, blank=True)

    class Meta:
        db_table = "staff_actions"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["at"], name="idx_staff_actions_at"),
            models.Index(fields=["action", "at"], name="idx_staff_actions_action"),
            models.Index(fields=["organization", "at"], name="idx_staff_actions_org"),
            models.Index(fields=["user", "at"], name="idx_staff_actions_user"),
            models.Index(fields=["target_id", "at"], name="idx_staff_actions_target"),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.username}, {self.at:%Y-%m-%d %H:%M:%S}"
