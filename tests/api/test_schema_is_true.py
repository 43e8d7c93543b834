"""What the schema says of every endpoint is what it does: schemathesis sends what the schema allows
and what it does not, as each kind of person.

Endpoints are found in the schema: a new one is tried without a word here.
"""

import json
import re
import zlib

import pytest
import schemathesis
from django.core import signals
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from rest_framework_simplejwt.tokens import AccessToken
from schemathesis.config import (
    ChecksConfig,
    NotAServerErrorConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
    SimpleCheckConfig,
)
from schemathesis.core.failures import FailureGroup

from voxbilling.api import throttles
from voxbilling.api.views import schema as served_schema
from voxbilling.wsgi import application
from wallets import ledger

TRANSACTIONS = "/api/billing/wallet/transactions"
UUID = re.compile(r"[0-9a-fA-F-]{36}")
# 503 is what an endpoint answers that needs Twilio or Vapi: nobody is there. That it is documented
# is checked like any other status.
CHECKS = ChecksConfig(
    not_a_server_error=NotAServerErrorConfig(expected_statuses=["2xx", "4xx", "503"]),
    # A cursor is a string, but not every string is a cursor; and a wallet may be empty.
    positive_data_acceptance=PositiveDataAcceptanceConfig(enabled=False),
    # Whoever is asking is decided here: a stranger, too.
    ignored_auth=SimpleCheckConfig(enabled=False),
)
SCHEMA = schemathesis.openapi.from_wsgi(
    "/api/schema/",
    application,
    config=SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(checks=CHECKS))),
)


@pytest.fixture
def people(owner, viewer, staff):
    """The headers of each kind of person; a stranger has no token."""
    users = [owner, owner, viewer, staff]
    tokens = [{"Authorization": f"Bearer {AccessToken.for_user(user)}"} for user in users]
    return [*tokens, {}]


@pytest.fixture
def one_transaction(db):
    """Requests share the test's connection, as they do with Django's own test client."""
    signals.request_started.disconnect(close_old_connections)
    signals.request_finished.disconnect(close_old_connections)
    yield
    signals.request_started.connect(close_old_connections)
    signals.request_finished.connect(close_old_connections)


@pytest.fixture
def history(one_transaction, organization, monkeypatch):
    """There is something to read, and nobody asks too often."""
    for number in range(3):
        ledger.reserve_call_credits(organization_id=organization.pk, call_id=f"call-{number}")
    ledger.commit_reserved_credits(call_id="call-0", duration_seconds=61)
    never_reached = throttles.Limit(name="never", requests=10**9, window_seconds=60)
    monkeypatch.setattr(throttles, "PER_USER", never_reached)
    monkeypatch.setattr(throttles, "PER_ORGANIZATION", never_reached)


@pytest.mark.usefixtures("history")
@SCHEMA.parametrize()
@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_endpoint_does_what_the_schema_says(case, people, organization):
    # Whoever asks is chosen by what is asked, so that a failure happens again.
    headers = people[zlib.crc32(repr((case.query, case.body, case.headers)).encode()) % len(people)]
    # A random organization is a 404, and says nothing of what lies behind.
    if UUID.fullmatch(str(case.headers.get("X-Org-Id", ""))):
        case.headers["X-Org-Id"] = str(organization.pk)
    case.call_and_validate(headers=headers)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("status", ["200", "400"])
def test_given_a_status_that_the_schema_does_not_name_then_it_is_found(people, status):
    """The control: the test above can fail."""
    described = json.loads(served_schema())
    del described["paths"][TRANSACTIONS]["get"]["responses"][status]
    wrong = schemathesis.openapi.from_dict(described)
    wrong.app = application
    case = wrong[TRANSACTIONS]["GET"].Case(query={"limit": "1" if status == "200" else "0"})

    with pytest.raises(FailureGroup, match="Undocumented status code"):
        case.call_and_validate(headers=people[0])
