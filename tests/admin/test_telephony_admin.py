"""What staff can and cannot do about phone numbers."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from telephony import provisioning, releases, rentals
from telephony.admin import Release
from telephony.models import NumberOrder, PhoneNumber
from tests.admin.steps import ask, ask_of_several, confirm, said
from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.telephony.conftest import fake
from tests.telephony.fake_providers import BUY, TIME_OUT
from tests.wallets.invariants import execute
from wallets import ledger

__all__ = ["fake"]

pytestmark = pytest.mark.django_db

NUMBERS = "admin:telephony_phonenumber_changelist"
ORDERS = "admin:telephony_numberorder_changelist"


@pytest.fixture
def staff(client):
    client.force_login(get_user_model().objects.create_superuser("staff", password="secret"))
    return client


@pytest.fixture
def number(fake):
    organization = OrganizationFactory(funded_pence=1_000)
    provisioning.provision(organization_id=organization.pk, country="GB", number_type="local")
    return PhoneNumber.objects.get()


def change_page(row):
    return reverse(f"admin:telephony_{row._meta.model_name}_change", args=[row.pk])


def shown(client, address, **query):
    return [row.pk for row in client.get(reverse(address), query).context["cl"].result_list]


def test_of_a_bought_number_staff_set_the_assistant_and_nothing_else(staff, number):
    assistant = AssistantFactory(organization=number.organization)
    sent = {
        "assistant": str(assistant.pk),
        "number": "+442079460999",
        "organization": str(OrganizationFactory().pk),
        "vapi_phone_number_id": "another",
        "monthly_price_pence": 1,
        "status": "released",
    }

    assert staff.post(change_page(number), sent).status_code == 302

    before = PhoneNumber.objects.filter(pk=number.pk).values().get()
    number.assistant = assistant
    assert before == {name: getattr(number, name) for name in before}


def test_another_organizations_assistant_is_refused(staff, number):
    response = staff.post(change_page(number), {"assistant": str(AssistantFactory().pk)})
    assert "This assistant belongs to" in response.content.decode()


def test_an_assistant_that_answers_a_number_stays_with_its_organization(staff):
    number = PhoneNumberFactory()
    assistant = AssistantFactory(organization=number.organization)
    number.assistant = assistant
    number.save()
    sent = {
        "organization": str(OrganizationFactory().pk),
        "name": "A",
        "vapi_assistant_id": assistant.vapi_assistant_id,
        "max_duration_seconds": 600,
    }
    refused = staff.post(change_page(assistant), sent)
    assert f"It answers {number} of" in refused.content.decode()
    number.assistant = None
    number.save()
    assert staff.post(change_page(assistant), sent).status_code == 302


def test_the_database_refuses_another_organizations_assistant():
    number = PhoneNumberFactory(assistant=None)
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    theirs = AssistantFactory()
    number.assistant = theirs
    with (
        pytest.raises(IntegrityError, match="phone_numbers_assistant_of_organization"),
        transaction.atomic(),
    ):
        number.save()
    own = AssistantFactory(organization=number.organization)
    number.assistant = own
    number.save()
    own.organization = theirs.organization
    with (
        pytest.raises(IntegrityError, match="phone_numbers_assistant_of_organization"),
        transaction.atomic(),
    ):
        own.save()


def test_a_bought_number_cannot_be_deleted(staff, number):
    delete = reverse("admin:telephony_phonenumber_delete", args=[number.pk])
    assert staff.post(delete, {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [str(number.pk)], "post": "yes"}
    staff.post(reverse(NUMBERS), chosen)
    assert PhoneNumber.objects.filter(pk=number.pk).exists()


def test_a_number_that_staff_enter_is_theirs_to_change_and_delete(staff):
    organization = OrganizationFactory()
    added = {"organization": str(organization.pk), "number": "+442079460123"}
    staff.post(reverse("admin:telephony_phonenumber_add"), added)
    entered = PhoneNumber.objects.get()
    assert entered.monthly_price_pence is None

    staff.post(change_page(entered), added | {"number": "+442079460124"})
    entered.refresh_from_db()
    assert entered.number == "+442079460124"
    staff.post(reverse("admin:telephony_phonenumber_delete", args=[entered.pk]), {"post": "yes"})
    assert not PhoneNumber.objects.exists()


def test_a_number_in_use_cannot_be_entered_again(staff, number):
    added = {"organization": str(OrganizationFactory().pk), "number": number.number}
    response = staff.post(reverse("admin:telephony_phonenumber_add"), added)
    assert f"This number belongs to {number.organization}." in response.content.decode()
    assert PhoneNumber.objects.count() == 1


def test_a_release_is_confirmed_first_and_then_done_by_the_sweep(staff, number, fake):
    by_hand = PhoneNumberFactory()

    shown_first = ask_of_several(staff, [number, by_hand], Release)

    assert number.number in said(shown_first)
    assert "only detached here" in said(shown_first)
    assert set(PhoneNumber.objects.values_list("status", flat=True)) == {"active"}

    confirm(staff, shown_first)
    assert len(fake.twilio) == 1
    releases.resume_releases()
    assert set(PhoneNumber.objects.values_list("status", flat=True)) == {"released"}
    assert fake.twilio == fake.vapi == {}


def test_staff_who_may_only_look_release_nothing(client, number):
    reader = get_user_model().objects.create_user("reader", password="secret", is_staff=True)
    reader.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(reader)
    ask_of_several(client, [number], Release)
    for step in ("ask", "confirm"):
        assert ask(client, number, Release, step=step).status_code == 403
    number.refresh_from_db()
    assert number.status == "active"


def test_staff_see_a_release_for_want_of_money_coming(staff, number):
    unanswered = PhoneNumberFactory(assistant=None)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=32), tick=False):
        rentals.charge_rents()
    number.refresh_from_db()
    by = number.rent_unpaid_since + rentals.GRACE

    assert shown(staff, NUMBERS, needs="money") == [number.pk]
    page = staff.get(reverse(NUMBERS), {"needs": "money"}).content.decode()
    assert date_format(timezone.localtime(by), "DATETIME_FORMAT") in page
    assert set(shown(staff, NUMBERS, needs="assistant")) == {number.pk, unanswered.pk}
    assert shown(staff, NUMBERS, needs="attention") == []
    PhoneNumber.objects.filter(pk=number.pk).update(attention="Vapi did not answer.")
    assert shown(staff, NUMBERS, needs="attention") == [number.pk]


def test_staff_see_orders_that_are_stuck_and_cannot_change_them(staff, number, fake):
    ledger.add_credits(
        organization_id=number.organization_id, amount_pence=1_000, credit_type="bonus",
        description="Bonus", idempotency_key="bonus",
    )  # fmt: skip
    fake.fail(BUY, TIME_OUT)
    with pytest.raises(provisioning.ProvisioningInProgress):
        provisioning.provision(
            organization_id=number.organization_id, country="GB", number_type="local"
        )
    stuck = NumberOrder.objects.get(finished_at=None)
    assert shown(staff, ORDERS, progress="open") == [stuck.pk]
    assert shown(staff, ORDERS, progress="attention") == []
    NumberOrder.objects.filter(pk=stuck.pk).update(attention="Twilio did not answer.")
    assert shown(staff, ORDERS, progress="attention") == [stuck.pk]
    assert staff.get(change_page(stuck)).status_code == 200
    assert staff.post(change_page(stuck), {"status": "refunded"}).status_code == 403
