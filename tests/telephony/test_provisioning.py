"""Buying a number: what becomes of the money, and of the number at both providers."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from telephony import order_steps, provisioning, purchasing
from telephony.models import NumberOrder, PhoneNumber
from telephony.numbering import AreaCodeNotSupported
from telephony.order_steps import GIVE_UP_AFTER, LAST_LOOK_AFTER, SETTLING
from telephony.provisioning import ProvisioningFailed, ProvisioningInProgress
from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.telephony.expectations import assert_all_or_nothing
from tests.telephony.fake_providers import (
    BUY,
    IMPORT,
    LIST,
    RELEASE,
    SEARCH,
    TIME_OUT,
    UNREACHABLE,
    VAPI_LIST,
    VAPI_RELEASE,
    Died,
)
from tests.wallets.invariants import entries, nothing_changes, wallet_figures
from wallets import ledger

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization(db):
    return OrganizationFactory(funded_pence=2_000)


def buy(organization, key="key", **details):
    return provisioning.provision(
        organization_id=organization.pk,
        **{"country": "GB", "number_type": "local", "area_code": "", **details},
        idempotency_key=key,
    )


def enter_while_importing(fake):
    """Staff enter the number that is being bought, by hand."""
    fake.hooks[IMPORT] = lambda fake: PhoneNumberFactory(
        number=next(iter(fake.twilio.values()))["phone_number"]
    )


def sweep_later(*, after=timedelta(0)):
    """Let the sweep run until nothing is due within two hours, as it would every 30 seconds."""
    start = datetime.now(UTC) + after
    for minutes in range(0, 121, 3):
        with time_machine.travel(start + timedelta(minutes=minutes), tick=True):
            provisioning.resume_orders()


class TestAPurchase:
    def test_given_money_then_the_number_is_bought_imported_and_charged_once(
        self, organization, fake
    ):
        bought = buy(organization)

        [number] = PhoneNumber.objects.all()
        assert bought.number == number.number
        assert bought.phone_number_id == number.pk
        assert not bought.duplicate
        assert bought.balance_after_pence == 1_000
        assert entries(organization)[1:] == [("phone_provisioning", -1_000, 0)]
        [at_twilio] = fake.twilio.values()
        [at_vapi] = fake.vapi.values()
        assert (number.number, number.twilio_sid) == (at_twilio["phone_number"], at_twilio["sid"])
        assert number.vapi_phone_number_id == at_vapi["id"] == bought.vapi_phone_number_id
        assert number.monthly_price_pence == 1_000
        assert number.months_paid == 1
        assert_all_or_nothing(organization, fake)

    def test_the_key_at_both_providers_fits_and_is_the_orders(self, organization, fake):
        buy(organization)

        order = NumberOrder.objects.get()
        assert {each["friendly_name"] for each in fake.twilio.values()} == {order.provider_key}
        assert {each["name"] for each in fake.vapi.values()} == {order.provider_key}
        assert len(order.provider_key) == 40

    @pytest.mark.parametrize(("assistants", "answered"), [(0, False), (1, True), (2, False)])
    def test_the_number_is_answered_by_the_only_assistant(
        self, organization, fake, assistants, answered
    ):
        AssistantFactory.create_batch(assistants, organization=organization)
        AssistantFactory()

        buy(organization)

        number = PhoneNumber.objects.get(twilio_sid__isnull=False)
        assert (number.assistant is not None) == answered
        assert not answered or number.assistant.organization == organization

    def test_given_a_bundle_and_an_address_then_twilio_is_told(self, organization, fake, settings):
        settings.TWILIO_BUNDLE_SIDS = {"GB-local": "BU1", "GB-mobile": "BU2"}
        settings.TWILIO_ADDRESS_SIDS = {"GB-local": "AD1"}

        buy(organization)

        [bought] = fake.twilio.values()
        assert (bought["bundle_sid"], bought["address_sid"]) == ("BU1", "AD1")

    def test_given_an_area_code_then_only_numbers_that_begin_with_it_are_bought(
        self, organization, fake
    ):
        fake.for_sale.clear()
        fake.offer("+441614960020", "+442079460199")

        assert buy(organization, area_code="020").number == "+442079460199"

    def test_given_an_area_code_where_there_are_none_to_choose_then_nothing_is_asked(
        self, organization, fake
    ):
        with (
            pytest.raises(AreaCodeNotSupported, match="leave the area code out"),
            nothing_changes(),
        ):
            buy(organization, country="BR", area_code="11")
        assert fake.asked == []


class TestARefusalOfTheLedger:
    def test_given_too_little_money_then_nothing_happens_and_the_key_is_not_used_up(self, fake):
        organization = OrganizationFactory(funded_pence=999)
        with pytest.raises(ledger.InsufficientBalance), nothing_changes():
            buy(organization)
        assert fake.asked == []
        assert not NumberOrder.objects.exists()

        ledger.add_credits(
            organization_id=organization.pk, amount_pence=1, credit_type="topup",
            description="More", idempotency_key="more",
        )  # fmt: skip
        assert buy(organization).balance_after_pence == 0

    def test_given_a_suspended_or_unknown_organization_then_nothing_happens(
        self, organization, fake
    ):
        ledger.suspend_organization(organization_id=organization.pk)
        with pytest.raises(ledger.OrganizationSuspended), nothing_changes():
            buy(organization)
        with pytest.raises(ledger.OrganizationNotFound), nothing_changes():
            provisioning.provision(
                organization_id=uuid.uuid4(), country="GB", number_type="local", area_code=""
            )
        assert fake.asked == []
        assert not NumberOrder.objects.exists()


class TestTheSameKeyAgain:
    def test_given_a_number_then_it_is_the_same_number(self, organization, fake):
        first = buy(organization)

        with nothing_changes():
            again = buy(organization)

        assert again.duplicate
        assert (again.number, again.transaction_id, again.balance_after_pence) == (
            first.number,
            first.transaction_id,
            first.balance_after_pence,
        )
        assert fake.count(BUY) == 1

    def test_given_other_details_then_it_is_a_conflict(self, organization, fake):
        buy(organization)
        with pytest.raises(ledger.IdempotencyConflict), nothing_changes():
            buy(organization, area_code="20")

    def test_given_a_refund_then_it_is_the_same_error(self, organization, fake):
        fake.for_sale.clear()
        for _ in range(2):
            with pytest.raises(ProvisioningFailed) as failed:
                buy(organization)
            assert failed.value.code == "no_numbers_available"
        assert len(entries(organization)) == 3
        fake.offer("+442079460199")
        assert buy(organization, key="another").number == "+442079460199"

    def test_given_another_organization_then_the_key_is_its_own(self, organization, fake):
        other = OrganizationFactory(funded_pence=1_000)
        assert buy(organization).number != buy(other).number

    def test_given_no_key_then_each_request_buys(self, organization, fake):
        assert buy(organization, key=None).number != buy(organization, key=None).number


class TestADefiniteFailure:
    @pytest.mark.parametrize(
        ("operation", "answer", "code"),
        [
            (SEARCH, (401, {"code": 20003, "message": "no"}), "telephony_refused"),
            (SEARCH, (404, {"code": 20404, "message": "no"}), "no_numbers_available"),
            (SEARCH, (429, {"code": 20429, "message": "no"}), "telephony_unavailable"),
            (SEARCH, (500, None), "telephony_unavailable"),
            (SEARCH, TIME_OUT, "telephony_unavailable"),
            (SEARCH, (200, {"nonsense": 1}), "telephony_unavailable"),
            (BUY, (400, {"code": 21452, "message": "no"}), "no_numbers_available"),
            (BUY, (400, {"code": 21631, "message": "no"}), "address_required"),
            (BUY, (400, {"code": 21613, "message": "no"}), "address_required"),
            (BUY, (400, {"code": 21649, "message": "no"}), "bundle_required"),
            (BUY, (401, {"code": 20003, "message": "no"}), "telephony_refused"),
            (BUY, (400, "not an object"), "telephony_refused"),
            (BUY, (429, None), "telephony_unavailable"),
            (BUY, UNREACHABLE, "telephony_unavailable"),
            (IMPORT, (400, {"message": "no"}), "import_refused"),
            (IMPORT, (401, {"message": "no"}), "import_refused"),
        ],
    )
    def test_it_is_refunded_at_once_and_says_so(self, organization, fake, operation, answer, code):
        fake.fail(operation, answer)

        with pytest.raises(ProvisioningFailed, match="The price was refunded") as failed:
            buy(organization)

        assert failed.value.code == code
        assert entries(organization)[1:] == [
            ("phone_provisioning", -1_000, 0),
            ("refund", 1_000, 0),
        ]
        assert_all_or_nothing(organization, fake)

    def test_given_a_number_that_went_meanwhile_then_another_is_bought(self, organization, fake):
        fake.fail(BUY, (400, {"code": 21422, "message": "gone"}), times=2)
        fake.fail(BUY, (400, {"code": 21421, "message": "no number"}))

        assert buy(organization).number in {each["phone_number"] for each in fake.twilio.values()}
        assert fake.count(BUY) == 4
        assert_all_or_nothing(organization, fake)

    def test_given_only_numbers_that_went_meanwhile_then_it_is_refunded(self, organization, fake):
        fake.fail(BUY, (400, {"code": 21422, "message": "gone"}), times=None)
        with pytest.raises(ProvisioningFailed) as failed:
            buy(organization)
        assert failed.value.code == "no_numbers_available"
        assert fake.count(BUY) == purchasing.MOST_CANDIDATES
        assert_all_or_nothing(organization, fake)

    def test_given_numbers_that_need_an_address_then_none_is_tried(
        self, organization, fake, settings
    ):
        fake.for_sale.clear()
        fake.offer("+442079460199", address_requirements="local")
        with pytest.raises(ProvisioningFailed) as failed:
            buy(organization)
        assert failed.value.code == "address_required"
        assert fake.count(BUY) == 0

        settings.TWILIO_ADDRESS_SIDS = {"GB-local": "AD1"}
        assert buy(organization, key="another").number == "+442079460199"

    def test_given_a_number_that_somebody_has_here_then_another_is_bought(self, organization, fake):
        fake.for_sale[2:] = []
        PhoneNumberFactory(number=fake.for_sale[0]["phone_number"])
        assert buy(organization).number == fake.for_sale[1]["phone_number"]

        with pytest.raises(ProvisioningFailed) as failed:
            buy(organization, key="another")
        assert failed.value.code == "no_numbers_available"
        assert fake.count(BUY) == 1

    def test_given_a_number_that_staff_enter_meanwhile_then_it_is_given_back(
        self, organization, fake
    ):
        enter_while_importing(fake)
        with pytest.raises(ProvisioningFailed) as failed:
            buy(organization)
        assert failed.value.code == "number_in_use"
        assert_all_or_nothing(organization, fake)


class TestNumbersThatOtherOrdersHold:
    @pytest.fixture
    def organization(self, db):
        return OrganizationFactory(funded_pence=20_000)

    @pytest.fixture
    def one_is_free(self, organization, fake):
        """Of the numbers for sale, other orders hold more than Twilio is ever asked for."""
        held = purchasing.MOST_CANDIDATES + 1
        fake.for_sale[held + 1 :] = []
        fake.fail(BUY, TIME_OUT, times=held)
        for key in range(held):
            with pytest.raises(ProvisioningInProgress):
                buy(organization, key=f"held {key}")

    def test_given_one_that_is_free_then_it_is_bought(self, organization, fake, one_is_free):
        assert buy(organization).number not in set(
            NumberOrder.objects.filter(status="charged").values_list("number", flat=True)
        )

    def test_given_none_that_is_free_then_it_says_to_try_again(
        self, organization, fake, one_is_free
    ):
        buy(organization)
        asked = fake.count(BUY)

        with pytest.raises(ProvisioningFailed, match="try again later") as failed:
            buy(organization, key="another")

        assert failed.value.code == "telephony_unavailable"
        assert fake.count(BUY) == asked
        sweep_later()
        assert_all_or_nothing(organization, fake)

    def test_given_others_who_are_quicker_then_it_says_to_try_again(
        self, organization, fake, one_is_free, monkeypatch
    ):
        buy(organization)
        asked = fake.count(BUY)
        # They take the numbers after it was looked which ones are taken.
        monkeypatch.setattr(purchasing, "_not_taken_here", lambda numbers: (numbers, False))

        with pytest.raises(ProvisioningFailed) as failed:
            buy(organization, key="another")

        assert failed.value.code == "telephony_unavailable"
        assert fake.count(BUY) == asked


class TestAProviderThatDoesNotTakeItBack:
    @pytest.fixture
    def order(self, organization, fake):
        """An order that was refunded while Twilio refuses to release its number."""
        fake.fail(IMPORT, (400, {"message": "no"}))
        fake.fail(RELEASE, (403, {"code": 20403, "message": "no"}), times=None)
        with pytest.raises(ProvisioningFailed):
            buy(organization)
        return NumberOrder.objects.get()

    def test_the_price_is_refunded_at_once_and_the_number_given_back_later(
        self, organization, fake, order
    ):
        assert entries(organization)[1:] == [
            ("phone_provisioning", -1_000, 0),
            ("refund", 1_000, 0),
        ]
        sweep_later()
        assert list(fake.twilio) == [order.twilio_sid]

        fake.faults.clear()
        sweep_later(after=timedelta(hours=3))

        assert fake.twilio == {}
        assert_all_or_nothing(organization, fake)
        with pytest.raises(ProvisioningFailed):
            buy(organization)

    def test_staff_see_it_and_it_is_still_tried(self, organization, fake, order):
        sweep_later()
        order.refresh_from_db()
        assert "Not finished after" in order.attention
        assert "Twilio refused" in order.attention
        assert order.work_due_at is not None

        fake.faults.clear()
        sweep_later(after=timedelta(hours=3))

        order.refresh_from_db()
        assert (order.attention, order.work_due_at) == ("", None)

    def test_no_other_order_asks_for_its_number_until_it_is_given_back(
        self, organization, fake, order
    ):
        # Given a Twilio that offers and sells us what we have
        fake.sells_again = True
        offer = {"phone_number": order.number, "address_requirements": "none"}
        found = (200, {"available_phone_numbers": [offer], "uri": "/"})
        fake.fail(SEARCH, found)

        with pytest.raises(ProvisioningFailed) as failed:
            buy(organization, key="another")

        assert failed.value.code == "telephony_unavailable"
        assert fake.count(BUY) == 1
        assert fake.twilio[order.twilio_sid]["friendly_name"] == order.provider_key
        # And once it was given back and looked for once more, it can be bought.
        fake.faults.clear()
        sweep_later(after=timedelta(hours=3))
        fake.fail(SEARCH, found)
        assert buy(organization, key="a third").number == order.number
        assert_all_or_nothing(organization, fake)

    def test_what_is_somebodys_number_by_now_is_left_alone(self, organization, fake, order):
        PhoneNumberFactory(number=order.number, twilio_sid=order.twilio_sid)
        fake.faults.clear()
        released = fake.count(RELEASE)

        sweep_later()

        assert list(fake.twilio) == [order.twilio_sid]
        assert fake.count(RELEASE) == released
        order.refresh_from_db()
        assert order.work_due_at is None


class TestAnOrderThatCannotBeFinished:
    @pytest.mark.parametrize(
        ("failing", "done"),
        [
            ({IMPORT: (500, None)}, False),
            ({IMPORT: (429, None)}, False),
            ({IMPORT: (201, {})}, False),
            ({IMPORT: TIME_OUT, VAPI_LIST: (200, [{}] * 1_000)}, False),
            ({IMPORT: TIME_OUT, VAPI_LIST: (200, [{}] * 1_000)}, True),
            ({IMPORT: TIME_OUT, VAPI_LIST: (500, None)}, True),
            ({BUY: TIME_OUT, LIST: (500, None)}, False),
            ({BUY: TIME_OUT, LIST: (500, None)}, True),
        ],
    )
    def test_is_refunded_after_an_hour_and_nothing_is_left(self, organization, fake, failing, done):
        for operation, answer in failing.items():
            fake.fail(operation, answer, done=done, times=None)
        start = datetime.now(UTC)
        with pytest.raises(ProvisioningInProgress):
            buy(organization)

        for minutes in range(0, 59, 3):
            with time_machine.travel(start + timedelta(minutes=minutes), tick=True):
                provisioning.resume_orders()
        assert wallet_figures(organization).balance_pence == 1_000

        for minutes in range(60, 90, 3):
            with time_machine.travel(start + timedelta(minutes=minutes), tick=True):
                provisioning.resume_orders()
        assert wallet_figures(organization).balance_pence == 2_000
        with pytest.raises(ProvisioningFailed) as failed:
            buy(organization)
        assert failed.value.code == "telephony_unavailable"

        fake.faults.clear()
        sweep_later(after=timedelta(hours=3))
        assert fake.twilio == fake.vapi == {}
        assert NumberOrder.objects.get().work_due_at is None
        assert_all_or_nothing(organization, fake)

    def test_is_refunded_also_if_the_fault_is_ours(self, organization, fake, monkeypatch):
        def break_always(_order):
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(order_steps, "_import", break_always)
        with pytest.raises(RuntimeError):
            buy(organization)

        sweep_later(after=GIVE_UP_AFTER)

        assert fake.twilio == {}
        assert NumberOrder.objects.get().status == "refunded"
        assert_all_or_nothing(organization, fake)


class TestAnUnknownOutcome:
    @pytest.mark.parametrize("what", [TIME_OUT, (500, None), (201, {"sid": ""}), (302, None)])
    @pytest.mark.parametrize("done", [False, True])
    def test_of_the_purchase_is_found_out_before_anything_else(
        self, organization, fake, done, what
    ):
        fake.fail(BUY, what, done=done)
        with pytest.raises(ProvisioningInProgress) as refused:
            buy(organization)
        assert refused.value.idempotency_key == "key"
        with pytest.raises(ProvisioningInProgress):
            buy(organization)

        sweep_later()

        assert fake.count(BUY) == 1
        assert_all_or_nothing(organization, fake)
        if done:
            assert buy(organization).duplicate
            assert len(fake.twilio) == 1
        else:
            with pytest.raises(ProvisioningFailed) as failed:
                buy(organization)
            assert failed.value.code == "purchase_interrupted"

    @pytest.mark.parametrize("what", [TIME_OUT, (500, None), (201, {}), UNREACHABLE, (429, None)])
    @pytest.mark.parametrize("done", [False, True])
    def test_of_the_import_is_found_out_and_completed(self, organization, fake, done, what):
        fake.fail(IMPORT, what, done=done)
        with pytest.raises(ProvisioningInProgress):
            buy(organization)

        sweep_later()

        assert buy(organization).duplicate
        assert len(fake.vapi) == 1
        assert_all_or_nothing(organization, fake)

    def test_of_an_import_that_shows_only_when_it_is_asked_for_again(self, organization, fake):
        fake.fail(IMPORT, TIME_OUT, done=True)
        fake.fail(VAPI_LIST, (200, []))
        with pytest.raises(ProvisioningInProgress):
            buy(organization)

        sweep_later()

        assert fake.count(IMPORT) == 2
        assert len(fake.vapi) == 1
        assert_all_or_nothing(organization, fake)

    def test_a_purchase_is_not_given_up_while_it_may_still_succeed(self, organization, fake):
        fake.fail(BUY, TIME_OUT, done=True)
        fake.fail(LIST, (200, {"incoming_phone_numbers": [], "uri": "/"}))
        with pytest.raises(ProvisioningInProgress):
            buy(organization)

        with time_machine.travel(datetime.now(UTC) + timedelta(seconds=20), tick=True):
            provisioning.resume_orders()
        assert NumberOrder.objects.get().status == "charged"

        sweep_later()
        assert buy(organization).duplicate
        assert_all_or_nothing(organization, fake)

    def test_a_number_that_turns_up_after_the_refund_is_released(self, organization, fake):
        fake.fail(BUY, TIME_OUT)
        with pytest.raises(ProvisioningInProgress):
            buy(organization)
        order = NumberOrder.objects.get()
        with time_machine.travel(datetime.now(UTC) + SETTLING, tick=True):
            provisioning.resume_orders()
        assert NumberOrder.objects.get().status == "refunded"
        fake.twilio["PNlate"] = {
            "sid": "PNlate", "phone_number": order.number, "friendly_name": order.provider_key
        }  # fmt: skip

        with time_machine.travel(datetime.now(UTC) + SETTLING + LAST_LOOK_AFTER, tick=True):
            provisioning.resume_orders()

        assert_all_or_nothing(organization, fake)
        assert NumberOrder.objects.get().work_due_at is None

    def test_of_two_numbers_one_is_kept(self, organization, fake):
        fake.fail(BUY, TIME_OUT, done=True)
        with pytest.raises(ProvisioningInProgress):
            buy(organization)
        order = NumberOrder.objects.get()
        fake.twilio = {
            "PNother": {
                "sid": "PNother",
                "phone_number": "+442079460777",
                "friendly_name": order.provider_key,
            },
            **fake.twilio,
        }

        sweep_later()

        assert buy(organization).number == order.number
        assert_all_or_nothing(organization, fake)

    def test_somebody_elses_numbers_are_left_alone(self, organization, fake):
        fake.twilio["PNother"] = {
            "sid": "PNother", "phone_number": "+442079460777", "friendly_name": "vox-other"
        }  # fmt: skip
        fake.fail(BUY, TIME_OUT)
        with pytest.raises(ProvisioningInProgress):
            buy(organization)
        sweep_later()
        assert list(fake.twilio) == ["PNother"]


class TestADeath:
    @pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("operation", [SEARCH, BUY, IMPORT])
    def test_of_the_request_leaves_one_number_or_a_refund(
        self, organization, fake, operation, done
    ):
        fake.fail(operation, Died, done=done)
        with pytest.raises(Died):
            buy(organization)
        # While its lease lasts nobody else touches the order.
        asked = list(fake.asked)
        assert provisioning.resume_orders() == 0
        assert fake.asked == asked

        sweep_later()

        assert fake.count(BUY) <= 1
        assert_all_or_nothing(organization, fake)
        assert len(fake.twilio) == (operation == IMPORT or (operation == BUY and done))

    @pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("operation", [LIST, IMPORT, VAPI_LIST])
    def test_of_the_sweep_that_completes_leaves_one_number(
        self, organization, fake, operation, done
    ):
        # Given a purchase and an import whose outcomes are not known
        fake.fail(BUY, TIME_OUT, done=True)
        if operation == VAPI_LIST:
            fake.fail(IMPORT, TIME_OUT, done=True)
        with pytest.raises(ProvisioningInProgress):
            buy(organization)
        if operation == VAPI_LIST:
            with time_machine.travel(datetime.now(UTC) + timedelta(minutes=1), tick=True):
                provisioning.resume_orders()
        # When the sweep dies at it
        fake.fail(operation, Died, done=done)
        with (
            time_machine.travel(datetime.now(UTC) + timedelta(minutes=3), tick=True),
            pytest.raises(Died),
        ):
            provisioning.resume_orders()

        sweep_later(after=timedelta(minutes=3))

        assert len(fake.twilio) == len(fake.vapi) == 1
        assert_all_or_nothing(organization, fake)

    @pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("operation", [LIST, RELEASE, VAPI_LIST, VAPI_RELEASE])
    def test_of_whoever_gives_back_leaves_nothing_and_one_refund(
        self, organization, fake, operation, done
    ):
        # Given an order that bought and imported, and cannot be activated
        enter_while_importing(fake)
        fake.fail(operation, Died, done=done)
        with pytest.raises(Died):
            buy(organization)

        sweep_later()

        assert fake.twilio == fake.vapi == {}
        assert_all_or_nothing(organization, fake)

    @pytest.mark.parametrize("step", range(1, 5))
    def test_between_two_steps_leaves_one_number_or_a_refund(
        self, organization, fake, monkeypatch, step
    ):
        """The process is gone right before what a provider did is written down."""
        record, written = provisioning.leases.record, []

        def die_at_a_step(row, **changes):
            written.append(changes)
            if len(written) == step:
                raise Died
            record(row, **changes)

        with monkeypatch.context() as patched:
            patched.setattr(provisioning.leases, "record", die_at_a_step)
            with pytest.raises(Died):
                buy(organization)

        sweep_later()

        assert_all_or_nothing(organization, fake)
        assert wallet_figures(organization).balance_pence == (2_000 if step == 1 else 1_000)

    @pytest.mark.parametrize("step", range(5, 8), ids=["given up", "refunded", "given back"])
    @pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
    def test_between_two_steps_of_giving_up_leaves_one_refund_and_nothing_else(
        self, organization, fake, monkeypatch, step, written
    ):
        # Given an order that bought and imported, and cannot be activated
        enter_while_importing(fake)
        record, steps = provisioning.leases.record, []

        def die_at_a_step(row, **changes):
            steps.append(changes)
            if len(steps) == step and not written:
                raise Died
            record(row, **changes)
            if len(steps) == step:
                raise Died

        with monkeypatch.context() as patched:
            patched.setattr(provisioning.leases, "record", die_at_a_step)
            with pytest.raises(Died):
                buy(organization)

        sweep_later()

        assert fake.twilio == fake.vapi == {}
        assert NumberOrder.objects.get().work_due_at is None
        assert_all_or_nothing(organization, fake)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("failing", [None, BUY, IMPORT])
def test_no_provider_is_asked_in_a_transaction(organization, fake, failing):
    if failing:
        fake.fail(failing, TIME_OUT, done=True)
        with pytest.raises(ProvisioningInProgress):
            buy(organization)
        sweep_later()
    assert buy(organization).duplicate == bool(failing)
    fake.fail(IMPORT, (400, {"message": "no"}))
    with pytest.raises(ProvisioningFailed):
        buy(organization, key="another")

    assert fake.in_transaction == []
    assert len(fake.asked) >= 8


def test_given_one_order_that_breaks_then_the_sweep_goes_on_with_the_next(
    organization, fake, monkeypatch
):
    fake.fail(IMPORT, TIME_OUT, times=2)
    for key in ("a", "b"):
        with pytest.raises(ProvisioningInProgress):
            buy(organization, key=key)
    import_, broken = order_steps._import, []

    def break_once(order):
        if not broken:
            broken.append(order)
            raise RuntimeError("a fault of ours")
        import_(order)

    monkeypatch.setattr(order_steps, "_import", break_once)
    sweep_later()

    assert NumberOrder.objects.filter(status="active").count() == 2
    assert_all_or_nothing(organization, fake)


def test_no_secret_is_in_what_is_stored_or_logged(organization, fake, settings, caplog):
    fake.fail(IMPORT, TIME_OUT, times=None)
    fake.fail(VAPI_LIST, (401, {"message": "no"}), times=None)
    with pytest.raises(ProvisioningInProgress):
        buy(organization)
    sweep_later()
    text = caplog.text + str(NumberOrder.objects.values().get())
    assert settings.TWILIO_AUTH_TOKEN not in text
    assert settings.VAPI_API_KEY not in text
