"""Whatever fails, in whatever order: one number or a refund, and nothing else at the providers."""

import contextlib
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telephony import provisioning, releases
from telephony.provisioning import ProvisioningFailed, ProvisioningInProgress
from telephony.releases import ReleaseInProgress
from tests.factories import OrganizationFactory
from tests.telephony.expectations import assert_all_or_nothing
from tests.telephony.fake_providers import (
    BUY,
    IMPORT,
    LIST,
    RELEASE,
    SEARCH,
    TIME_OUT,
    UNREACHABLE,
    VAPI_LIST,
    VAPI_RELEASE,
    Died,
)
from tests.wallets.invariants import assert_ledger_intact

OPERATIONS = [SEARCH, BUY, LIST, RELEASE, IMPORT, VAPI_LIST, VAPI_RELEASE]
# What is answered although the work was done is never a refusal.
BEFORE = [Died, TIME_OUT, UNREACHABLE, (500, None), (429, None), (400, {"code": 21422}), (401, {})]
AFTER = [Died, TIME_OUT, (500, None), (201, {"nonsense": 1})]

faults = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.sampled_from(BEFORE).map(lambda what: (what, False)))
    | st.tuples(st.sampled_from(OPERATIONS), st.sampled_from(AFTER).map(lambda what: (what, True))),
    max_size=8,
)
EXPECTED = (Died, ProvisioningInProgress, ProvisioningFailed, ReleaseInProgress)


def whatever(work):
    with contextlib.suppress(EXPECTED):
        work()


def release(number):
    releases.release_number(organization_id=number.organization_id, phone_number_id=number.pk)


@pytest.mark.django_db
@given(faults=faults, orders=st.integers(1, 3))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_order_ends_as_one_number_or_a_refund(fake, faults, orders):
    organization = OrganizationFactory(funded_pence=3_000)
    fake.faults.clear()
    for operation, (what, done) in faults:
        fake.fail(operation, what, done=done)
    start = datetime.now(UTC)
    for key in range(orders):
        whatever(
            partial(
                provisioning.provision,
                organization_id=organization.pk,
                country="GB",
                number_type="local",
                idempotency_key=str(key),
            )
        )
    for minutes in range(0, 400, 20):
        with time_machine.travel(start + timedelta(minutes=minutes), tick=True):
            whatever(provisioning.resume_orders)
    assert_all_or_nothing(organization, fake)

    # And given back, whatever is still to fail, nothing is left at all.
    for number in organization.phone_numbers.all():
        fake.fail(VAPI_RELEASE, TIME_OUT, done=True)
        whatever(partial(release, number))
    for minutes in range(0, 400, 20):
        with time_machine.travel(start + timedelta(minutes=minutes), tick=True):
            whatever(releases.resume_releases)
    assert fake.twilio == fake.vapi == {}
    assert_ledger_intact()
