"""The organizations and logins of the embedded stack. All of it can be made again at any time."""

import hashlib
import hmac
import uuid
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

from telephony.models import Assistant, PhoneNumber
from wallets import ledger
from wallets.models import Membership, Organization

# Ids stay the same from start to start, so that what was pasted once keeps working.
_NAMESPACE = uuid.UUID("5b8e1a52-6d0c-4c35-9a3e-0d6f0e6a7c11")


@dataclass(frozen=True, kw_only=True)
class _Sample:
    name: str
    owner: str
    balance_pence: int
    # From the range that the regulator keeps for fiction.
    phone_number: str


_SAMPLES = [
    _Sample(
        name="Well-funded clinic",
        owner="clinic",
        balance_pence=100_000,
        phone_number="+442079460001",
    ),
    _Sample(
        name="Three-minute shop",
        owner="shop",
        balance_pence=3 * 49,
        phone_number="+442079460002",
    ),
    _Sample(
        name="Penniless office",
        owner="office",
        balance_pence=0,
        phone_number="+442079460003",
    ),
]


def prepare() -> dict[str, Any]:
    """Make or refill the sample organizations; returns logins and ids as `demo.json` has them."""
    password = _login("staff", is_staff=True)
    return {
        "staff": {"username": "staff", "password": password},
        "organizations": [_prepare(sample) for sample in _SAMPLES],
    }


def _prepare(sample: _Sample) -> dict[str, Any]:
    organization, _ = Organization.objects.get_or_create(
        pk=_id(sample, "organization"),
        defaults={
            "name": sample.name,
            "rate_pence_per_minute": 49,
            "billing_increment_seconds": 60,
        },
    )
    password = _login(sample.owner, is_staff=False)
    Membership.objects.get_or_create(
        user=get_user_model().objects.get(username=sample.owner),
        organization=organization,
        defaults={"role": Membership.Role.OWNER},
    )
    assistant, _ = Assistant.objects.get_or_create(
        vapi_assistant_id=str(_id(sample, "assistant")),
        defaults={"organization": organization, "name": f"{sample.name}'s assistant"},
    )
    number, _ = PhoneNumber.objects.get_or_create(
        vapi_phone_number_id=str(_id(sample, "phone number")),
        defaults={
            "organization": organization,
            "number": sample.phone_number,
            "assistant": assistant,
        },
    )
    return {
        "id": str(organization.pk),
        "name": organization.name,
        "balance_pence": refill(organization, sample.balance_pence),
        "owner": {"username": sample.owner, "password": password},
        "phone_number": number.number,
        "vapi_phone_number_id": number.vapi_phone_number_id,
        "vapi_assistant_id": assistant.vapi_assistant_id,
    }


def refill(organization: Organization, wanted_pence: int) -> int:
    """Bring what can be spent to the wanted pence, as an entry; returns the balance in pence."""
    organization.refresh_from_db()
    change_pence = wanted_pence - organization.effective_balance_pence
    if change_pence:
        ledger.adjust_balance(
            organization_id=organization.pk,
            change_pence=change_pence,
            reason="Refilled for trying things out",
            idempotency_key=f"refill after entry {organization.last_sequence}",
        )
        organization.refresh_from_db()
    return organization.balance_pence


def _login(username: str, *, is_staff: bool) -> str:
    """Make a login with a password that only this data directory's secret key gives."""
    digest = hmac.new(settings.SECRET_KEY.encode(), username.encode(), hashlib.sha256).hexdigest()
    password = digest[:16]
    user, is_new = get_user_model().objects.get_or_create(
        username=username,
        defaults={
            "email": f"{username}@example.com",
            "is_staff": is_staff,
            "is_superuser": is_staff,
        },
    )
    # Another secret key gives another password.
    if is_new or not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    return password


def _id(sample: _Sample, kind: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{sample.owner} {kind}")
