"""The one writer of what staff did."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from voxbilling.storable_text import storable
from wallets.access import Access
from wallets.errors import IdempotencyConflict
from wallets.locks import lock_organization
from wallets.models import Organization, StaffAction

Facts = Mapping[str, Any]

ACT_FOR_CUSTOMER = "act for the customer"
ACTED_FOR_CUSTOMER = "acted for the customer"
CHANGE_OWN_PASSWORD = "change own password"  # noqa: S105 - what is done
NOT_SHOWN = "(not shown)"  # of what is secret

# Characters of a form or body that are kept: more than any that is taken has.
_MOST_SENT = 2_000

WALLET = (
    "status",
    "balance_pence",
    "reserved_pence",
    "effective_balance_pence",
    "debt_limit_pence",
    "owed_pence",
)


def record(
    *,
    user: Any,
    action: str,
    target: Model,
    organization_id: UUID | None = None,
    key: UUID | None = None,
    reason: str = "",
    asked: Facts | None = None,
    before: Facts | None = None,
    after: Facts | None = None,
) -> StaffAction:
    """Write down what a member of staff does, in the transaction that does it.

    `before` and `after` are what was read from locked rows there, never what a page showed. It is
    found under the organization that is named, or else under the target's own.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "What staff do is recorded in the transaction that does it, or not at all."
        )
    return StaffAction.objects.create(
        pk=key or uuid4(),
        at=timezone.now(),
        user=user,
        username=user.get_username(),
        action=action,
        organization_id=organization_id or _organization_id(target),
        target_kind=target._meta.label_lower,
        target_id=str(target.pk),
        target_name=storable(str(target)[:200]),
        reason=reason,
        asked=dict(asked or {}),
        before=None if before is None else dict(before),
        after=None if after is None else dict(after),
    )


def was_done(*, key: UUID, action: str, target: Model, asked: Facts) -> bool:
    """Whether this form was sent before; the caller has locked what it acts on.

    Raises IdempotencyConflict if it asked for something else then.
    """
    first = StaffAction.objects.filter(pk=key).first()
    if first is None:
        return False
    if (first.action, first.target_id, first.asked) != (action, str(target.pk), dict(asked)):
        raise IdempotencyConflict(
            "This form was sent before, with other details: open the page anew."
        )
    return True


def wallet_facts(organization: Organization) -> dict[str, Any]:
    """How a wallet stands, in pence."""
    return {name: getattr(organization, name) for name in WALLET}


@contextmanager
def as_the_customer(
    access: Access, user: Any, *, method: str, path: str, sent: Any
) -> Iterator[None]:
    """Record what staff do by the pages and the API that customers have; of customers, nothing.

    What is done there asks providers between its transactions, and so cannot be recorded in one
    with it. It is recorded before it is done, or not done; and how the wallet stands after it is
    recorded once more.
    """
    if not access.is_staff:
        yield
        return
    asked = {"method": method, "path": path, "sent": storable(json.dumps(sent))[:_MOST_SENT]}
    before = _record_for(access, user, ACT_FOR_CUSTOMER, asked)
    yield
    _record_for(access, user, ACTED_FOR_CUSTOMER, asked, before=before)


def record_own_password(user: Any) -> None:
    """That a member of staff chose a new password, and not which."""
    changed = {"password": NOT_SHOWN}
    record(user=user, action=CHANGE_OWN_PASSWORD, target=user, before=changed, after=changed)


def _record_for(
    access: Access, user: Any, action: str, asked: Facts, *, before: Facts | None = None
) -> Facts:
    with transaction.atomic():
        organization = lock_organization(access.organization_id)
        now = wallet_facts(organization)
        record(
            user=user,
            action=action,
            target=organization,
            asked=asked,
            before=now if before is None else before,
            after=None if before is None else now,
        )
    return now


def _organization_id(target: Model) -> UUID | None:
    if isinstance(target, Organization):
        return target.pk
    found: UUID | None = getattr(target, "organization_id", None)
    return found
