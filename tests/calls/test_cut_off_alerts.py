"""Calls that ended for want of money are told of, many in one e-mail."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core import mail
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from calls import live
from tests.calls import test_live
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.wallets.steps import suspend, top_up
from tests.webhooks.fixtures import START
from tests.webhooks.vapi_payloads import VapiCall
from wallets.alerts import CutOffCall, tell_of_calls_cut_off
from wallets.alerts.cut_off import MOST_LISTED
from wallets.models import Alert, AlertRecipient
from wallets.tasks import send_alerts

pytestmark = pytest.mark.django_db

started = test_live.started
sweep_until = test_live.sweep_until

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def site(settings):
    settings.SITE_URL = "https://billing.example.com"


@pytest.fixture
def organization():
    organization = OrganizationFactory()
    AlertRecipient.objects.create(organization=organization, email="ann@example.com")
    return organization


def cut_off(organization, *call_ids, at=NOON):
    calls = [CutOffCall(call_id=one, number=None, started_at=at) for one in call_ids]
    with time_machine.travel(at, tick=False), transaction.atomic():
        tell_of_calls_cut_off({organization.pk: calls})


def told(organization):
    """What each e-mail lists, in the order in which they are due."""
    alerts = Alert.objects.filter(organization=organization, kind="calls_cut_off").order_by("key")
    return [[call["call_id"] for call in alert.context["calls"]] for alert in alerts]


def send_at(at):
    with time_machine.travel(at, tick=False):
        return send_alerts()


class TestCollecting:
    def test_given_calls_within_a_minute_then_they_are_one_e_mail(self, organization):
        cut_off(organization, "a", "b")
        cut_off(organization, "c", at=NOON + timedelta(seconds=50))
        assert send_at(NOON + timedelta(seconds=59)) == 0

        assert send_at(NOON + timedelta(seconds=61)) == 1

        assert told(organization) == [["a", "b", "c"]]
        [message] = mail.outbox
        assert message.subject == "3 calls ended because the balance was used up"
        for part in (message.body, message.alternatives[0].content):
            assert "begun 2 March, 12:00:50" in part

    def test_given_more_calls_within_a_quarter_of_an_hour_then_they_wait_for_its_end(
        self, organization
    ):
        cut_off(organization, "a")
        send_at(NOON + timedelta(minutes=2))
        cut_off(organization, "b", at=NOON + timedelta(minutes=3))
        cut_off(organization, "c", at=NOON + timedelta(minutes=14))

        assert told(organization) == [["a"], ["b", "c"]]
        assert send_at(NOON + timedelta(minutes=15)) == 0
        assert send_at(NOON + timedelta(minutes=16)) == 1

    def test_given_more_calls_an_hour_later_then_they_are_told_within_minutes(self, organization):
        cut_off(organization, "a")
        send_at(NOON + timedelta(minutes=2))
        cut_off(organization, "b", at=NOON + timedelta(hours=1))

        assert send_at(NOON + timedelta(hours=1, minutes=1)) == 1

    def test_given_an_e_mail_that_could_not_be_sent_then_it_is_not_added_to(self, organization):
        cut_off(organization, "a")
        Alert.objects.update(attempts=1)
        cut_off(organization, "b")

        assert told(organization) == [["a"], ["b"]]

    def test_given_a_day_of_cut_offs_then_there_are_four_e_mails_an_hour_at_most(
        self, organization
    ):
        for minute in range(24 * 60):
            at = NOON + timedelta(minutes=minute)
            cut_off(organization, f"call-{minute}", at=at)
            send_at(at)

        assert 24 * 4 <= len(told(organization)) <= 24 * 4 + 1
        listed = [call_id for e_mail in told(organization) for call_id in e_mail]
        assert listed == [f"call-{minute}" for minute in range(24 * 60)]

    def test_given_hundreds_then_all_are_counted_and_the_first_are_listed(self, organization):
        cut_off(organization, *(f"call-{number}" for number in range(300)))
        cut_off(organization, *(f"late-{number}" for number in range(200)))

        alert = Alert.objects.get(kind="calls_cut_off")
        assert alert.context["count"] == 500
        assert told(organization) == [[f"call-{number}" for number in range(MOST_LISTED)]]

    def test_many_organizations_need_no_more_statements_than_one(self, organization):
        others = [OrganizationFactory() for _ in range(5)]
        call = CutOffCall(call_id="a", number=None, started_at=None)
        counts = []
        for concerned in ([organization], others):
            for _ in ("new", "open"):
                with CaptureQueriesContext(connection) as captured:
                    tell_of_calls_cut_off({one.pk: [call] for one in concerned})
                counts.append(len(captured))

        assert counts[:2] == counts[2:]


class TestCalls:
    def test_given_calls_that_empty_a_wallet_then_all_are_in_one_e_mail(self, started, clock):
        organization = OrganizationFactory(funded_pence=10 * 49)
        calls = started(organization, 2)

        sweep_until(clock, 600)

        alert = Alert.objects.get(organization=organization, kind="calls_cut_off")
        assert alert.context["count"] == 2
        assert {call["call_id"] for call in alert.context["calls"]} == {call.id for call in calls}
        assert {call["number"] for call in alert.context["calls"]} == {calls[0].number.number}
        assert {call["started_at"] for call in alert.context["calls"]} == {
            START.isoformat().replace("+00:00", "Z")
        }

    def test_given_a_status_check_that_ends_a_call_then_it_is_told_once(
        self,
        started,
        clock,
        vapi,
    ):
        organization = OrganizationFactory(funded_pence=49)
        [call] = started(organization)
        clock.at(70)
        for _ in range(3):
            assert vapi.check(call)["endCall"]
        live.watch()

        assert told(organization) == [[call.id]]

    def test_given_a_call_that_nobody_paid_for_then_it_is_told(self, vapi, clock):
        number = PhoneNumberFactory()
        call = VapiCall(number=number)
        clock.at(0)
        vapi.send(call.status("in-progress", START))
        vapi.send(call.status("in-progress", START, again=1))

        assert told(number.organization) == [[call.id]]

    def test_given_a_suspended_account_then_its_calls_did_not_end_for_want_of_money(
        self,
        started,
        clock,
    ):
        organization = OrganizationFactory(funded_pence=10_000)
        started(organization)
        suspend(organization)
        sweep_until(clock, 5)
        live.watch()

        assert told(organization) == []

    def test_given_a_top_up_in_time_then_there_is_nothing_to_tell(self, started, clock):
        organization = OrganizationFactory(funded_pence=49)
        started(organization)
        top_up(organization, 1_000)
        sweep_until(clock, 300)

        assert told(organization) == []
