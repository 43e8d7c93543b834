"""Live calls that end at the same moment, sweeps that run at once, wallets that are busy."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connections, transaction
from django.utils import timezone

from calls import ends, live
from calls.models import Call
from calls.secrets import encrypt_control_url
from tests.concurrency.expectations import assert_no_surprises
from tests.concurrency.harness import HANGING_AFTER_SECONDS, run_together
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.wallets.invariants import assert_ledger_intact
from tests.wallets.steps import adjust, reserve, top_up
from tests.webhooks.fixtures import running_control_server
from wallets.locks import lock_organization
from wallets.models import Organization

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def control():
    with running_control_server() as server:
        yield server


@pytest.fixture(autouse=True)
def no_broker(monkeypatch):
    monkeypatch.setattr(ends, "sweep_at", lambda moments: None)


def live_calls(control, count, *, paid_seconds, organizations=1):
    """Calls whose money ends in so many seconds, on wallets that have no more."""
    now = timezone.now()
    owners = [OrganizationFactory(funded_pence=49 * count) for _ in range(organizations)]
    numbers = [PhoneNumberFactory(organization=owner) for owner in owners]
    calls = []
    for index in range(count):
        number = numbers[index % organizations]
        name = f"call-{uuid4()}"
        reserve(number.organization, name, minutes=1)
        calls.append(
            Call(
                organization=number.organization,
                call_id=name,
                vapi_call_id=name,
                announced_by_vapi=True,
                reconcile_at=now + timedelta(hours=1),
                phone_number=number,
                authorization=Call.Authorization.AUTHORIZED,
                vapi_status="in-progress",
                started_at=now + timedelta(seconds=paid_seconds - 60),
                check_at=now - timedelta(seconds=1),
                control_url_encrypted=encrypt_control_url(control.url(name)),
            )
        )
    Call.objects.bulk_create(calls)
    for owner in owners:
        spare = Organization.objects.get(pk=owner.pk).effective_balance_pence
        if spare:
            adjust(owner, -spare)
    return calls


def ended_names(control):
    return sorted(
        path.split("/")[1] for path, body in control.received if body["type"] == "end-call"
    )


def test_hundreds_of_calls_are_ended_at_the_same_time(control):
    """Every request is answered only when all have come: one after another would never end."""
    calls = live_calls(control, 150, paid_seconds=1, organizations=5)
    control.all_at_once = threading.Barrier(len(calls))

    assert live.watch() == len(calls)

    assert ended_names(control) == sorted(call.call_id for call in calls)
    assert Call.objects.filter(end_sent_at=None).count() == 0


def test_no_lock_is_held_while_vapi_is_told(control):
    live_calls(control, 3, paid_seconds=1)
    locked = []
    one_at_a_time = threading.Lock()

    def lock_everything():
        try:
            with one_at_a_time, transaction.atomic():
                locked.append(
                    len(Organization.objects.select_for_update(nowait=True))
                    + len(Call.objects.select_for_update(nowait=True))
                )
        finally:
            connections.close_all()

    control.before_answer = lock_everything
    live.watch()
    assert locked == [4, 4, 4]


def test_two_sweeps_at_once_end_each_call_once(control):
    for _ in range(5):
        calls = live_calls(control, 20, paid_seconds=1, organizations=4)
        control.received.clear()

        outcomes = run_together([live.watch] * 4)

        assert_no_surprises(outcomes)
        assert sum(outcome.result for outcome in outcomes) >= len(calls)
        assert ended_names(control) == sorted(call.call_id for call in calls)
        assert_ledger_intact()
        Call.objects.all().delete()


def test_control_without_the_locks_calls_are_ended_more_than_once(control, monkeypatch):
    calls = live_calls(control, 4, paid_seconds=1)
    everybody_has_read = threading.Barrier(2)
    mark_end = ends.mark_end

    def read_unlocked(organization_ids):
        return Organization.objects.in_bulk(list(organization_ids))

    def wait_and_mark(call, **more):
        if call.pk == calls[0].pk:
            everybody_has_read.wait(HANGING_AFTER_SECONDS)
        mark_end(call, **more)

    monkeypatch.setattr(live, "lock_free_organizations", read_unlocked)
    monkeypatch.setattr(live, "lock_calls", lambda calls: calls)
    monkeypatch.setattr(ends, "mark_end", wait_and_mark)

    run_together([live.watch] * 2)

    assert len(ended_names(control)) > len(calls)


def test_a_call_of_a_busy_wallet_is_ended_as_soon_as_the_wallet_is_free(control):
    [call] = live_calls(control, 1, paid_seconds=1)
    has_lock, may_end = threading.Event(), threading.Event()

    def be_busy():
        with transaction.atomic():
            lock_organization(call.organization_id)
            has_lock.set()
            may_end.wait(HANGING_AFTER_SECONDS)

    def sweep():
        has_lock.wait(HANGING_AFTER_SECONDS)
        threading.Timer(0.3, may_end.set).start()
        return live.watch()

    outcomes = run_together([be_busy, sweep])

    assert_no_surprises(outcomes)
    assert ended_names(control) == [call.call_id]


def test_a_wallet_that_stays_busy_does_not_keep_other_wallets_calls_alive(control, monkeypatch):
    monkeypatch.setattr(live, "BUSY_PATIENCE_SECONDS", 0.2)
    calls = live_calls(control, 6, paid_seconds=1, organizations=2)
    busy = calls[0].organization_id
    with transaction.atomic():
        lock_organization(busy)
        [outcome] = run_together([live.watch])
    assert outcome.result == 3
    assert ended_names(control) == sorted(
        call.call_id for call in calls if call.organization_id != busy
    )


def test_a_top_up_that_comes_with_the_last_second_is_either_too_late_or_used(control):
    for round_number in range(8):
        [call] = live_calls(control, 1, paid_seconds=2)
        owner = call.organization
        control.received.clear()
        outcomes = run_together([live.watch, lambda owner=owner: top_up(owner, 49)])
        assert_no_surprises(outcomes)
        now = Call.objects.get(pk=call.pk)
        held = Organization.objects.get(pk=owner.pk).reserved_pence
        assert (now.end_ordered_at is None) == (held == 98), round_number
        assert (now.end_ordered_at is None) == (ended_names(control) == [])
        assert_ledger_intact()
        Call.objects.all().delete()
