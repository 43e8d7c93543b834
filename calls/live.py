"""Watching live calls: holds are kept ahead of cost, and no call outlives its money.

Every live call says when it has to be looked at next (`check_at`), so a sweep reads only those
that are due. Where the money ends soon, that is the call's last paid second less the lead, and a
sweep is scheduled for that very moment. If its task is lost, the next sweep is seconds late.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from calls import asking, ends, kill_switch
from calls.identity import lock_calls
from calls.models import Call
from voxbilling.after_commit import send_after_commit
from wallets import ledger
from wallets.locks import lock_free_organizations
from wallets.models import Organization
from wallets.selectors import reservations_of_calls

BATCH_SIZE = 500
# A sweep that finds more than this leaves the rest to the next.
BATCHES_PER_SWEEP = 40
# Busy organizations' calls are tried again after this, and for so long.
BUSY_PAUSE_SECONDS = 0.05
BUSY_PATIENCE_SECONDS = 3.0

ASK_TASK = "calls.tasks.settle_missing_reports"
# In seconds: beat has sent another by then.
_ASK_EXPIRES = 15


@dataclass
class _Found:
    """What one batch came to."""

    looked_at: set[UUID] = field(default_factory=set)
    to_end: list[UUID] = field(default_factory=list)
    to_warn: dict[UUID, int] = field(default_factory=dict)


def watch() -> int:
    """Look at every live call that is due, and end those without money; returns how many.

    Safe to run twice at once: calls of an organization that is busy are tried again.
    """
    looked_at = 0
    busy: set[UUID] = set()
    patience_ends = time.monotonic() + BUSY_PATIENCE_SECONDS
    for _ in range(BATCHES_PER_SWEEP):
        due = _due(except_for=busy)
        if not due and busy and time.monotonic() < patience_ends:
            time.sleep(BUSY_PAUSE_SECONDS)
            busy.clear()
            continue
        if not due:
            break
        found = _look_at(due)
        looked_at += len(found.looked_at)
        busy |= set(due) - found.looked_at
        ends.send_ends(found.to_end)
        ends.warn(found.to_warn)
    return looked_at


def moments_to_come() -> list[datetime]:
    """When the live calls are due that the next regular sweep could be late for."""
    now = timezone.now()
    due = Call.objects.filter(check_at__gt=now, check_at__lte=now + 2 * ends.SWEEP_INTERVAL)
    return [moment for moment in due.values_list("check_at", flat=True) if moment is not None]


def _due(*, except_for: Collection[UUID]) -> list[UUID]:
    """Live calls to look at now, the longest waiting first: due ones, and suspended accounts'."""
    live = Call.objects.filter(ended_at=None, announced_by_vapi=True).exclude(pk__in=except_for)
    due = live.filter(check_at__lte=timezone.now()).order_by("check_at")
    suspended = live.filter(end_ordered_at=None, organization__status=Organization.Status.SUSPENDED)
    pks = due.values_list("pk", flat=True)[:BATCH_SIZE]
    return [*pks, *suspended.values_list("pk", flat=True)[:BATCH_SIZE]][:BATCH_SIZE]


@transaction.atomic
def _look_at(call_pks: Collection[UUID]) -> _Found:
    """Raise the holds of these calls, and decide which must end, in a fixed number of statements.

    Calls of busy organizations are left out.
    """
    candidates = Call.objects.filter(pk__in=call_pks)
    organization_ids = set(candidates.values_list("organization_id", flat=True))
    free = lock_free_organizations(organization_ids)
    # Those that have least time left come first, where the money does not last for all.
    calls = list(lock_calls(candidates.filter(organization__in=free)).order_by("check_at", "pk"))
    now = timezone.now()
    live = [call for call in calls if call.ended_at is None and call.end_ordered_at is None]
    ledger.extend_reservations(
        extensions=[kill_switch.extension(call, now) for call in live if call.started_at]
    )
    # As they are after that; the locks are held already.
    organizations = lock_free_organizations(free)
    reservations = reservations_of_calls([call.call_id for call in live], free)
    found = _Found(looked_at={call.pk for call in calls})
    cut_off = []
    must_ask = False
    for call in calls:
        call.check_at = None
    for call in live:
        decision = kill_switch.decide(
            call, organizations[call.organization_id], reservations.get(call.call_id), now
        )
        if decision.must_end:
            ends.mark_end(call, money_ended_at=decision.money_ends_at)
            found.to_end.append(call.pk)
            if decision.money_ends_at is not None:
                cut_off.append(call)
        elif call.started_at is not None:
            call.check_at = decision.check_at
            if decision.must_warn:
                call.warned_at = now
                found.to_warn[call.pk] = decision.remaining_seconds
        else:
            # Had it started when it was last heard of, its money would end soon.
            asking.expect_start(call)
            must_ask = True
    Call.objects.bulk_update(calls, [*ends.MARKED, "warned_at"])
    if cut_off:
        ends.tell_of_cut_off(cut_off)
    if must_ask:
        send_after_commit(ASK_TASK, expires=_ASK_EXPIRES)
    ends.sweep_at(call.check_at for call in live)
    return found
