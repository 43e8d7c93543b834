"""Giving numbers back, at both providers, whoever asks for it and whatever fails."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from telephony import provisioning, releases
from telephony.models import PhoneNumber
from telephony.releases import EnteredByStaff, ReleaseInProgress
from telephony.selectors import find_phone_number
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.telephony.fake_providers import RELEASE, TIME_OUT, UNREACHABLE, VAPI_RELEASE, Died
from tests.wallets.invariants import nothing_changes

pytestmark = pytest.mark.django_db


@pytest.fixture
def number(db, fake):
    organization = OrganizationFactory(funded_pence=1_000)
    provisioning.provision(organization_id=organization.pk, country="GB", number_type="local")
    fake.asked.clear()
    return PhoneNumber.objects.get()


def release(number):
    return releases.release_number(
        organization_id=number.organization_id, phone_number_id=number.pk
    )


def sweep_later(**after):
    with time_machine.travel(datetime.now(UTC) + timedelta(**after), tick=True):
        return releases.resume_releases()


@pytest.mark.django_db(transaction=True)
def test_a_number_is_released_first_at_vapi_then_at_twilio_and_costs_nothing(number, fake):
    with nothing_changes():
        released = release(number)

    assert released.status == "released"
    assert fake.twilio == fake.vapi == {}
    assert fake.asked == [VAPI_RELEASE, RELEASE]
    assert fake.in_transaction == []
    assert released.rent_attempt_at is None


def test_a_released_number_is_found_by_its_vapi_id_alone_and_may_be_had_again(number, fake):
    release(number)

    by_digits = find_phone_number(vapi_phone_number_id=None, number=number.number)
    by_id = find_phone_number(
        vapi_phone_number_id=number.vapi_phone_number_id, number=number.number
    )
    assert by_digits is None
    assert by_id == number
    again = PhoneNumberFactory(number=number.number)
    assert find_phone_number(vapi_phone_number_id=None, number=number.number) == again


def test_released_again_it_is_left_as_it_is(number, fake):
    release(number)
    fake.asked.clear()
    assert release(number).status == "released"
    assert fake.asked == []


def test_a_number_that_is_gone_at_both_is_released(number, fake):
    fake.twilio.clear()
    fake.vapi.clear()
    assert release(number).status == "released"


@pytest.mark.parametrize("what", [TIME_OUT, UNREACHABLE, (500, None), (429, None), (401, {})])
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("operation", [VAPI_RELEASE, RELEASE])
def test_what_a_provider_does_not_do_now_the_sweep_does(number, fake, operation, done, what):
    fake.fail(operation, what, done=done)
    with pytest.raises(ReleaseInProgress):
        release(number)
    number.refresh_from_db()
    assert (number.status, number.rent_attempt_at) == ("releasing", None)

    assert sweep_later(minutes=1) == 1

    assert fake.twilio == fake.vapi == {}
    assert release(number).status == "released"


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("operation", [VAPI_RELEASE, RELEASE])
def test_a_death_at_either_provider_is_made_good_by_the_sweep(number, fake, operation, done):
    fake.fail(operation, Died, done=done)
    with pytest.raises(Died):
        release(number)
    with pytest.raises(ReleaseInProgress):
        release(number)

    assert sweep_later(minutes=1) == 0
    assert sweep_later(minutes=3) == 1

    assert fake.twilio == fake.vapi == {}


def test_staff_see_a_release_that_does_not_come_to_an_end(number, fake):
    fake.fail(VAPI_RELEASE, TIME_OUT, times=None)
    with pytest.raises(ReleaseInProgress):
        release(number)
    for hours in range(1, 10):
        sweep_later(hours=hours)
    number.refresh_from_db()
    assert "Vapi did not answer" in number.attention
    assert len(fake.twilio) == 1, "a number that Vapi may still have is not sold to others"

    fake.faults.clear()
    sweep_later(hours=12)
    number.refresh_from_db()
    assert (number.status, number.attention) == ("released", "")


def test_somebody_elses_number_is_not_found(number, fake):
    with pytest.raises(PhoneNumber.DoesNotExist):
        releases.release_number(organization_id=OrganizationFactory().pk, phone_number_id=number.pk)
    assert fake.asked == []


def test_staff_have_a_number_released_by_the_sweep(number, fake):
    releases.release_by_staff(number.pk)
    assert fake.asked == []
    assert sweep_later(seconds=1) == 1
    assert fake.twilio == fake.vapi == {}


class TestANumberThatStaffEntered:
    def test_is_not_the_customers_to_release(self, fake):
        number = PhoneNumberFactory()
        with pytest.raises(EnteredByStaff, match="our staff"):
            release(number)
        number.refresh_from_db()
        assert number.status == "active"

    def test_is_detached_by_staff_and_neither_provider_hears_of_it(self, fake):
        number = PhoneNumberFactory()
        vapi_id = number.vapi_phone_number_id

        for _ in range(2):
            releases.release_by_staff(number.pk)

        assert sweep_later(minutes=1) == 0
        assert fake.asked == []
        assert find_phone_number(vapi_phone_number_id=vapi_id, number=number.number) is None
        PhoneNumberFactory(number=number.number, vapi_phone_number_id=vapi_id)
