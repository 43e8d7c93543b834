import pytest

from calls import reconciliation
from calls.models import VapiReading
from telephony import vapi_call_pages
from tests.calls.vapi_api import VapiApi
from tests.webhooks.fixtures import clock, control_server, end_tasks, vapi

__all__ = ["clock", "control_server", "end_tasks", "vapi"]


@pytest.fixture
def vapi_api(monkeypatch: pytest.MonkeyPatch) -> VapiApi:
    api = VapiApi()
    monkeypatch.setattr(reconciliation, "get_call", api.get_call)
    monkeypatch.setattr(vapi_call_pages, "list_calls", api.list_calls)
    monkeypatch.setattr(reconciliation, "BATCH_SECONDS", 0)
    return api


@pytest.fixture
def nothing_read(db: None) -> None:
    """Vapi's list was never read; the migrations begin on the day of the test run."""
    VapiReading.objects.all().delete()
