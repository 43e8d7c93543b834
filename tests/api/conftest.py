"""People with tokens, and a client that speaks JSON for them."""

import json

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from tests.factories import MembershipFactory, OrganizationFactory, staff_of
from tests.wallets.fake_stripe import fake_stripe

__all__ = ["fake_stripe"]


@pytest.fixture
def organization(db):
    return OrganizationFactory(funded_pence=10_000)


@pytest.fixture
def owner(organization):
    return MembershipFactory(organization=organization, role="owner").user


@pytest.fixture
def viewer(organization):
    return MembershipFactory(organization=organization, role="viewer").user


@pytest.fixture
def staff(db):
    return staff_of("admin")


@pytest.fixture
def ask(client):
    """Send a request as somebody; `body` is sent as JSON, or as it is if it is text or bytes."""

    def send(method, address, *, as_user=None, organization=None, body=None, **headers):
        if as_user is not None:
            headers["Authorization"] = f"Bearer {AccessToken.for_user(as_user)}"
        if organization is not None:
            headers["X-Org-Id"] = str(getattr(organization, "pk", organization))
        data = (
            body if isinstance(body, str | bytes) else json.dumps(body) if body is not None else ""
        )
        return client.generic(
            method, address, data, content_type="application/json", headers=headers
        )

    return send
