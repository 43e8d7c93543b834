"""What the database itself refuses about orders, whoever asks."""

import contextlib
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, transaction

from telephony import order_steps, provisioning
from telephony.models import NumberOrder, PhoneNumber
from tests.factories import OrganizationFactory
from tests.telephony.fake_providers import BUY, IMPORT, TIME_OUT, Died
from tests.wallets.invariants import execute

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def orders(fake, monkeypatch):
    """An order in every state that a purchase can stop at."""
    organization = OrganizationFactory(funded_pence=10_000)

    def buy(key):
        with contextlib.suppress(
            provisioning.ProvisioningInProgress, provisioning.ProvisioningFailed, Died
        ):
            provisioning.provision(
                organization_id=organization.pk,
                country="GB",
                number_type="local",
                idempotency_key=key,
            )
        return NumberOrder.objects.get(idempotency_key=key)

    made = {"active": buy("active")}
    fake.fail(BUY, TIME_OUT)
    made["charged"] = buy("charged")
    fake.fail(IMPORT, TIME_OUT)
    made["bought"] = buy("bought")
    fake.fail(IMPORT, (400, {"message": "no"}))
    made["refunded"] = buy("refunded")
    fake.fail(IMPORT, (400, {"message": "no"}))
    with monkeypatch.context() as dying:
        dying.setattr(order_steps, "_refund", Mock(side_effect=Died))
        made["cancelling"] = buy("cancelling")
    assert {name: order.status for name, order in made.items()} == {name: name for name in made}
    return made


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ("charged", {"status": "active"}),
        ("charged", {"status": "imported"}),
        ("charged", {"status": "refunded"}),
        ("charged", {"status": "bought"}),
        ("charged", {"status": "cancelling"}),
        ("charged", {"status": "lost"}),
        ("charged", {"twilio_sid": "PN1"}),
        ("charged", {"work_due_at": None}),
        ("charged", {"number": ""}),
        ("charged", {"number_type": "pager"}),
        ("charged", {"price_pence": 1}),
        ("charged", {"idempotency_key": "another"}),
        ("charged", {"failure_code": "lost"}),
        ("charged", {"finished_at": NOW}),
        ("bought", {"status": "charged", "twilio_sid": None}),
        ("bought", {"twilio_sid": None}),
        ("bought", {"status": "imported"}),
        ("bought", {"status": "active", "vapi_phone_number_id": "v"}),
        ("active", {"status": "cancelling", "failure_code": "lost", "phone_number": None}),
        ("active", {"phone_number": None}),
        ("active", {"work_due_at": NOW}),
        ("active", {"finished_at": NOW}),
        ("cancelling", {"status": "active"}),
        ("cancelling", {"status": "bought", "failure_code": ""}),
        ("cancelling", {"status": "refunded"}),
        ("cancelling", {"failure_code": ""}),
        ("refunded", {"refund": None}),
        ("refunded", {"status": "cancelling", "refund": None, "finished_at": None}),
        ("refunded", {"failure_code": "another"}),
    ],
)
def test_an_order_cannot_be_made_what_it_is_not(orders, status, change):
    with pytest.raises(IntegrityError), transaction.atomic():
        NumberOrder.objects.filter(pk=orders[status].pk).update(**change)


def test_no_two_orders_have_a_key_a_charge_or_a_number(orders):
    first, second = orders["active"], orders["charged"]
    copy = {
        "organization": second.organization,
        "country": "GB",
        "number_type": "local",
        "price_pence": 1,
        "created_at": NOW,
        "work_due_at": NOW,
    }
    free = second.organization.entries.get(type="topup")
    for wrong in (
        {"idempotency_key": second.idempotency_key, "charge": free},
        {"idempotency_key": "new", "charge": second.charge},
        {"idempotency_key": "new", "charge": free, "number": second.number},
        {"idempotency_key": "new", "charge": free, "price_pence": 0},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            NumberOrder.objects.create(**copy | wrong)
    with pytest.raises(IntegrityError), transaction.atomic():
        PhoneNumber.objects.create(
            organization=first.organization, number=first.number, twilio_sid="PNother"
        )


@pytest.mark.parametrize("status", ["charged", "bought", "cancelling", "refunded"])
def test_no_other_order_has_the_number_of_one_that_is_due(orders, status):
    other = orders["bought" if status == "charged" else "charged"]
    with pytest.raises(IntegrityError, match="number_at_work_once"), transaction.atomic():
        NumberOrder.objects.filter(pk=other.pk).update(number=orders[status].number)


def test_a_refunded_order_that_is_due_no_more_leaves_its_number_to_others(orders):
    refunded = orders["refunded"]
    NumberOrder.objects.filter(pk=refunded.pk).update(work_due_at=None)
    assert NumberOrder.objects.filter(pk=orders["charged"].pk).update(number=refunded.number) == 1


def test_given_a_number_that_two_orders_had_when_migrated_then_staff_are_told_of_the_older(orders):
    older, newer = orders["refunded"], orders["charged"]
    # PostgreSQL rolls DDL back too, so the test's database is left as it was.
    with transaction.atomic():
        # An index is not made while checks of rows of this transaction are still to come.
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        call_command("migrate", "telephony", "0004", verbosity=0)
        NumberOrder.objects.filter(pk=newer.pk).update(number=older.number)

        call_command("migrate", "telephony", verbosity=0)

        older.refresh_from_db()
        newer.refresh_from_db()
        transaction.set_rollback(True)
    assert older.work_due_at is None
    assert older.provider_key in older.attention
    assert newer.work_due_at is not None
    assert newer.attention == ""


@pytest.mark.parametrize("status", ["charged", "bought", "active", "cancelling", "refunded"])
def test_orders_are_not_deleted(orders, status):
    with pytest.raises(DatabaseError, match="never deleted"), transaction.atomic():
        NumberOrder.objects.filter(pk=orders[status].pk)._raw_delete("default")
