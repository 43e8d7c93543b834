"""The dashboard's figures are right, lead to what they count, and cost the same with long tables.

Lists and searches of long tables are answered by indexes.
"""

import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core.cache.backends.redis import RedisCache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisConnectionError

from calls.models import Call, UnbilledCall
from telephony import provisioning
from telephony.models import NumberOrder
from tests.admin.steps import change_of, said
from tests.factories import OrganizationFactory, TopUpFactory, UserFactory
from tests.telephony.conftest import fake
from tests.telephony.fake_providers import BUY, TIME_OUT
from tests.wallets.alerts import raised
from tests.wallets.invariants import execute, rows
from tests.wallets.steps import commit, reserve, top_up
from tests.wallets.stripe import payment_of
from voxbilling.operations import business
from wallets import ledger
from wallets.models import Alert, Organization
from wallets.payments import refunds, topups
from webhooks.models import WebhookEvent

__all__ = ["fake"]

pytestmark = pytest.mark.django_db

INDEX = reverse("admin:index")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def staff(client):
    client.force_login(get_user_model().objects.create_superuser("alice"))
    return client


@pytest.fixture
def at_noon():
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


def figures(client):
    context = client.get(INDEX).context
    return {
        figure.title: (figure.value, figure.detail)
        for figure in [*context["business"], *context["trouble"]]
    }


def live_call(organization, name, **more):
    fields = {"started_at": NOON, "reconcile_at": NOON + timedelta(hours=1)} | more
    return Call.objects.create(
        organization=organization,
        call_id=name,
        vapi_call_id=name,
        announced_by_vapi=True,
        **fields,
    )


def test_an_empty_business_is_all_zeros_and_no_trouble(staff, at_noon):
    shown = staff.get(INDEX)
    assert figures(staff)["Money held for customers"] == ("£0.00", "£0.00 of it held for calls")
    assert not [each for each in shown.context["trouble"] if each.is_trouble]
    assert "No live calls use a wallet up within the hour." in said(shown)


def test_money_calls_and_what_they_burn(staff, at_noon):
    rich = OrganizationFactory(name="Rich", funded_pence=100_000)
    poor = OrganizationFactory(name="Poor", funded_pence=980, rate_pence_per_minute=98)
    reserve(poor, "a")
    live_call(poor, "a")
    live_call(rich, "b")
    live_call(rich, "c", started_at=None)

    shown = figures(staff)

    assert shown["Money held for customers"] == ("£1,009.80", "£4.90 of it held for calls")
    assert shown["Live calls"] == ("3", "£1.47 a minute")
    [burning] = staff.get(INDEX).context["running_dry"]
    assert (burning.name, burning.minutes_left, burning.calls) == ("Poor", 10, 1)
    assert (burning.left_pence, burning.pence_per_minute) == (980, 98)
    assert shown["Low balances"][0] == "1"


def test_what_was_taken_today_is_what_went_into_the_totals(staff, at_noon):
    organization = OrganizationFactory()
    with time_machine.travel(NOON - timedelta(days=1), tick=False):
        top_up(organization, 5_000)
        commit("yesterday", 60, organization_id=organization.pk)
    spent_before = Organization.objects.get().total_spent_pence
    commit("today", 61, organization_id=organization.pk)  # 98p
    ledger.check_balance_and_deduct_asset_cost(
        organization_id=organization.pk, cost_pence=1_000, asset_type="phone_number",
        description="A number", idempotency_key="n",
    )  # fmt: skip
    top_up(organization, 1_000, credit_type="refund")

    spent = Organization.objects.get().total_spent_pence - spent_before
    assert spent == 98
    midnight = NOON.replace(hour=0)
    assert business.taken_since(midnight) == spent
    assert figures(staff)["Taken today (UTC)"][0] == "£0.98"


def test_cost_and_margin_of_the_calls_that_ended_today(staff, at_noon):
    organization = OrganizationFactory()
    for name, hours in (("a", 1), ("b", 30)):
        live_call(
            organization, name, reconcile_at=None, ended_at=NOON - timedelta(hours=hours),
            settled_at=NOON, settled_from="vapi", charged_pence=98, uncollected_pence=0,
            vapi_cost_usd=Decimal("0.50"),
        )  # fmt: skip
    value, detail = figures(staff)["Calls ended today"]
    assert value == "£0.98"
    assert "cost £0.40, profit £0.58, margin 59.2 %" in detail


def test_each_trouble_is_counted_and_its_link_lists_it(staff, at_noon, fake):
    fake.fail(BUY, TIME_OUT)
    organization = OrganizationFactory(name="Acme")
    commit("owed", 60, organization_id=organization.pk)
    ended = {"ended_at": NOON}
    live_call(organization, "review", reconcile_at=None, review_reason="Too long.", **ended)
    live_call(organization, "waits", **ended)
    UnbilledCall.objects.create(vapi_call_id="x", reason="nobody pays")
    event = {"source": "vapi", "payload": {}, "received_at": NOON}
    WebhookEvent.objects.create(digest="1", status="failed", **event)
    WebhookEvent.objects.create(digest="2", attempts=3, next_attempt_at=NOON, **event)
    WebhookEvent.objects.create(digest="3", next_attempt_at=NOON, **event)
    alert = raised(organization)
    Alert.objects.filter(pk=alert.pk).update(status="nobody", next_attempt_at=None)
    WebhookEvent.objects.create(digest="4", status="unusable", **event)
    late = NOON - timedelta(minutes=3)
    WebhookEvent.objects.create(digest="5", next_attempt_at=late, **event)
    TopUpFactory(organization=organization, attention="Look here.")
    live_call(organization, "look", attention="Look here.")
    hanging_order()
    refund_under_way()

    context = staff.get(INDEX).context
    counted = {each.title: each for each in context["trouble"]}

    expected = {
        "Calls to review": 1, "Ended, no report yet": 1, "Unbilled calls": 1,
        "Stuck messages": 4, "Alerts not sent": 1, "Payments to look at": 1,
        "Numbers unpaid": 0, "Numbers stuck": 0,
        "Calls to look at": 1, "Orders stuck": 1, "Refunds under way": 1,
    }  # fmt: skip
    assert {title: int(each.value) for title, each in counted.items()} == expected
    for title, count in expected.items():
        listed = staff.get(counted[title].url).context["cl"].result_list
        assert len(listed) == count, title
        assert counted[title].is_trouble is (count > 0)
    owed = next(each for each in context["business"] if each.title == "Owed")
    assert (owed.value, owed.is_trouble) == ("£0.49", True)
    assert [row.pk for row in staff.get(owed.url).context["cl"].result_list] == [organization.pk]


def hanging_order():
    organization = OrganizationFactory(funded_pence=1_000)
    with pytest.raises(provisioning.ProvisioningInProgress):
        provisioning.provision(organization_id=organization.pk, country="GB", number_type="local")
    NumberOrder.objects.update(attention="Twilio does not answer.")


def refund_under_way():
    organization = OrganizationFactory()
    topup = TopUpFactory(organization=organization, amount_pence=5_000)
    topups.credit(payment_of(topup))
    refunds.debit(
        refund_id=uuid.uuid4(), topup_id=topup.pk, amount_pence=5_000, reason="Asked for",
        requested_by_id=UserFactory().pk,
    )  # fmt: skip


def test_without_valkey_the_dashboard_and_the_ledger_check_say_so(staff, monkeypatch):
    def fail(*_args, **_options):
        raise RedisConnectionError("nobody there")

    monkeypatch.setattr(RedisCache, "get", fail)
    monkeypatch.setattr(RedisCache, "set", fail)
    assert figures(staff)["Ledger check"][0] == "not known"
    page = reverse("admin:wallets_organization_ledger_check")
    assert "Valkey does not answer" in said(staff.get(page))
    checked = staff.post(page)
    assert checked.context["differences"] == []
    assert "All adds up" in said(checked)


def test_the_last_ledger_check_is_told_and_grows_old(staff, at_noon):
    assert figures(staff)["Ledger check"] == ("not yet", "check it now")
    staff.post(reverse("admin:wallets_organization_ledger_check"))
    assert figures(staff)["Ledger check"] == ("adds up", "checked within the hour")
    at_noon.shift(timedelta(hours=3))
    [check] = [
        each for each in staff.get(INDEX).context["business"] if each.title == "Ledger check"
    ]
    assert (check.detail, check.is_trouble) == ("checked 3 h ago", True)


# --- Long tables ------------------------------------------------------------------------------

ENTRIES, OTHERS = 100_000, 20_000
# As the tables fill in production: one long history, and a little of everybody else's.
FILL = """
INSERT INTO organizations SELECT (jsonb_populate_record(o, jsonb_build_object(
    'id', md5('o' || n)::uuid, 'name', 'Filler ' || n))).*
FROM organizations o, generate_series(1, 200) n WHERE o.name = 'Acme';

INSERT INTO credit_transactions SELECT (jsonb_populate_record(t, jsonb_build_object(
    'id', gen_random_uuid(), 'sequence', n, 'idempotency_key', 'k' || n,
    'organization_id', md5('o' || mod(n, 200) + 1)::uuid, 'reservation_id', NULL,
    'type', CASE WHEN mod(n, 50) = 0 THEN 'bonus' ELSE 'topup' END,
    'created_at', now() - n * interval '1 minute'))).*
FROM credit_transactions t, generate_series(2, {entries}) n
WHERE t.idempotency_key = 'credit:first';

INSERT INTO credit_reservations SELECT (jsonb_populate_record(r, jsonb_build_object(
    'id', gen_random_uuid(), 'call_id', 'c' || n,
    'organization_id', md5('o' || mod(n, 200) + 1)::uuid,
    'status', 'released', 'committed_pence', 0, 'released_pence', r.reserved_pence,
    'released_at', now(), 'created_at', now() - n * interval '1 minute'))).*
FROM credit_reservations r, generate_series(2, {others}) n WHERE r.call_id = 'the-call';

INSERT INTO calls SELECT (jsonb_populate_record(c, jsonb_build_object(
    'id', gen_random_uuid(), 'call_id', 'c' || n, 'vapi_call_id', 'v' || n,
    'organization_id', md5('o' || mod(n, 200) + 1)::uuid, 'settled_at', now(),
    'settled_from', 'vapi', 'charged_pence', 49, 'uncollected_pence', 0, 'reconcile_at', NULL,
    'ended_at', now() - n * interval '1 minute',
    'created_at', now() - n * interval '1 minute'))).*
FROM calls c, generate_series(2, {others}) n WHERE c.call_id = 'the-call';

INSERT INTO webhook_events SELECT (jsonb_populate_record(e, jsonb_build_object(
    'id', gen_random_uuid(), 'digest', 'd' || n, 'status', 'processed', 'next_attempt_at', NULL,
    'vapi_call_id', 'v' || n, 'organization_id', md5('o' || mod(n, 200) + 1)::uuid,
    'received_at', now() - n * interval '1 minute'))).*
FROM webhook_events e, generate_series(2, {others}) n WHERE e.digest = 'first';

INSERT INTO staff_actions SELECT (jsonb_populate_record(a, jsonb_build_object(
    'id', gen_random_uuid(), 'target_id', 't' || n,
    'organization_id', md5('o' || mod(n, 200) + 1)::uuid, 'at', now() - n * interval '1 minute'))).*
FROM staff_actions a, generate_series(2, {others}) n WHERE a.target_id = 'first';

INSERT INTO alerts SELECT (jsonb_populate_record(a, jsonb_build_object(
    'id', gen_random_uuid(), 'key', 'k' || n, 'status', 'sent', 'next_attempt_at', NULL,
    'sent_at', now(), 'organization_id', md5('o' || mod(n, 200) + 1)::uuid,
    'created_at', now() - n * interval '1 minute'))).*
FROM alerts a, generate_series(2, {others}) n;

INSERT INTO topups SELECT (jsonb_populate_record(t, jsonb_build_object(
    'id', gen_random_uuid(), 'status', 'failed', 'finished_at', now(),
    'organization_id', md5('o' || mod(n, 200) + 1)::uuid,
    'created_at', now() - n * interval '1 minute'))).*
FROM topups t, generate_series(2, {others}) n;
"""
LONG = [
    "credit_transactions",
    "credit_reservations",
    "calls",
    "webhook_events",
    "staff_actions",
    "alerts",
    "topups",
]


@pytest.fixture
def acme():
    organization = OrganizationFactory(name="Acme")
    ledger.add_credits(
        organization_id=organization.pk, amount_pence=10_000, credit_type="topup",
        description="First", idempotency_key="first",
    )  # fmt: skip
    reserve(organization, "the-call")
    live_call(organization, "the-call")
    WebhookEvent.objects.create(
        digest="first", source="vapi", payload={}, received_at=NOON, next_attempt_at=NOON
    )
    user = get_user_model().objects.create_user("bob")
    organization.staff_actions.create(
        at=NOON, user=user, username="bob", action="adjust", target_kind="x", target_id="first",
        target_name="x",
    )  # fmt: skip
    raised(organization)
    TopUpFactory(organization=organization)
    return organization


@pytest.fixture
def long_tables(acme):
    """A hundred thousand entries, and others in proportion, past the rules that bind them."""
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("SET LOCAL session_replication_role = replica")
    execute(FILL.format(entries=ENTRIES, others=OTHERS))
    execute("SET LOCAL session_replication_role = origin")
    for table in [*LONG, "organizations"]:
        execute(f"ANALYZE {table}")
    return acme


def statements(client, url):
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(url).status_code == 200
    return [each["sql"] for each in captured if each["sql"].startswith("SELECT")]


def read_whole(sql):
    """The long tables that PostgreSQL would read from end to end."""
    plan = "\n".join(line for (line,) in rows("EXPLAIN " + sql.replace("%", "%%")))
    return {table for table in LONG if re.search(rf"Seq Scan on {table}\b", plan)}


def addresses(organization):
    lists = {
        "wallets_credittransaction": ["type__exact=bonus", "direction__exact=credit"],
        "wallets_creditreservation": ["status__exact=active", "status__exact=expired"],
        "calls_call": [
            *(f"attention={kind}" for kind in
              ("needed", "review", "live", "asked", "below_cost")),
            "authorization__exact=pending",
        ],
        "webhooks_webhookevent": ["status__exact=failed", "needs=stuck", "source__exact=vapi"],
        "wallets_staffaction": ["action=adjust", "action=refund"],
        "wallets_alert": ["status__exact=failed", "needs=unsent"],
        "wallets_topup": ["attention=yes"],
    }  # fmt: skip
    for name, filters in lists.items():
        url = reverse(f"admin:{name}_changelist")
        yield url
        for query in [
            *filters,
            "q=the-call",
            f"q={organization.pk}",
            "q=Acm",
            "q=nothing+like+it",
            f"organization__id__exact={organization.pk}",
            "p=3",
        ]:
            yield f"{url}?{query}"
    yield INDEX
    yield change_of(organization)


def test_given_long_tables_then_no_page_reads_one_whole_and_none_takes_more_statements(
    staff, long_tables
):
    for url in addresses(long_tables):
        for sql in statements(staff, url):
            assert read_whole(sql) == set(), (url, sql)
    # The control: what this would see of a table without an index for it.
    assert read_whole("SELECT * FROM calls WHERE type = 'x'") == {"calls"}


def test_given_few_rows_or_many_then_a_page_takes_as_many_statements(staff, acme):
    urls = [INDEX, change_of(acme), reverse("admin:calls_call_changelist")]
    for url in urls:
        staff.get(url)  # what is asked once and then known, such as content types
    few = {url: len(statements(staff, url)) for url in urls}
    for number in range(30):
        other = OrganizationFactory(funded_pence=490)
        live_call(other, f"of another {number}")
        commit(f"{number}", 60, organization_id=acme.pk)
        live_call(acme, f"{number}")
    assert {url: len(statements(staff, url)) for url in urls} == few
    assert few[INDEX] <= 22
