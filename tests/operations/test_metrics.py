"""What Prometheus reads, and who may."""

import os
import re
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis import Redis
from redis.exceptions import RedisError

from calls.models import Call, UnbilledCall
from tests.factories import OrganizationFactory, PhoneNumberFactory, TopUpFactory
from tests.wallets.steps import commit, reserve
from tests.webhooks.fixtures import SECRET
from tests.webhooks.vapi_payloads import VapiCall, encoded
from voxbilling import counts, heartbeat
from voxbilling.environment import PROJECT_DIR
from voxbilling.operations import metrics
from voxbilling.operations.verification import ledger as ledger_trials
from wallets import checking
from wallets.ledger import InsufficientBalance
from wallets.models import Alert
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db

COUNTED = "ledger_command|call_authorizations|webhook_(answer|message|failures)|counts_|sweep_"


@pytest.fixture(autouse=True)
def token_is_set(settings):
    settings.METRICS_TOKEN = "the-token"


def scrape(client, token="the-token"):
    return client.get("/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})


def figures(client):
    response = scrape(client)
    assert response.status_code == 200
    lines = [line for line in response.content.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def call(**fields):
    organization = OrganizationFactory()
    name = f"call-{Call.objects.count()}"
    return Call.objects.create(
        organization=organization,
        call_id=name,
        vapi_call_id=name,
        **{"announced_by_vapi": True, "reconcile_at": timezone.now(), **fields},
    )


@pytest.mark.parametrize("token", ["", "another", "the-token-and-more"])
def test_without_the_token_nothing_is_told(client, token):
    response = scrape(client, token)
    assert response.status_code == 401
    assert "voxbilling_" not in response.content.decode()


def test_without_a_token_set_there_are_no_metrics_but_with_debug(client, settings):
    settings.METRICS_TOKEN = ""
    settings.DEBUG = False
    assert scrape(client, "").status_code == 404
    settings.DEBUG = True
    assert scrape(client, "").status_code == 200


def test_with_nothing_there_every_figure_is_0_and_latencies_are_not_known(client):
    found = figures(client)
    assert not any("latency" in name for name in found)
    # Processes count for as long as Valkey lives, and how often sweeps come is no matter of data.
    of_the_database = {name: value for name, value in found.items() if not re.search(COUNTED, name)}
    assert set(of_the_database.values()) == {0}
    assert len(of_the_database) == 20


def test_each_figure_is_what_the_database_has(client):
    now = timezone.now()
    hour = timedelta(hours=1)
    organization = OrganizationFactory(funded_pence=1000)
    reserve(organization, "held")
    commit("owed", 61, organization_id=OrganizationFactory().pk)
    call()
    call(announced_by_vapi=False, reconcile_at=None)
    call(ended_at=now)
    call(end_ordered_at=now)
    call(ended_at=now - hour, reconcile_at=None, review_reason="odd")
    UnbilledCall.objects.create(vapi_call_id="theirs", reason="nobody pays")
    for late, unpaid in ((-2, 0), (0, None), (4, 7)):
        settled = {"settled_at": now, "settled_from": "vapi", "charged_pence": 0}
        call(
            ended_at=now,
            money_ended_at=now - timedelta(seconds=late),
            uncollected_pence=unpaid,
            **({} if unpaid is None else settled | {"reconcile_at": None}),
        )
    call(ended_at=now - 2 * hour, money_ended_at=now - 3 * hour)
    Alert.objects.all().delete()
    for key, due_at in (("a", now), ("b", now - hour), ("c", now + hour)):
        organization.alerts.create(
            kind="low", key=key, context={}, created_at=now, next_attempt_at=due_at
        )
    organization.alerts.create(
        kind="low", key="d", context={}, created_at=now, next_attempt_at=None, status="nobody"
    )
    TopUpFactory(status="processing")
    for number, status in enumerate(["pending", "failed", "unusable", "unusable", "processed"]):
        event(number, status=status, received_at=now - hour)

    found = {name: value for name, value in figures(client).items() if not re.search(COUNTED, name)}

    assert 0 <= found.pop("voxbilling_oldest_hold_age_seconds") < 60
    oldest_event = found.pop("voxbilling_oldest_webhook_event_age_seconds")
    assert oldest_event == pytest.approx(3600, abs=60)
    for name in ("alert", "end_order"):
        assert 0 <= found.pop(f"voxbilling_oldest_{name}_age_seconds") < 60
    oldest_to_review = found.pop("voxbilling_oldest_call_to_review_age_seconds")
    assert oldest_to_review == pytest.approx(3600, abs=60)
    assert found.pop('voxbilling_end_latency_seconds{quantile="0.99"}') == pytest.approx(3.92)
    assert found == {
        "voxbilling_owed_pence": 98,
        "voxbilling_held_pence": 245,
        "voxbilling_live_calls": 2,
        "voxbilling_calls_being_ended": 1,
        "voxbilling_calls_to_review": 1,
        "voxbilling_calls_awaiting_report": 3,
        "voxbilling_calls_unbilled": 1,
        "voxbilling_calls_ended_for_money": 3,
        "voxbilling_overrun_pence": 7,
        'voxbilling_end_latency_seconds{quantile="0.5"}': 0,
        "voxbilling_alerts_waiting": 3,
        "voxbilling_alerts_given_up": 1,
        "voxbilling_topups_processing": 1,
        'voxbilling_webhook_events{status="failed"}': 1,
        'voxbilling_webhook_events{status="unusable"}': 2,
        'voxbilling_webhook_events{status="pending"}': 1,
    }


def event(number, **fields):
    pending = {"next_attempt_at": fields["received_at"]} if fields["status"] == "pending" else {}
    return WebhookEvent.objects.create(
        source="vapi", digest=f"{number:064}", payload={}, **fields, **pending
    )


def test_an_overrun_that_nobody_saw_is_one(client):
    """The caller hung up, or the call was refused, and its report says that it went on."""
    organization = OrganizationFactory()
    Call.objects.create(
        organization=organization, call_id="unseen", announced_by_vapi=True, vapi_call_id="unseen",
        ended_at=timezone.now(), settled_at=timezone.now(), settled_from="vapi", charged_pence=0,
        uncollected_pence=196,
    )  # fmt: skip
    found = figures(client)
    assert found["voxbilling_overrun_pence"] == 196
    assert found["voxbilling_calls_ended_for_money"] == 0


def test_a_ledger_that_does_not_add_up_is_told_once_it_was_checked(client):
    assert "voxbilling_ledger_differences" not in figures(client)
    organization = OrganizationFactory(funded_pence=100)
    checking.check()
    assert figures(client)["voxbilling_ledger_differences"] == 0
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE organizations SET total_spent_pence = 7")
        cursor.execute("SET LOCAL session_replication_role = origin")
    checking.check()
    found = figures(client)
    assert found["voxbilling_ledger_differences"] == 1
    assert 0 <= found["voxbilling_ledger_check_age_seconds"] < 60
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        age_seconds = figures(client)["voxbilling_ledger_check_age_seconds"]
    assert age_seconds == pytest.approx(7200, abs=60)
    assert organization


def test_what_is_asked_about_is_0_before_it_happened(client):
    found = figures(client)
    for key in (
        "voxbilling_webhook_failures_total",
        'voxbilling_call_authorizations_total{outcome="refused"}',
        'voxbilling_ledger_command_seconds_count{command="commit",outcome="done"}',
        'voxbilling_ledger_command_seconds_bucket{command="reserve",le="+Inf",outcome="done"}',
        'voxbilling_webhook_message_seconds_count{source="vapi",type="assistant-request"}',
        'voxbilling_webhook_answer_seconds_count{endpoint="vapi",status="503"}',
        'voxbilling_webhook_answer_seconds_bucket{endpoint="vapi",le="+Inf",status="503"}',
    ):
        assert key in found


def test_what_is_tried_and_rolled_back_is_not_counted(client):
    name = "voxbilling_ledger_command_seconds_count"
    organization = OrganizationFactory(funded_pence=300)
    before = counted(client, name)
    with counts.uncounted():
        reserve(organization, "tried")
    assert list(ledger_trials.check())
    assert counted(client, name) == before
    reserve(organization, "done")
    assert counted(client, name) != before


def test_every_line_is_in_the_format_of_prometheus(client):
    for line in scrape(client).content.decode().splitlines():
        assert re.fullmatch(
            r"# HELP voxbilling_\w+ .+|# TYPE voxbilling_\w+ (gauge|counter|histogram)"
            r'|voxbilling_\w+(\{\w+="[^"]+"(,\w+="[^"]+")*\})? -?[\d.e+-]+',
            line,
        ), line


def test_the_number_of_statements_is_fixed(client):
    def statements():
        with CaptureQueriesContext(connection) as captured:
            figures(client)
        return len(captured)

    few = statements()
    for _ in range(5):
        call()
    assert statements() == few


def test_without_a_database_it_says_so(client, monkeypatch):
    def unreachable():
        raise DatabaseError

    monkeypatch.setattr(metrics, "wallet_figures", unreachable)
    assert scrape(client).status_code == 503


def test_no_query_grows_with_history():
    """Each reads an index of the few rows that it is about, also when planned for few rows."""
    with CaptureQueriesContext(connection) as captured:
        for figures_of in (metrics._of_wallets, metrics._of_calls, metrics._of_the_inbox):
            list(figures_of())
    assert len(captured) >= 10
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for query in captured:
            cursor.execute(f"EXPLAIN {query['sql']}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            # Of organizations there are few, and their row is all of their history.
            assert "Seq Scan" not in plan or "Seq Scan on organizations" in plan, plan
            for index in re.findall(r"using (\w+)", plan):
                assert not index.endswith("_pkey"), plan


def test_many_messages_that_nobody_looks_at_cost_no_more_than_a_thousand(monkeypatch):
    monkeypatch.setattr("webhooks.selectors.MOST_COUNTED", 2)
    for number in range(4):
        event(number, status="failed", received_at=timezone.now())

    (by_status, _) = metrics._of_the_inbox()

    assert {sample.labels["status"]: sample.value for sample in by_status.samples}["failed"] == 2


def test_many_e_mails_that_were_given_up_cost_no_more_than_a_thousand(client, monkeypatch):
    monkeypatch.setattr("wallets.selectors.MOST_COUNTED", 2)
    organization, now = OrganizationFactory(), timezone.now()
    for number in range(4):
        organization.alerts.create(
            kind="low", key=str(number), context={}, created_at=now, next_attempt_at=None,
            status="failed",
        )  # fmt: skip
    assert figures(client)["voxbilling_alerts_given_up"] == 2


# --- What processes count ---------------------------------------------------------------------


def counted(client, name):
    counts.flush()
    return {key: value for key, value in figures(client).items() if name in key}


def test_reserving_committing_and_refusing_are_counted_with_how_long_they_took(client):
    organization = OrganizationFactory(funded_pence=300)
    name = "voxbilling_ledger_command_seconds"
    before = counted(client, name)

    reserve(organization, "a")
    reserve(organization, "a")
    with pytest.raises(InsufficientBalance):
        reserve(OrganizationFactory(), "b")
    commit("a", 61)

    after = counted(client, name)
    for command, outcome in (
        ("reserve", "done"),
        ("reserve", "duplicate"),
        ("reserve", "InsufficientBalance"),
        ("commit", "done"),
    ):
        labels = f'command="{command}",outcome="{outcome}"'
        key = f"{name}_count{{{labels}}}"
        assert after[key] - before.get(key, 0) == 1, key
        assert after[f"{name}_sum{{{labels}}}"] > before.get(f"{name}_sum{{{labels}}}", 0)


@pytest.mark.parametrize(
    "why", ["unknown number", "no assistant", "too old", "no money", "repeated"]
)
def test_each_caller_who_is_turned_away_is_counted_once(client, why):
    key = 'voxbilling_call_authorizations_total{outcome="refused"}'
    number = PhoneNumberFactory()
    vapi_call = VapiCall(number=number)
    if why == "unknown number":
        number.delete()
    elif why == "no assistant":
        number.assistant = None
        number.save()
    asked_at = timezone.now() - timedelta(seconds=60 if why == "too old" else 0)
    before = counted(client, key)[key]
    for _ in range(2 if why == "repeated" else 1):
        sent = encoded(vapi_call.assistant_request(asked_at))
        answer = client.post(
            "/api/vapi/webhook", sent, "application/json", headers={"X-Vapi-Secret": SECRET}
        )
        assert "error" in answer.json()
    assert counted(client, key)[key] == before + 1


def test_buckets_hold_all_that_took_at_most_so_long(client):
    name = "voxbilling_webhook_message_seconds"
    for seconds in (0.004, 0.2, 6, 60):
        counts.WEBHOOK_MESSAGES.observe(seconds, "vapi", "of-this-test")

    found = counted(client, 'type="of-this-test"')

    bounds = {
        re.search(r'le="([^"]+)"', key)[1]: value for key, value in found.items() if "le=" in key
    }
    assert [bounds[le] for le in ("0.005", "0.1", "0.25", "5.0")] == [1, 1, 2, 2]
    assert [bounds[le] for le in ("7.5", "+Inf")] == [3, 4]
    assert found[f'{name}_count{{source="vapi",type="of-this-test"}}'] == 4
    assert found[f'{name}_sum{{source="vapi",type="of-this-test"}}'] == pytest.approx(66.204)


def test_what_several_processes_count_is_added_up(client):
    """One is forked from another, which has counted something that it has not told yet."""
    key = 'voxbilling_call_authorizations_total{outcome="forked"}'
    counts.AUTHORIZATIONS.add("forked")
    child = os.fork()
    if child == 0:
        counts.AUTHORIZATIONS.add("forked")
        counts.AUTHORIZATIONS.add("forked")
        counts.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

    assert counted(client, "authorizations")[key] == 3


def test_counts_are_told_without_being_asked_for_and_at_the_end_of_a_process():
    program = (
        "import time, django; django.setup()\n"
        "from voxbilling import counts\n"
        "counts.FLUSH_SECONDS = 0.1\n"
        "counts.AUTHORIZATIONS.add('by-itself')\n"
        "while not counts.read()['call_authorizations'].get(('by-itself',)): time.sleep(0.01)\n"
        "counts.FLUSH_SECONDS = 600\n"
        "time.sleep(0.3)\n"
        "counts.AUTHORIZATIONS.add('at-the-end')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "voxbilling.settings"},
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    valkey = Redis.from_url(settings.CACHES["default"]["LOCATION"])
    told = b"".join(valkey.hgetall(":1:counts") | valkey.hgetall("voxbilling:1:counts"))
    assert b"by-itself" in told
    assert b"at-the-end" in told


def test_a_valkey_that_does_not_answer_costs_nothing_and_loses_nothing(client, monkeypatch):
    class Silent:
        def pipeline(self):
            raise ConnectionError

        def hgetall(self, key):
            raise RedisError

    key = 'voxbilling_call_authorizations_total{outcome="while-silent"}'
    with monkeypatch.context() as silent:
        silent.setattr(counts, "_valkey", Silent)
        counts.AUTHORIZATIONS.add("while-silent")
        counts.flush()
        found = figures(client)
        assert found["voxbilling_counts_available"] == 0
        assert "voxbilling_held_pence" in found
        assert key not in found

    assert counted(client, "authorizations")[key] == 1


def test_the_age_of_a_sweep_is_since_it_last_ended_well(client, monkeypatch):
    heartbeat.beat_began()
    heartbeat.finished("calls.tasks.watch_live_calls")
    now = time.time()
    monkeypatch.setattr(metrics.time, "time", lambda: now + 42)

    found = figures(client)

    task = '{task="calls.tasks.watch_live_calls"}'
    assert found[f"voxbilling_sweep_age_seconds{task}"] == pytest.approx(42, abs=5)
    assert found[f"voxbilling_sweep_interval_seconds{task}"] == 5


def test_webhooks_are_counted_by_address_status_and_type(client):
    name = "voxbilling_webhook_answer_seconds_count"
    before = counted(client, "webhook_")

    def post(**headers):
        client.post(
            "/api/vapi/webhook",
            data={"message": {"type": "a-type-from-outside"}},
            content_type="application/json",
            headers=headers,
        )

    post(**{"X-Vapi-Secret": SECRET})
    post(**{"X-Vapi-Secret": "wrong"})

    after = counted(client, "webhook_")
    for status in ("200", "401"):
        key = f'{name}{{endpoint="vapi",status="{status}"}}'
        assert after[key] - before.get(key, 0) == 1
    key = 'voxbilling_webhook_message_seconds_count{source="vapi",type="other"}'
    assert after[key] - before.get(key, 0) == 1
    assert not any("from-outside" in name for name in after)
