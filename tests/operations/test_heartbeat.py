"""What beat and the sweeps leave in Valkey, and what is concluded from it."""

import uuid
from datetime import timedelta

import pytest
import time_machine
from celery.app.control import Inspect
from celery.signals import after_task_publish, beat_init, task_success
from django.core.cache.backends.redis import RedisCache
from django.utils import timezone
from redis.exceptions import RedisError

from calls import reconciliation, vapi_scan
from calls.models import VapiReading
from calls.tasks import compare_with_vapi, scan_vapi_calls, settle_missing_reports
from voxbilling import celery, heartbeat
from voxbilling.celery import app, periodic_tasks
from voxbilling.operations.verification import processes
from webhooks import missed_events
from webhooks.tasks import fetch_missed_events

FIVE_SECONDS, HOURLY = "calls.tasks.watch_live_calls", "wallets.tasks.check_ledger"


@pytest.fixture(autouse=True)
def own_keys(settings):
    settings.CACHES = {
        "default": {**settings.CACHES["default"], "KEY_PREFIX": f"test-{uuid.uuid4()}"}
    }


@pytest.fixture
def clock():
    with time_machine.travel("2026-11-22T12:00:00Z", tick=False) as clock:
        yield clock


@pytest.fixture
def conclusions(monkeypatch):
    """What is said of beat and the sweeps, with no waiting for what may still come."""
    monkeypatch.setattr(processes, "START_SECONDS", 0)
    queues = {"one": [{"name": "calls"}], "other": [{"name": "providers"}]}
    monkeypatch.setattr(Inspect, "active_queues", lambda _: queues)
    monkeypatch.setattr(processes.health, "broker", lambda: "ok")

    def conclusions():
        found = {finding.subject: finding for finding in processes.check()}
        assert not found["worker"].is_failure
        assert not found["provider worker"].is_failure
        return found["beat"], found["sweeps"]

    return conclusions


@pytest.fixture
def in_beat():
    """This process, as if it were beat."""
    beat_init.send(sender=None)
    yield
    after_task_publish.disconnect(celery._published)


def ended_well(name):
    app.loader.import_default_modules()
    task_success.send(sender=app.tasks[name], result=None)


def test_beat_records_when_it_began_and_what_it_published(clock, in_beat):
    began = heartbeat.read([FIVE_SECONDS])
    clock.shift(5)
    after_task_publish.send(sender=FIVE_SECONDS)

    found = heartbeat.read([FIVE_SECONDS])

    assert began.published == found.finished == {}
    assert found.since == began.since
    assert found.published == {FIVE_SECONDS: began.since + 5}


def test_other_processes_publish_without_a_record():
    after_task_publish.send(sender=FIVE_SECONDS)

    assert heartbeat.read([FIVE_SECONDS]) == heartbeat.Heartbeat(None, {}, {})


def test_a_sweep_that_ended_well_is_recorded_and_other_tasks_are_not(clock):
    ended_well(FIVE_SECONDS)
    ended_well("calls.ends.send_end")

    found = heartbeat.read([FIVE_SECONDS, "calls.ends.send_end"])

    assert set(found.finished) == {FIVE_SECONDS}


@pytest.mark.django_db
@pytest.mark.parametrize("task", [scan_vapi_calls, fetch_missed_events])
def test_a_sweep_that_could_not_do_its_work_is_not_said_to_have_ended_well(
    clock, monkeypatch, settings, task
):
    settings.VAPI_API_URL = settings.STRIPE_API_URL = "http://127.0.0.1:9"
    VapiReading.objects.update_or_create(
        pk=VapiReading.THE_ONE, defaults={"scan_from": timezone.now() - timedelta(hours=1)}
    )
    task.apply()
    assert heartbeat.read([task.name]).finished == {}

    monkeypatch.setattr(vapi_scan, "scan", lambda: 0)
    monkeypatch.setattr(missed_events, "fetch_missed_events", lambda: 0)
    task.apply()
    assert set(heartbeat.read([task.name]).finished) == {task.name}


@pytest.mark.django_db
@pytest.mark.parametrize("task", [scan_vapi_calls, settle_missing_reports, compare_with_vapi])
def test_while_vapi_is_left_alone_no_sweep_that_asks_it_ends_well(clock, task):
    reconciliation.leave_alone(timedelta(seconds=30))
    task.apply()
    assert heartbeat.read([task.name]).finished == {}

    clock.shift(31)
    task.apply()
    assert set(heartbeat.read([task.name]).finished) == {task.name}


@pytest.mark.django_db
def test_a_sweep_that_dies_each_time_is_not_said_to_have_ended_well_by_those_that_find_it_at_work(
    clock, monkeypatch
):
    def die(**_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(vapi_scan, "pages", die)
    for _ in range(4):
        scan_vapi_calls.apply()
        clock.shift(60)

    assert heartbeat.read([scan_vapi_calls.name]).finished == {}


def test_given_records_that_valkey_lost_then_they_begin_anew(clock, in_beat):
    first = heartbeat.read([]).since
    heartbeat.cache.clear()
    clock.shift(100)

    after_task_publish.send(sender=FIVE_SECONDS)

    assert heartbeat.read([]).since == first + 100


def test_given_no_valkey_then_nothing_breaks_and_whoever_asks_is_told(settings, conclusions):
    settings.CACHES = {
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:9/0"}
    }
    heartbeat.beat_began()
    heartbeat.published(FIVE_SECONDS)
    ended_well(FIVE_SECONDS)

    with pytest.raises(RedisError):
        heartbeat.read([FIVE_SECONDS])
    assert [finding.text.split(":")[0] for finding in conclusions()] == [
        "could not be asked about"
    ] * 2


def test_given_a_time_out_that_comes_as_a_value_error_then_nothing_breaks(monkeypatch):
    def time_out(*_args, **_options):
        raise ValueError("I/O operation on closed file.")

    monkeypatch.setattr(RedisCache, "set_many", time_out)

    heartbeat.published(FIVE_SECONDS)
    ended_well(FIVE_SECONDS)

    assert heartbeat.read([FIVE_SECONDS]) == heartbeat.Heartbeat(None, {}, {})


def test_a_beat_that_never_ran_is_a_failure(conclusions):
    beat, sweeps = conclusions()

    assert f"{beat}" == ("✗ beat: has published nothing yet: start one, or look into its log")
    assert sweeps.is_failure


def test_three_turns_and_ten_seconds_are_forgiven(clock, in_beat, conclusions):
    after_task_publish.send(sender=FIVE_SECONDS)
    ended_well(FIVE_SECONDS)

    clock.shift(25)
    in_time = conclusions()
    clock.shift(1)
    late = conclusions()

    assert not any(finding.is_failure for finding in in_time)
    assert f"{late[0]}" == (
        "✗ beat: did not publish in time: calls.tasks.watch_live_calls (every 5 s, silent for "
        "26 s); look whether beat runs"
    )
    assert f"{late[1]}".startswith("✗ sweeps: did not end well in time: calls.tasks.watch_live")


def test_what_was_seen_before_beat_began_anew_is_no_sign_of_life(clock, in_beat, conclusions):
    # Given every task published and ended well, and a beat that is started again
    for task in periodic_tasks():
        after_task_publish.send(sender=task)
        ended_well(task)
    clock.shift(1)
    heartbeat.beat_began()

    # Then neither is well before something was seen since
    assert [finding.is_failure for finding in conclusions()] == [True, True]

    after_task_publish.send(sender=FIVE_SECONDS)
    assert [finding.is_failure for finding in conclusions()] == [False, True]

    ended_well(FIVE_SECONDS)
    beat, sweeps = conclusions()
    assert not beat.is_failure
    assert f"{sweeps}" == "✓ sweeps: end well in time, 1 of them so far"


def test_a_beat_that_began_a_moment_ago_is_waited_for(clock, in_beat, conclusions, monkeypatch):
    # Given records of an earlier beat, and one that publishes while it is waited for
    after_task_publish.send(sender=FIVE_SECONDS)
    ended_well(FIVE_SECONDS)
    clock.shift(1)
    heartbeat.beat_began()
    monkeypatch.setattr(processes, "START_SECONDS", 30)
    waits = []

    def wait(seconds):
        waits.append(seconds)
        assert len(waits) < 10
        if len(waits) == 2:
            after_task_publish.send(sender=FIVE_SECONDS)
        if len(waits) == 4:
            ended_well(FIVE_SECONDS)

    monkeypatch.setattr(processes.time, "sleep", wait)

    assert not any(finding.is_failure for finding in conclusions())
    assert len(waits) == 4


def test_a_sweep_that_fails_is_named_while_beat_goes_on(clock, in_beat, conclusions):
    for _ in range(6):
        clock.shift(5)
        after_task_publish.send(sender=FIVE_SECONDS)

    beat, sweeps = conclusions()

    assert not beat.is_failure
    assert f"✗ sweeps: did not end well in time: {FIVE_SECONDS} (every 5 s" in f"{sweeps}"


def test_an_hourly_sweep_is_not_missed_before_its_time(clock, in_beat, conclusions):
    hours = 3 * 3600 + 10
    for seconds, hourly_is_missed in ((hours - 1, False), (2, True)):
        clock.shift(seconds)
        for task in set(periodic_tasks()) - {HOURLY}:
            after_task_publish.send(sender=task)
            ended_well(task)

        beat, sweeps = conclusions()

        assert beat.is_failure is sweeps.is_failure is hourly_is_missed
        assert (HOURLY in beat.text) is hourly_is_missed
