import pytest

from tests.factories import OrganizationFactory
from tests.pages.visitors import sign_in


@pytest.fixture
def organization():
    return OrganizationFactory(name="Clinic & Sons", funded_pence=10_000)


@pytest.fixture
def owner(client, organization):
    return sign_in(client, organization)
