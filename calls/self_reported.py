"""Calls that a customer's program announces and settles itself.

A call that Vapi announced is not among them: only Vapi's record charges it. Whether Vapi announces
a call later, and who pays for it then, is decided in `calls.identity`.
"""

from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from calls.identity import log_call
from calls.models import Call
from voxbilling import logs
from wallets import ledger
from wallets.ledger import IdempotencyConflict
from wallets.locks import atomic_against_other_organizations, lock_organization
from wallets.results import Reservation, Settlement
from wallets.selectors import reservation_of_call


class SettledByVapi(Exception):
    """Only Vapi's record charges this call."""

    def __init__(self) -> None:
        super().__init__("Vapi announced this call, so that only Vapi's record of it charges it.")


def reserve(
    *,
    organization_id: UUID,
    call_id: str,
    vapi_call_id: str | None = None,
    estimated_minutes: int,
) -> Reservation:
    """Hold the money of a call that a customer's program announces; asking again changes nothing.

    The hold of a call that Vapi announced is returned as a duplicate, if it has one.

    Raises SettledByVapi, InsufficientBalance, OrganizationSuspended, OrganizationNotFound, and
    IdempotencyConflict for ids that are another organization's, or of two calls, and for Vapi's id
    of a call that is settled already.
    """
    reservation = _reserve(organization_id, call_id, vapi_call_id, estimated_minutes)
    # Raised only now: that the customer's id means Vapi's call is kept.
    if reservation is None:
        raise SettledByVapi
    return reservation


@atomic_against_other_organizations
def _reserve(
    organization_id: UUID, call_id: str, vapi_call_id: str | None, estimated_minutes: int
) -> Reservation | None:
    """The hold; None for a call of Vapi's that has none."""
    lock_organization(organization_id)
    call = _lock_own_call(organization_id, call_id, vapi_call_id)
    if call is None:
        call = Call(organization_id=organization_id, call_id=call_id, vapi_call_id=vapi_call_id)
        call.save(force_insert=True)
    else:
        _learn_ids(call, call_id, vapi_call_id)
        call.save(update_fields=["vapi_call_id", "customer_call_id"])
    if call.announced_by_vapi and reservation_of_call(call.call_id, organization_id) is None:
        return None
    return ledger.reserve_call_credits(
        organization_id=organization_id,
        call_id=call.call_id,
        vapi_call_id=call.vapi_call_id,
        estimated_minutes=estimated_minutes,
    )


@atomic_against_other_organizations
def commit(*, organization_id: UUID, call_id: str, duration_seconds: int) -> Settlement:
    """Settle a call at the duration that a customer's program reports, in whole seconds, once.

    Without a reservation the call is charged directly.

    Raises SettledByVapi, OrganizationNotFound, and IdempotencyConflict for an id that is another
    organization's.
    """
    lock_organization(organization_id)
    call = _lock_own_call(organization_id, call_id, None)
    if call is not None and call.announced_by_vapi:
        raise SettledByVapi
    if call is None:
        call = Call(organization_id=organization_id, call_id=call_id)
        call.save(force_insert=True)
    settlement = ledger.commit_reserved_credits(
        call_id=call.call_id, duration_seconds=duration_seconds, organization_id=organization_id
    )
    if call.settled_at is None:
        call.settled_at = timezone.now()
        call.end(call.settled_at)
        call.settled_from = Call.SettledFrom.CUSTOMER
        call.duration_seconds = settlement.duration_seconds
        call.charged_pence = settlement.actual_cost_pence - settlement.uncollected_pence
        call.uncollected_pence = settlement.uncollected_pence
        call.save()
    return settlement


def _lock_own_call(organization_id: UUID, call_id: str, vapi_call_id: str | None) -> Call | None:
    """The call that the ids mean, locked; the caller has locked the organization."""
    ids = {call_id, vapi_call_id or call_id}
    by_id = Q(vapi_call_id__in=ids) | Q(call_id__in=ids)
    if Call.objects.filter(by_id).exclude(organization_id=organization_id).exists():
        raise IdempotencyConflict(
            "This call id cannot be used here; use the id of a call of your own."
        )
    found = list(
        Call.objects.select_for_update(no_key=True).filter(
            by_id | Q(customer_call_id=call_id), organization_id=organization_id
        )
    )
    if len(found) > 1:
        raise IdempotencyConflict("These ids are those of two calls; send those of one.")
    if not found:
        logs.learn(call_id=call_id, vapi_call_id=vapi_call_id)
        return None
    log_call(found[0])
    return found[0]


def _learn_ids(call: Call, call_id: str, vapi_call_id: str | None) -> None:
    """Note what the ids add to what is known of a call.

    Raises IdempotencyConflict for an id in the place of another: whoever used both would be
    charged for one call twice.
    """
    if call_id not in (call.call_id, call.vapi_call_id, call.customer_call_id):
        if not call.announced_by_vapi or call.customer_call_id:
            raise IdempotencyConflict("This vapiCallId was sent before with another callId.")
        call.customer_call_id = call_id
    if vapi_call_id is not None and call.vapi_call_id != vapi_call_id:
        if call.vapi_call_id is not None:
            raise IdempotencyConflict("This callId was sent before with another vapiCallId.")
        if call.settled_at is not None:
            # Or the tariff and the charge of a call long ago would be those of one just begun.
            raise IdempotencyConflict(
                "This call is settled, so it cannot be given Vapi's id any more; send a callId "
                "that is new."
            )
        call.vapi_call_id = vapi_call_id
