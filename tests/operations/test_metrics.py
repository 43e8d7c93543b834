"""What Prometheus reads, and who may."""

import re
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls.models import Call, UnbilledCall
from tests.factories import OrganizationFactory
from tests.wallets.steps import commit, reserve
from voxbilling.operations import metrics

pytestmark = pytest.mark.django_db


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
    assert set(found.values()) == {0}
    assert not any("latency" in name for name in found)


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

    found = figures(client)

    assert 0 <= found.pop("voxbilling_oldest_hold_age_seconds") < 60
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
    }


def test_every_line_is_in_the_format_of_prometheus(client):
    for line in scrape(client).content.decode().splitlines():
        assert re.fullmatch(
            r"# HELP voxbilling_\w+ .+|# TYPE voxbilling_\w+ gauge"
            r'|voxbilling_\w+(\{quantile="[\d.]+"\})? -?[\d.]+',
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
