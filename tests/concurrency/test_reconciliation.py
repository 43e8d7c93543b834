"""Sweeps that ask Vapi at the same time, and reports that come while they do."""

import threading
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from calls import lifecycle, reconciliation, vapi_scan
from calls.models import Call, VapiReading
from calls.references import CallReference
from telephony import vapi_call_pages
from tests.calls.vapi_api import VapiApi
from tests.concurrency.expectations import assert_no_surprises
from tests.concurrency.harness import HANGING_AFTER_SECONDS, run_together
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.wallets.invariants import assert_ledger_intact
from tests.wallets.steps import reserve
from tests.webhooks.vapi_payloads import VapiCall
from wallets.locks import lock_organization
from wallets.models import CreditReservation, CreditTransaction, Organization

pytestmark = pytest.mark.django_db(transaction=True)

FUNDED = 10_000


@pytest.fixture
def vapi_api(monkeypatch):
    api = VapiApi()
    monkeypatch.setattr(reconciliation, "get_call", api.get_call)
    monkeypatch.setattr(vapi_call_pages, "list_calls", api.list_calls)
    monkeypatch.setattr(reconciliation, "BATCH_SECONDS", 0)
    return api


def ended_calls(count, *, organizations=1):
    """Calls whose end was told long ago, and whose report never came."""
    long_ago = timezone.now() - timedelta(minutes=10)
    numbers = [
        PhoneNumberFactory(organization=OrganizationFactory(funded_pence=FUNDED))
        for _ in range(organizations)
    ]
    calls = []
    for index in range(count):
        number = numbers[index % organizations]
        call = VapiCall(number=number, id=f"call-{uuid4()}")
        reserve(number.organization, call.id, minutes=1)
        Call.objects.create(
            organization=number.organization,
            call_id=call.id,
            vapi_call_id=call.id,
            announced_by_vapi=True,
            phone_number=number,
            authorization=Call.Authorization.AUTHORIZED,
            started_at=long_ago,
            ended_at=long_ago + timedelta(seconds=50),
            reconcile_at=timezone.now() - timedelta(seconds=1),
        )
        calls.append(call)
    return calls


def show_ended(api, calls):
    for call in calls:
        known = Call.objects.get(call_id=call.id)
        api.shows_ended(call, known.started_at, known.ended_at)


def charges():
    return CreditTransaction.objects.filter(type="call_deduction").count()


def test_two_sweeps_at_once_ask_about_each_call_once_and_charge_it_once(vapi_api):
    calls = ended_calls(24, organizations=4)
    show_ended(vapi_api, calls)

    outcomes = run_together([reconciliation.settle_missing_reports] * 3)

    assert_no_surprises(outcomes)
    assert sum(outcome.result for outcome in outcomes) == len(calls)
    assert sorted(vapi_api.asked) == sorted(call.id for call in calls)
    assert charges() == len(calls)
    assert_ledger_intact()


def test_control_without_taking_them_both_sweeps_ask_about_the_same_calls(vapi_api, monkeypatch):
    calls = ended_calls(3)
    show_ended(vapi_api, calls)
    everybody_has_read = threading.Barrier(2)

    def read_untaken():
        due = [
            reconciliation._Question(vapi_call_id=call.call_id, attempts=1)
            for call in Call.objects.filter(reconcile_at__lte=timezone.now())
        ]
        everybody_has_read.wait(HANGING_AFTER_SECONDS)
        return due

    monkeypatch.setattr(reconciliation, "_take_due", read_untaken)
    outcomes = run_together([reconciliation.settle_missing_reports] * 2)
    assert_no_surprises(outcomes)
    assert len(vapi_api.asked) == 2 * len(calls)
    # Asked twice, they are charged once all the same.
    assert charges() == len(calls)
    assert_ledger_intact()


def test_a_report_that_comes_while_vapi_is_asked_charges_the_call_once(vapi_api):
    for _ in range(6):
        [call] = ended_calls(1)
        show_ended(vapi_api, [call])
        known = Call.objects.get(call_id=call.id)
        report = partial(
            lifecycle.settle,
            CallReference(vapi_call_id=call.id),
            ended_reason="customer-ended-call",
            started_at=known.started_at,
            ended_at=known.ended_at,
            duration_seconds=None,
            cost_usd=None,
            received_at=timezone.now(),
        )
        before = charges()
        outcomes = run_together(
            [
                transaction.atomic(report),
                reconciliation.settle_missing_reports,
                partial(reconciliation.apply, vapi_api.records[call.id]),
            ]
        )
        assert_no_surprises(outcomes)
        assert charges() == before + 1
        assert_ledger_intact()


def test_vapi_is_asked_outside_any_transaction_and_lock(vapi_api, monkeypatch):
    calls = ended_calls(3)
    show_ended(vapi_api, calls)
    asked = vapi_api.get_call
    locked = []

    def ask(vapi_call_id):
        with transaction.atomic():
            locked.append(len(Call.objects.select_for_update(nowait=True)))
            Organization.objects.select_for_update(nowait=True).get()
        connection.close()
        return asked(vapi_call_id)

    monkeypatch.setattr(reconciliation, "get_call", ask)
    monkeypatch.setattr(reconciliation, "ASKED_AT_ONCE", 1)
    monkeypatch.setattr(reconciliation, "BATCHES_PER_SWEEP", 3)
    assert reconciliation.settle_missing_reports() == 3
    assert locked == [3, 3, 3]
    assert charges() == 3


def test_two_scans_at_once_bill_each_call_once(vapi_api):
    number = PhoneNumberFactory(organization=OrganizationFactory(funded_pence=FUNDED))
    calls = [VapiCall(number=number) for _ in range(12)]
    ago = timezone.now() - timedelta(minutes=5)
    for call in calls:
        vapi_api.shows_ended(call, ago, ago + timedelta(seconds=30), updated_at=ago)
    VapiReading.objects.update_or_create(defaults={"scan_from": ago - timedelta(minutes=1)})

    outcomes = run_together([vapi_scan.scan] * 3)

    assert_no_surprises(outcomes)
    # The others leave the list to the one that reads it.
    assert [each.result for each in outcomes if each.result is not None] == [len(calls)]
    assert len(vapi_api.listed) == 1
    assert charges() == len(calls)
    assert_ledger_intact()


def test_control_even_scans_that_read_the_same_list_bill_each_call_once(vapi_api, monkeypatch):
    number = PhoneNumberFactory(organization=OrganizationFactory(funded_pence=FUNDED))
    calls = [VapiCall(number=number) for _ in range(12)]
    ago = timezone.now() - timedelta(minutes=5)
    for call in calls:
        vapi_api.shows_ended(call, ago, ago + timedelta(seconds=30), updated_at=ago)
    VapiReading.objects.update_or_create(defaults={"scan_from": ago - timedelta(minutes=1)})
    monkeypatch.setattr(vapi_scan, "_take_reading", VapiReading.objects.get)

    outcomes = run_together([vapi_scan.scan] * 3)

    assert_no_surprises(outcomes)
    assert len(vapi_api.listed) == 3
    assert charges() == len(calls)
    assert_ledger_intact()


def test_the_hold_of_a_busy_organizations_call_is_kept_all_the_same(vapi_api):
    [call] = ended_calls(1)
    owner = call.number.organization
    has_lock, may_end = threading.Event(), threading.Event()
    soon = timezone.now() + timedelta(seconds=30)

    CreditReservation.objects.update(expires_at=soon)

    def be_busy():
        with transaction.atomic():
            lock_organization(owner.pk)
            has_lock.set()
            may_end.wait(HANGING_AFTER_SECONDS)

    def sweep():
        has_lock.wait(HANGING_AFTER_SECONDS)
        threading.Timer(0.3, may_end.set).start()
        return reconciliation.expire_holds()

    outcomes = run_together([be_busy, sweep])
    assert_no_surprises(outcomes)
    assert CreditReservation.objects.get().expires_at > soon
