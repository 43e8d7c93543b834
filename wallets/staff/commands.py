"""A command of staff's: a form with a reason, what it does to a locked row, and the record of it.

`preview` runs the very same and rolls it back. So what is shown before it is confirmed is what the
ledger would do now, and not what a page computes.
"""

import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import Model
from unfold.widgets import UnfoldAdminTextInputWidget

from voxbilling.counts import uncounted
from wallets import audit
from wallets.errors import LedgerError
from wallets.ledger import MAX_DESCRIPTION_LENGTH
from wallets.locks import lock_organization
from wallets.models import Organization

Facts = dict[str, Any]


class Refused(Exception):
    """The command cannot be done now; nothing was changed. The text says why."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """How things stood before and after; `duplicate` if it had been done before by this form."""

    before: Facts
    after: Facts
    duplicate: bool


class StaffCommand(forms.Form):
    """The order of steps is that of `perform`. A subclass says what each of them is."""

    action: ClassVar[str]
    title: ClassVar[str]
    button: ClassVar[str]
    permission: ClassVar[str]
    icon: ClassVar[str] = "bolt"
    explanation: ClassVar[str] = ""
    # How many rows of a list it can be done to at once; 0 for none.
    most_at_once: ClassVar[int] = 0
    refusals: ClassVar[tuple[type[Exception], ...]] = (Refused, LedgerError, ValueError)

    reason = forms.CharField(
        max_length=MAX_DESCRIPTION_LENGTH,
        widget=UnfoldAdminTextInputWidget,
        help_text="Why. It is kept, and shown to other staff.",
    )
    key = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)

    @classmethod
    def applies_to(cls, _target: Any) -> bool:
        """Whether it makes sense to offer it for this row."""
        return True

    def asked(self) -> Facts:
        """What is asked for besides the reason, as JSON has it."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if name not in {"reason", "key"}
        }

    def key_for(self, target_pk: Any) -> uuid.UUID:
        return uuid.uuid5(self.cleaned_data["key"], str(target_pk))

    def prepare(self, target_pk: Any) -> None:
        """Ask providers what is needed to decide; outside of any transaction."""

    def lock(self, target_pk: Any) -> Model:
        raise NotImplementedError

    def facts(self, target: Any) -> Facts:
        raise NotImplementedError

    def organization_id(self) -> uuid.UUID | None:
        """Whose wallet it was about, where the target does not tell."""
        return None

    def act(self, target: Any, user: AbstractUser, key: uuid.UUID) -> None:
        raise NotImplementedError

    def follow(self, _target_pk: Any) -> str:
        """What is left to do once that is committed; what became of it, in a sentence."""
        return ""


def perform(command: StaffCommand, target_pk: Any, user: AbstractUser) -> Done:
    """Do it to one row and record it, in one transaction; a second time changes nothing."""
    key = command.key_for(target_pk)
    asked = command.asked()
    with transaction.atomic():
        target = command.lock(target_pk)
        before = command.facts(target)
        if audit.was_done(key=key, action=command.action, target=target, asked=asked):
            return Done(before=before, after=before, duplicate=True)
        command.act(target, user, key)
        after = command.facts(command.lock(target_pk))
        audit.record(
            user=user,
            action=command.action,
            target=target,
            organization_id=command.organization_id(),
            key=key,
            reason=command.cleaned_data["reason"],
            asked=asked,
            before=before,
            after=after,
        )
    return Done(before=before, after=after, duplicate=False)


def preview(command: StaffCommand, target_pk: Any, user: AbstractUser) -> Done:
    """What it would do now. Nothing of it stays."""
    with uncounted(), transaction.atomic():
        done = perform(command, target_pk, user)
        transaction.set_rollback(True)
    return done


class SetAside(StaffCommand):
    """What is shown to staff as needing attention was looked at, and is shown no longer."""

    title = "Set aside"
    button = "Set it aside"
    icon = "task_alt"
    explanation = (
        "It is taken off what needs attention. What it said is kept in the log. It comes back if "
        "it happens again."
    )
    most_at_once = 50

    @classmethod
    def applies_to(cls, target: Any) -> bool:
        return bool(target.attention)

    def facts(self, target: Any) -> Facts:
        return {"attention": target.attention}

    def act(self, target: Any, _user: AbstractUser, _key: uuid.UUID) -> None:
        if not target.attention:
            raise Refused(f"{target} needs no attention.")
        target.attention = ""
        target.save(update_fields=["attention"])


class OrganizationCommand(StaffCommand):
    """A command on an organization's wallet."""

    def lock(self, target_pk: Any) -> Organization:
        return lock_organization(target_pk)

    def facts(self, target: Any) -> Facts:
        return audit.wallet_facts(target)
