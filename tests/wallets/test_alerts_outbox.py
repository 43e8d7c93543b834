"""Writing alerts down: with the fact, once for each, and complete."""

from unittest import mock

import pytest
from celery import current_app
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from tests.factories import OrganizationFactory
from wallets.alerts import Kind, outbox, raise_alert
from wallets.models import Alert, AlertRecipient

REFUND = {"amount_pence": 500, "reference": "re_1", "balance_pence": -20}


@pytest.fixture
def organization(db):
    return OrganizationFactory()


@pytest.fixture
def sent_tasks():
    with mock.patch.object(current_app, "send_task") as send_task:
        yield send_task


def raise_refund(organization, key="re_1"):
    raise_alert(organization.pk, Kind.REFUND_MADE, key=key, context=REFUND)


def test_given_a_fact_then_it_is_written_down_and_sent_once_it_is_committed(
    organization, sent_tasks, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        raise_refund(organization)
        assert not sent_tasks.called

    alert = Alert.objects.get()
    assert (alert.kind, alert.key, alert.status) == ("refund_made", "re_1", "pending")
    assert alert.context == REFUND
    assert alert.next_attempt_at <= timezone.now()
    sent_tasks.assert_called_once_with(outbox.SEND_TASK, expires=60)


def test_given_a_fact_that_is_told_again_then_there_is_one_alert(organization):
    raise_refund(organization)
    raise_refund(organization)
    raise_refund(organization, key="re_2")
    raise_refund(OrganizationFactory())

    assert sorted(Alert.objects.values_list("key", flat=True)) == ["re_1", "re_1", "re_2"]


def test_given_a_fact_that_is_rolled_back_then_nobody_is_told(organization, sent_tasks):
    with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012
        raise_refund(organization)
        raise ZeroDivisionError

    assert not Alert.objects.exists()
    assert not sent_tasks.called


@pytest.mark.django_db(transaction=True)
def test_given_a_broker_that_is_down_then_the_fact_is_committed_all_the_same(sent_tasks):
    sent_tasks.side_effect = OSError("no broker")
    organization = OrganizationFactory()

    with transaction.atomic():
        raise_refund(organization)

    assert sent_tasks.called
    assert Alert.objects.get().status == "pending"


@pytest.mark.parametrize("context", [{}, REFUND | {"more": 1}, {"amount_pence": 1}])
def test_given_other_figures_than_the_kind_tells_then_it_is_refused(organization, context):
    with pytest.raises(ValueError, match="amount_pence, balance_pence, reference"):
        raise_alert(organization.pk, Kind.REFUND_MADE, key="re_1", context=context)


def test_every_kind_says_what_it_tells():
    assert set(outbox.FIGURES) == set(Kind)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "pending", "next_attempt_at": None},
        {"status": "sent", "next_attempt_at": None, "sent_at": None},
        {"status": "failed"},
        {"status": "nobody", "next_attempt_at": None, "sent_at": timezone.now()},
        {"status": "made up"},
    ],
)
def test_the_database_refuses_an_alert_whose_times_are_not_its_statuss(organization, wrong):
    raise_refund(organization)

    with pytest.raises(IntegrityError, match="alerts_times_match_status"):
        Alert.objects.update(**wrong)


def test_the_database_refuses_a_second_alert_of_a_fact_and_a_second_recipient(organization):
    raise_refund(organization)
    raise_refund(organization, key="re_2")
    AlertRecipient.objects.create(organization=organization, email="ann@example.com")

    with pytest.raises(IntegrityError, match="alerts_once_per_fact"), transaction.atomic():
        Alert.objects.update(key="re_3")
    with (
        pytest.raises(IntegrityError, match="alert_recipients_organization_id_email"),
        transaction.atomic(),
    ):
        AlertRecipient.objects.create(organization=organization, email="ann@example.com")


@pytest.mark.parametrize("name", ["", "London", "Europe", "Europe/Atlantis", "../etc", "FOO3"])
def test_what_is_no_time_zone_is_refused(organization, name):
    organization.time_zone = name

    with pytest.raises(ValidationError, match=r"time zone|blank"):
        organization.full_clean()


def test_a_time_zone_is_taken(organization):
    organization.time_zone = "America/New_York"

    organization.full_clean()
