"""An organization for each scenario, with money and an owner who is signed in."""

import secrets
from dataclasses import dataclass
from uuid import UUID

import httpx
from django.contrib.auth import get_user_model

from wallets import ledger
from wallets.models import Membership, Organization

RATE_PENCE_PER_MINUTE = 49


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whose wallet it is, and the access token of its owner."""

    organization_id: UUID
    token: str


def open_account(base_url: str, *, funded_pence: int) -> Account:
    """Make an organization with this balance. Raises httpx.HTTPError if nobody can sign in."""
    name = f"Load test {secrets.token_hex(4)}"
    password = secrets.token_urlsafe()
    organization = Organization.objects.create(
        name=name, rate_pence_per_minute=RATE_PENCE_PER_MINUTE, billing_increment_seconds=60
    )
    owner = get_user_model().objects.create_user(username=name, password=password)
    Membership.objects.create(user=owner, organization=organization, role=Membership.Role.OWNER)
    ledger.add_credits(
        organization_id=organization.pk,
        amount_pence=funded_pence,
        credit_type="bonus",
        description="For the load test",
        idempotency_key="opening",
    )
    answer = httpx.post(
        f"{base_url}/api/auth/token/",
        json={"username": name, "password": password},
        timeout=30,
        trust_env=False,
    )
    return Account(
        organization_id=organization.pk, token=answer.raise_for_status().json()["access"]
    )
