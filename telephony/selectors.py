"""Reads of numbers and assistants. Nothing here locks or writes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from telephony.models import Assistant, NumberOrder, PhoneNumber
from voxbilling.api.pages import Cursor, Page, page_of


def find_phone_number(
    *, vapi_phone_number_id: str | None, number: str | None
) -> PhoneNumber | None:
    """The number with this Vapi id; failing that, the one in use with these digits.

    A released number is found by its Vapi id alone, for reports that come late: its digits may be
    somebody else's by now.
    """
    numbers = PhoneNumber.objects.select_related("assistant")
    found = None
    if vapi_phone_number_id:
        found = numbers.filter(vapi_phone_number_id=vapi_phone_number_id).first()
    if found is None and number:
        found = numbers.filter(number=number, released_at=None).first()
    return found


def find_assistant(vapi_assistant_id: str | None) -> Assistant | None:
    if not vapi_assistant_id:
        return None
    return Assistant.objects.filter(vapi_assistant_id=vapi_assistant_id).first()


def find_any_phone_numbers(
    *, vapi_phone_number_ids: Collection[str], numbers: Collection[str]
) -> QuerySet[PhoneNumber]:
    """The numbers that `find_phone_number` would find for one of these ids or digits."""
    return PhoneNumber.objects.filter(
        Q(vapi_phone_number_id__in=vapi_phone_number_ids) | Q(number__in=numbers, released_at=None)
    )


def find_assistants(vapi_assistant_ids: Collection[str]) -> QuerySet[Assistant]:
    return Assistant.objects.filter(vapi_assistant_id__in=vapi_assistant_ids)


@dataclass(frozen=True, kw_only=True)
class NumberKey:
    """What a list of numbers is sorted by: two may have been made at the same moment."""

    created_at: datetime
    pk: UUID

    def __str__(self) -> str:
        return f"{self.created_at.isoformat()}_{self.pk}"


def read_number_key(text: str) -> NumberKey:
    """The key that was written as this text. Raises ValueError if none was."""
    created_at, pk = text.split("_")
    moment = datetime.fromisoformat(created_at)
    # In UTC, since others reach beyond the years that PostgreSQL can be asked about.
    if moment.utcoffset() != timedelta(0):
        raise ValueError("A time that is not in UTC is no key.")
    return NumberKey(created_at=moment, pk=UUID(pk))


def numbers_page(organization_id: UUID, *, limit: int, cursor: Cursor | None) -> Page[PhoneNumber]:
    """A page of the organization's numbers that were not released, newest first."""
    numbers = _customers_numbers(organization_id).filter(released_at=None)
    towards_newer = cursor is not None and cursor.towards_newer
    if cursor is not None:
        created_at, pk = cursor.key.created_at, cursor.key.pk
        beyond = "gt" if towards_newer else "lt"
        numbers = numbers.filter(
            Q(**{f"created_at__{beyond}": created_at})
            | Q(**{"created_at": created_at, f"pk__{beyond}": pk})
        )
    nearest_first = ["created_at", "pk"] if towards_newer else ["-created_at", "-pk"]
    fetched = numbers.order_by(*nearest_first)[: limit + 1]
    return page_of(
        list(fetched),
        limit=limit,
        cursor=cursor,
        key=lambda number: NumberKey(created_at=number.created_at, pk=number.pk),
    )


def customers_number(organization_id: UUID, number_id: UUID) -> PhoneNumber | None:
    """One of the organization's numbers, or one that it had, as its people may see it."""
    return _customers_numbers(organization_id).filter(pk=number_id).first()


def _customers_numbers(organization_id: UUID) -> QuerySet[PhoneNumber]:
    visible = PhoneNumber.objects.defer(*PhoneNumber.HIDDEN_FROM_CUSTOMERS)
    return visible.filter(organization_id=organization_id).select_related("assistant")


def open_orders(organization_id: UUID, *, limit: int) -> list[NumberOrder]:
    """The latest orders that are neither a number nor refunded yet, newest first."""
    return list(
        _customers_orders(organization_id)
        .filter(status__in=NumberOrder.OPEN)
        .order_by("-created_at")[:limit]
    )


def customers_order(organization_id: UUID, order_id: UUID) -> NumberOrder | None:
    """One of the organization's orders, as its people may see it."""
    return _customers_orders(organization_id).filter(pk=order_id).first()


def order_of_key(organization_id: UUID, idempotency_key: str) -> NumberOrder:
    """The order that was made with this key. Raises NumberOrder.DoesNotExist."""
    return _customers_orders(organization_id).get(idempotency_key=idempotency_key)


def _customers_orders(organization_id: UUID) -> QuerySet[NumberOrder]:
    visible = NumberOrder.objects.defer(*NumberOrder.HIDDEN_FROM_CUSTOMERS)
    return visible.filter(organization_id=organization_id)
