"""When Vapi is asked about a call that it says nothing more about: decided here alone.

Every call that Vapi announced has such a moment (`reconcile_at`) until it is settled, or staff
decide on it; a CHECK sees to that.
"""

from datetime import datetime, timedelta

from django.utils import timezone

from calls.models import Call

# Vapi's report comes some 5 seconds after a call's end.
REPORT_WAIT = timedelta(seconds=60)
# How long a call that was announced may take to start.
SILENCE = timedelta(minutes=2)
# How long an order to end may take to show: if Vapi does not take it, the call may be over.
END_WAIT = timedelta(seconds=15)
# How long after its cap the end of a call may take to show.
CAP_WAIT = timedelta(seconds=30)
# Asked in vain, Vapi is asked again after 1, 2, 4 … minutes, up to 15.
LONGEST_PAUSE = timedelta(minutes=15)


def expect(call: Call) -> None:
    """Vapi has spoken of a call: note when it is asked, if it says no more. The caller saves."""
    call.reconcile_attempts = 0
    call.unknown_to_vapi_at = None
    ask_again(call)


def ask_again(call: Call) -> None:
    """Note when Vapi is asked about a call next, later with each time. The caller saves."""
    now = timezone.now()
    soonest = now + pause(call.reconcile_attempts)
    call.reconcile_at = max(soonest, _expected_by(call, now)) if call.awaits_vapi else None


def expect_end(call: Call) -> None:
    """A live call was ordered to end: note when Vapi is asked whether it did. The caller saves."""
    if call.reconcile_at is not None:
        call.reconcile_at = min(call.reconcile_at, timezone.now() + END_WAIT)


def expect_start(call: Call) -> None:
    """A call may be live, and nobody said that it started: have Vapi asked. The caller saves."""
    if call.reconcile_at is not None:
        call.reconcile_at = min(call.reconcile_at, timezone.now())


def pause(attempts: int) -> timedelta:
    """How long Vapi is not asked about a call that it was asked about so many times."""
    if attempts == 0:
        return timedelta(0)
    return min(timedelta(minutes=1 << min(attempts - 1, 10)), LONGEST_PAUSE)


def _expected_by(call: Call, now: datetime) -> datetime:
    """When the next that Vapi has to say of a call should have come."""
    if call.ended_at is not None:
        return now + REPORT_WAIT
    if call.end_ordered_at is not None:
        return now + END_WAIT
    if call.last_possible_second is not None:
        return max(call.last_possible_second + CAP_WAIT, now)
    return now + SILENCE
