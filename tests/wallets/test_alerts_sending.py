"""Sending: once each, again when it failed, to whom it should, and never from a transaction."""

import smtplib
import threading
from datetime import timedelta
from unittest import mock

import pytest
import time_machine
from django.core import mail
from django.core.cache import cache
from django.core.mail import EmailMultiAlternatives
from django.db import connection, transaction
from django.utils import timezone

from tests.concurrency.harness import run_together
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory
from tests.wallets.alerts import raised
from wallets.alerts import Kind, sending
from wallets.models import Alert, AlertRecipient, Membership
from wallets.tasks import send_alerts


@pytest.fixture(autouse=True)
def site(settings):
    settings.SITE_URL = "https://billing.example.com"


@pytest.fixture
def organization(db):
    organization = OrganizationFactory()
    AlertRecipient.objects.create(organization=organization, email="ann@example.com")
    return organization


@pytest.fixture
def mail_server(monkeypatch):
    """What stands in for the mail server: it fails as it is told, and counts."""
    server = mock.Mock(return_value=1)
    monkeypatch.setattr(EmailMultiAlternatives, "send", lambda message: server(message.subject))
    return server


def later(**duration):
    return time_machine.travel(timezone.now() + timedelta(**duration), tick=False)


def test_given_an_alert_then_it_is_sent_in_both_parts_and_marked(organization):
    alert = raised(organization)

    assert send_alerts() == 1

    [message] = mail.outbox
    assert (message.to, message.subject) == (["ann@example.com"], "Refund of £25.00")
    assert "We refunded £25.00" in message.body
    assert "We refunded £25.00" in message.alternatives[0].content
    alert.refresh_from_db()
    assert (alert.status, alert.sent_to, alert.attempts) == ("sent", "ann@example.com", 1)
    assert alert.sent_at is not None


def test_given_an_alert_that_was_sent_then_it_is_not_sent_again(organization):
    raised(organization)
    send_alerts()

    with later(days=2):
        assert send_alerts() == 0

    assert len(mail.outbox) == 1


def test_given_an_alert_that_is_not_due_yet_then_it_waits(organization):
    raised(organization)
    Alert.objects.update(next_attempt_at=timezone.now() + timedelta(minutes=1))

    assert send_alerts() == 0

    with later(minutes=2):
        assert send_alerts() == 1


class TestRecipients:
    def test_given_addresses_that_were_chosen_then_the_owners_get_nothing(self, organization):
        AlertRecipient.objects.create(organization=organization, email="bob@example.com")
        self.owner(organization, "owner@example.com")
        raised(organization)

        send_alerts()

        assert mail.outbox[0].to == ["ann@example.com", "bob@example.com"]

    def test_given_none_then_the_owners_get_it(self, db):
        organization = OrganizationFactory()
        self.owner(organization, "owner@example.com")
        self.owner(organization, "also@example.com")
        self.owner(organization, "")
        self.owner(organization, "viewer@example.com", role=Membership.Role.VIEWER)
        self.owner(organization, "gone@example.com", is_active=False)
        self.owner(OrganizationFactory(), "other@example.com")
        raised(organization)

        send_alerts()

        assert mail.outbox[0].to == ["also@example.com", "owner@example.com"]

    def test_given_nobody_at_all_then_that_is_recorded_and_can_be_sent_later(self, db):
        organization = OrganizationFactory()
        alert = raised(organization)

        assert send_alerts() == 0

        alert.refresh_from_db()
        assert (alert.status, alert.next_attempt_at) == ("nobody", None)
        AlertRecipient.objects.create(organization=organization, email="ann@example.com")
        assert sending.send_again(alert)
        assert send_alerts() == 1

    def owner(self, organization, email, role=Membership.Role.OWNER, is_active=True):
        user = UserFactory(email=email, is_active=is_active)
        return MembershipFactory(organization=organization, user=user, role=role)


class TestFailures:
    def test_given_a_mail_server_that_fails_then_it_is_sent_by_a_later_sweep(
        self, organization, mail_server
    ):
        alert = raised(organization)
        mail_server.side_effect = smtplib.SMTPServerDisconnected("gone")

        assert send_alerts() == 0

        alert.refresh_from_db()
        assert (alert.status, alert.attempts) == ("pending", 1)
        assert alert.last_error == "SMTPServerDisconnected: gone"
        mail_server.side_effect = None
        assert send_alerts() == 0
        with later(minutes=1, seconds=1):
            assert send_alerts() == 1
        alert.refresh_from_db()
        assert (alert.status, alert.last_error) == ("sent", "")

    def test_given_a_mail_server_that_is_down_then_each_sweep_asks_it_once(
        self, organization, mail_server
    ):
        for number in range(5):
            raised(organization, key=str(number))
        mail_server.side_effect = TimeoutError

        send_alerts()

        assert mail_server.call_count == 1

    @pytest.mark.parametrize(
        "refusal",
        [
            smtplib.SMTPRecipientsRefused({"gone@example.com": (550, b"no such user")}),
            smtplib.SMTPDataError(554, b"not taken"),
        ],
    )
    def test_given_a_recipient_that_is_refused_then_the_others_are_sent(
        self, organization, mail_server, refusal
    ):
        for number in range(3):
            raised(organization, key=str(number))
        mail_server.side_effect = [refusal, refusal, 1]

        assert send_alerts() == 1

        assert mail_server.call_count == 3

    def test_given_one_that_cannot_be_written_then_the_others_are_sent(self, organization):
        broken = raised(organization, key="broken")
        Alert.objects.filter(pk=broken.pk).update(context={"amount_pence": "no number"})
        raised(organization)

        assert send_alerts() == 1

        broken.refresh_from_db()
        assert (broken.status, broken.attempts) == ("pending", 1)
        assert broken.last_error

    def test_given_that_it_always_fails_then_it_is_given_up_and_staff_are_told(
        self, organization, mail_server, caplog
    ):
        alert = raised(organization)
        mail_server.side_effect = OSError("no route\0")
        began_at = timezone.now()
        waited = []

        for _ in range(sending.MAX_ATTEMPTS):
            alert.refresh_from_db()
            waited.append(alert.next_attempt_at - began_at)
            with time_machine.travel(alert.next_attempt_at, tick=False):
                send_alerts()

        alert.refresh_from_db()
        assert (alert.status, alert.next_attempt_at) == ("failed", None)
        assert alert.attempts == mail_server.call_count == sending.MAX_ATTEMPTS
        assert waited == sorted(waited)
        assert timedelta(hours=6) < waited[-1] < timedelta(hours=8)
        assert "alert_given_up" in caplog.text
        with later(days=1):
            send_alerts()
        assert mail_server.call_count == sending.MAX_ATTEMPTS

    def test_given_one_that_was_given_up_then_staff_can_have_it_sent_again(
        self, organization, mail_server
    ):
        alert = raised(organization)
        Alert.objects.update(status="failed", next_attempt_at=None, attempts=12)

        assert sending.send_again(alert)
        assert send_alerts() == 1
        assert not sending.send_again(alert)

    def test_given_a_sender_that_died_then_it_is_sent_again_after_its_claim(
        self, organization, mail_server
    ):
        raised(organization)
        mail_server.side_effect = SystemExit
        with pytest.raises(SystemExit):
            send_alerts()
        mail_server.side_effect = None

        with later(minutes=9):
            assert send_alerts() == 0
        with later(minutes=11):
            assert send_alerts() == 1

    def test_given_a_sender_that_was_too_slow_then_it_does_not_undo_what_another_did(
        self, organization, mail_server
    ):
        alert = raised(organization)

        def slow(subject):
            # Meanwhile the claim ran out, and another sent it.
            Alert.objects.update(
                attempts=2, status="sent", next_attempt_at=None, sent_at=timezone.now()
            )
            raise OSError

        mail_server.side_effect = slow
        send_alerts()

        alert.refresh_from_db()
        assert (alert.status, alert.attempts, alert.last_error) == ("sent", 2, "")


class TestTurns:
    def test_given_that_somebody_is_sending_then_nobody_else_waits_for_the_mail_server(
        self, organization
    ):
        raised(organization)
        cache.add(sending._TURN, 1, timeout=sending.TURN_SECONDS)

        assert send_alerts() == 0

        cache.delete(sending._TURN)
        assert send_alerts() == 1

    def test_the_turn_is_over_when_it_is_done_or_failed(self, organization, monkeypatch):
        monkeypatch.setattr(sending, "_send_until", mock.Mock(side_effect=ZeroDivisionError))
        with pytest.raises(ZeroDivisionError):
            send_alerts()

        assert cache.get(sending._TURN) is None


@pytest.mark.django_db(transaction=True)
class TestForReal:
    """With transactions of its own."""

    def test_the_mail_server_is_asked_outside_any_transaction_and_lock(self, mail_server):
        organization = OrganizationFactory()
        AlertRecipient.objects.create(organization=organization, email="ann@example.com")
        raised_in_transaction(organization)

        def look(subject):
            assert not connection.in_atomic_block
            # Whoever wants the row can have it.
            with transaction.atomic():
                Alert.objects.select_for_update(nowait=True).get()

        mail_server.side_effect = look

        assert send_alerts() == 1

    def test_sending_in_a_transaction_is_refused(self):
        with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
            send_alerts()

    def test_given_two_workers_that_send_at_once_then_each_alert_is_sent_once(
        self, mail_server, monkeypatch
    ):
        """Also without turns, which only spare the mail server."""
        monkeypatch.setattr(sending, "cache", mock.Mock())
        organization = OrganizationFactory()
        AlertRecipient.objects.create(organization=organization, email="ann@example.com")
        for number in range(20):
            raised_in_transaction(organization, key=str(number))

        outcomes = run_together([send_alerts] * 4)

        assert all(outcome.succeeded for outcome in outcomes)
        assert sum(outcome.result for outcome in outcomes) == 20
        assert mail_server.call_count == 20
        assert set(Alert.objects.values_list("status", "attempts")) == {("sent", 1)}

    def test_control_without_the_claim_two_workers_send_the_same(self, mail_server, monkeypatch):
        organization = OrganizationFactory()
        AlertRecipient.objects.create(organization=organization, email="ann@example.com")
        raised_in_transaction(organization)

        def look_only():
            due = Alert.objects.filter(next_attempt_at__lte=timezone.now())
            return due.first()

        monkeypatch.setattr(sending, "cache", mock.Mock())
        monkeypatch.setattr(sending, "_claim_next", look_only)
        together = threading.Barrier(2, timeout=60)
        mail_server.side_effect = lambda subject: together.wait()

        run_together([send_alerts] * 2)

        assert mail_server.call_count == 2


def raised_in_transaction(organization, **changes):
    with transaction.atomic():
        return raised(organization, Kind.REFUND_MADE, **changes)
