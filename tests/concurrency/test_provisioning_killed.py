"""A process that is killed while it buys a number, at a sandbox that it talks to over HTTP."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import time_machine
from django.db import connection

from telephony import provisioning, twilio_client, vapi_client
from telephony.models import NumberOrder
from tests.factories import OrganizationFactory
from tests.sandbox import running_sandbox
from tests.wallets.invariants import assert_ledger_intact, entries
from voxbilling.environment import PROJECT_DIR

pytestmark = pytest.mark.django_db(transaction=True)

BUY_A_NUMBER = """
import os, sys
import django
django.setup()
from django.conf import settings
settings.DATABASES["default"]["NAME"] = os.environ["DATABASE_OF_THE_TEST"]
from telephony import provisioning
provisioning.provision(
    organization_id=sys.argv[1], country="GB", number_type="local", idempotency_key="key"
)
"""
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox() as url:
        yield url


@pytest.fixture
def providers(sandbox, settings):
    """Our own clients talk to the sandbox, too, with an account of this test."""
    settings.TWILIO_API_URL = f"{sandbox}/twilio"
    settings.VAPI_API_URL = f"{sandbox}/vapi"
    settings.TWILIO_ACCOUNT_SID = f"AC{os.urandom(16).hex()}"
    yield sandbox
    httpx.delete(f"{sandbox}/faults", trust_env=False)


@contextmanager
def child_that_buys(organization, settings):
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "voxbilling.settings",
        "DATABASE_OF_THE_TEST": connection.settings_dict["NAME"],
        "TWILIO_API_URL": settings.TWILIO_API_URL,
        "TWILIO_ACCOUNT_SID": settings.TWILIO_ACCOUNT_SID,
        "VAPI_API_URL": settings.VAPI_API_URL,
    }
    child = subprocess.Popen(
        [sys.executable, "-c", BUY_A_NUMBER, str(organization.pk)],
        cwd=PROJECT_DIR,
        env=environment,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def wait_until(condition):
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after"])
@pytest.mark.parametrize(
    ("provider", "operation", "attempt"),
    [("twilio", "buy", "purchase_attempted_at"), ("vapi", "import", "import_attempted_at")],
)
def test_given_a_kill_then_there_is_one_number_or_a_refund_and_nothing_else(
    providers, settings, provider, operation, attempt, fault
):
    # Given a purchase that hangs at the provider
    organization = OrganizationFactory(funded_pence=1_500)
    httpx.post(
        f"{providers}/faults",
        json={"provider": provider, "operation": operation, "fault": fault},
        trust_env=False,
    ).raise_for_status()
    with child_that_buys(organization, settings) as child:
        wait_until(
            lambda: (
                NumberOrder.objects.filter(**{f"{attempt}__isnull": False}).exists()
                and not httpx.get(f"{providers}/faults", trust_env=False).json()["faults"]
            )
        )
        # When its process is killed
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL

    # Then the sweep brings it to an end
    order = NumberOrder.objects.get()
    assert order.is_open
    start = datetime.now(UTC)
    for minutes in range(0, 91, 3):
        with time_machine.travel(start + timedelta(minutes=minutes), tick=True):
            provisioning.resume_orders()
    order.refresh_from_db()
    at_twilio = twilio_client.find_numbers_by_key(order.provider_key)
    at_vapi = vapi_client.find_numbers_by_key(order.provider_key, since=order.created_at)
    money = [entry[:2] for entry in entries(organization)[1:]]
    if operation == "buy" and fault == "timeout_before":
        assert order.status == "refunded"
        assert (at_twilio, at_vapi) == ([], [])
        assert money == [("phone_provisioning", -1_000), ("refund", 1_000)]
    else:
        assert order.status == "active"
        assert [each.sid for each in at_twilio] == [order.phone_number.twilio_sid]
        assert at_vapi == [order.phone_number.vapi_phone_number_id]
        assert money == [("phone_provisioning", -1_000)]
    assert_ledger_intact()
