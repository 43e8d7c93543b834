import pytest

from telephony import providers
from tests.telephony.fake_providers import FakeProviders
from tests.webhooks.fixtures import control_server

__all__ = ["control_server"]

LONDON = [f"+4420794601{last:02}" for last in range(50)]


@pytest.fixture
def fake(monkeypatch):
    """Twilio and Vapi in memory; Twilio has fifty numbers in London for sale."""
    fake = FakeProviders()
    fake.offer(*LONDON)
    monkeypatch.setattr(providers.httpx, "request", fake.request)
    return fake
