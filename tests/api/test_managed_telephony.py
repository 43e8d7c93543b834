"""Phone numbers over HTTP: the contract's names and statuses, who may do what, and bad input."""

import pytest
from django.db import connection

from telephony.models import NumberOrder, PhoneNumber
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.telephony.conftest import fake
from tests.telephony.fake_providers import (
    BUY,
    IMPORT,
    RELEASE,
    SEARCH,
    TIME_OUT,
    UNREACHABLE,
)
from tests.wallets.invariants import assert_ledger_intact, entries, nothing_changes

__all__ = ["fake"]

pytestmark = pytest.mark.django_db

ROOT = "/api/managed-telephony"
GB = {"country": "GB", "numberType": "local"}


@pytest.fixture
def provision(ask, owner, fake):
    def send(body=GB, as_user=owner, key=None, **headers):
        if key is not None:
            headers["Idempotency-Key"] = key
        return ask("POST", f"{ROOT}/provision", as_user=as_user, body=body, **headers)

    return send


class TestProvision:
    def test_a_number_is_bought(self, provision, organization):
        response = provision(GB | {"areaCode": "20"})

        number = PhoneNumber.objects.get()
        [charge] = organization.entries.filter(type="phone_provisioning")
        assert response.status_code == 201
        assert response.json() == {
            "success": True,
            "duplicate": False,
            "id": str(number.pk),
            "phoneNumber": number.number,
            "vapiPhoneId": number.vapi_phone_number_id,
            "transactionId": str(charge.pk),
            "balanceAfterPence": 9_000,
        }

    def test_the_same_key_again_is_the_same_number(self, provision):
        first = provision(key="a key")
        again = provision(key="a key")

        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == first.json() | {"duplicate": True}

    def test_the_same_key_for_something_else_is_a_conflict(self, provision):
        provision(key="a key")
        response = provision(GB | {"areaCode": "20"}, key="a key")
        assert response.status_code == 422
        assert response.json()["code"] == "idempotency_conflict"

    def test_too_little_money_says_how_much_is_missing(self, provision, organization, settings):
        settings.PHONE_NUMBER_COST_PENCE = 10_001
        with nothing_changes():
            response = provision(key="a key")

        assert response.status_code == 402
        body = response.json()
        assert body.pop("error").startswith("Insufficient balance: 10001p needed")
        assert body == {
            "code": "insufficient_balance",
            "required": 10_001,
            "current": 10_000,
            "shortfallPence": 1,
            "canRetry": True,
        }
        settings.PHONE_NUMBER_COST_PENCE = 10_000
        assert provision(key="a key").status_code == 201

    def test_an_outcome_that_is_not_known_yet_says_what_to_ask_with(self, provision, fake):
        fake.fail(BUY, TIME_OUT, done=True)

        response = provision()

        assert response.status_code == 409
        body = response.json()
        assert body["code"] == "in_progress"
        assert body["idempotencyKey"] == NumberOrder.objects.get().idempotency_key
        assert int(response.headers["Retry-After"]) > 0
        assert provision(key=body["idempotencyKey"]).json() == body

    @pytest.mark.parametrize(
        ("operation", "what", "status", "code"),
        [
            (SEARCH, (404, {"code": 20404, "message": "no"}), 404, "no_numbers_available"),
            (BUY, (400, {"code": 21631, "message": "no"}), 400, "address_required"),
            (BUY, (400, {"code": 21649, "message": "no"}), 400, "bundle_required"),
            (BUY, (401, {"code": 20003, "message": "no"}), 503, "telephony_refused"),
            (SEARCH, UNREACHABLE, 503, "telephony_unavailable"),
            (IMPORT, (400, {"message": "no"}), 503, "import_refused"),
        ],
    )
    def test_a_failure_says_what_to_do_and_charges_nothing(
        self, provision, organization, fake, operation, what, status, code
    ):
        fake.fail(operation, what)
        response = provision(key="a key")

        assert response.status_code == status
        assert response.json()["code"] == code
        assert "The price was refunded" in response.json()["error"]
        assert ("Retry-After" in response.headers) == (status == 503)
        again = provision(key="a key")
        assert (again.status_code, again.json()) == (status, response.json())
        assert sum(amount for _, amount, _ in entries(organization)) == 10_000
        assert_ledger_intact()

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"country": None}, "country"),
            ({"country": "gb"}, "country"),
            ({"country": "GBR"}, "country"),
            ({"country": "GB\n"}, "country"),
            ({"country": 44}, "country"),
            ({"numberType": "pager"}, "numberType"),
            ({"numberType": ["local"]}, "numberType"),
            ({"areaCode": "2a"}, "areaCode"),
            ({"areaCode": ""}, "areaCode"),
            ({"areaCode": "1234567"}, "areaCode"),
            ({"areaCode": "٢٠"}, "areaCode"),
            ({"areaCode": 20}, "areaCode"),
            ({"country": "BR", "areaCode": "11"}, "areaCode"),
        ],
    )
    def test_bad_input_says_which_field_and_charges_nothing(self, provision, fake, change, field):
        with nothing_changes():
            response = provision(GB | change)
        assert response.status_code == 400
        assert field in response.json()["fields"]
        assert fake.asked == []

    @pytest.mark.parametrize("body", ["", "[]", "null", "{", '"GB"', "{}"])
    def test_a_body_that_is_none_is_refused(self, provision, body):
        with nothing_changes():
            assert provision(body).status_code == 400

    @pytest.mark.parametrize("key", ["", "x" * 129, "a\0b"])
    def test_a_key_that_cannot_be_kept_is_refused(self, provision, key):
        with nothing_changes():
            response = provision(key=key)
        assert response.status_code == 400
        assert "Idempotency-Key" in response.json()["fields"]

    def test_the_longest_key_is_kept(self, provision):
        assert provision(key="x" * 128).status_code == 201

    def test_who_may_only_read_buys_nothing(self, provision, viewer, organization, fake):
        other = OrganizationFactory(funded_pence=5_000)
        with nothing_changes():
            assert provision(as_user=viewer).status_code == 403
            assert provision(as_user=None).status_code == 401
            assert provision(**{"X-Org-Id": str(other.pk)}).status_code == 403
        assert fake.asked == []

    def test_a_suspended_organization_buys_nothing(self, provision, organization):
        from wallets import ledger

        ledger.suspend_organization(organization_id=organization.pk)
        with nothing_changes():
            response = provision()
        assert (response.status_code, response.json()["code"]) == (403, "organization_suspended")


class TestAvailableNumbers:
    def test_numbers_are_shown_with_their_price(self, ask, viewer, fake):
        response = ask(
            "GET", f"{ROOT}/available-numbers?country=GB&numberType=local&areaCode=20",
            as_user=viewer,
        )  # fmt: skip

        assert response.status_code == 200
        body = response.json()
        assert body["monthlyPricePence"] == 1_000
        assert len(body["numbers"]) == 20
        assert body["numbers"][0] == {
            "phoneNumber": "+442079460100",
            "locality": "London",
            "region": "",
            "needsAddress": False,
        }

    @pytest.mark.django_db(transaction=True)
    def test_twilio_is_asked_in_no_transaction(self, ask, viewer, fake):
        ask("GET", f"{ROOT}/available-numbers?country=GB", as_user=viewer)
        assert fake.asked == [SEARCH]
        assert fake.in_transaction == []
        assert not connection.in_atomic_block

    def test_where_there_are_none_the_list_is_empty(self, ask, viewer, fake):
        fake.fail(SEARCH, (404, {"code": 20404, "message": "no"}))
        response = ask("GET", f"{ROOT}/available-numbers?country=AQ", as_user=viewer)
        assert (response.status_code, response.json()["numbers"]) == (200, [])

    @pytest.mark.parametrize("what", [UNREACHABLE, TIME_OUT, (401, {}), (500, None)])
    def test_given_that_twilio_cannot_be_asked_then_it_says_when_to_ask_again(
        self, ask, viewer, fake, what
    ):
        fake.fail(SEARCH, what)
        response = ask("GET", f"{ROOT}/available-numbers?country=GB", as_user=viewer)
        assert (response.status_code, response.json()["code"]) == (503, "telephony_unavailable")
        assert int(response.headers["Retry-After"]) > 0

    @pytest.mark.parametrize(
        "query", ["", "country=", "country=gb", "country=GB&areaCode=", "country=GB&country=US"]
    )
    def test_bad_input_is_refused(self, ask, viewer, fake, query):
        response = ask("GET", f"{ROOT}/available-numbers?{query}", as_user=viewer)
        assert response.status_code == 400
        assert fake.asked == []


class TestNumbers:
    def test_an_organization_lists_its_own_numbers_page_by_page(self, ask, viewer, organization):
        numbers = PhoneNumberFactory.create_batch(5, organization=organization)
        PhoneNumberFactory()

        def page(cursor):
            query = f"limit=2&cursor={cursor}" if cursor else "limit=2"
            response = ask("GET", f"{ROOT}/numbers?{query}", as_user=viewer)
            assert response.status_code == 200
            return response.json()

        seen, cursor = [], None
        for _ in range(3):
            body = page(cursor)
            seen += [each["id"] for each in body["numbers"]]
            back, cursor = body["pagination"]["previous"], body["pagination"]["next"]
        assert seen == [str(number.pk) for number in reversed(numbers)]
        assert cursor is None
        assert [each["id"] for each in page(back)["numbers"]] == seen[2:4]

    def test_a_bought_number_says_until_when_it_is_paid(self, ask, viewer, provision):
        provision()
        number = PhoneNumber.objects.get()

        [shown] = ask("GET", f"{ROOT}/numbers", as_user=viewer).json()["numbers"]

        assert shown["phoneNumber"] == number.number
        assert shown["status"] == "active"
        assert shown["monthlyPricePence"] == 1_000
        assert shown["paidUntil"][:19] == number.paid_until.isoformat()[:19]
        assert shown["unpaidSince"] is None

    def test_a_filter_that_is_forgotten_shows_nothing_of_others(
        self, ask, viewer, organization, monkeypatch
    ):
        from telephony import selectors

        mine = PhoneNumberFactory(organization=organization)
        PhoneNumberFactory()
        find = PhoneNumber.objects.defer

        class Forgetful:
            def filter(self, **asked):
                del asked["organization_id"]
                return find(*PhoneNumber.HIDDEN_FROM_CUSTOMERS).filter(**asked)

        monkeypatch.setattr(
            selectors.PhoneNumber.objects, "defer", lambda *_names: Forgetful(), raising=False
        )
        shown = ask("GET", f"{ROOT}/numbers", as_user=viewer).json()["numbers"]
        assert [each["id"] for each in shown] == [str(mine.pk)]

    @pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=x", "cursor=", "limit=x"])
    def test_bad_input_is_refused(self, ask, viewer, query):
        assert ask("GET", f"{ROOT}/numbers?{query}", as_user=viewer).status_code == 400


class TestRelease:
    @pytest.fixture
    def number(self, provision):
        provision()
        return PhoneNumber.objects.get()

    @pytest.fixture
    def release(self, ask, owner):
        def send(number, as_user=owner, **headers):
            number_id = getattr(number, "pk", number)
            return ask("DELETE", f"{ROOT}/numbers/{number_id}", as_user=as_user, **headers)

        return send

    def test_a_number_is_released_at_both_providers(self, release, number, ask, viewer, fake):
        for _ in range(2):
            response = release(number)
            assert response.status_code == 200
            assert response.json() == {
                "success": True,
                "id": str(number.pk),
                "phoneNumber": number.number,
                "status": "released",
            }
        assert fake.twilio == fake.vapi == {}
        assert ask("GET", f"{ROOT}/numbers", as_user=viewer).json()["numbers"] == []

    def test_given_that_a_provider_is_down_then_it_goes_on_by_itself(self, release, number, fake):
        fake.fail(RELEASE, (500, None))
        response = release(number)
        assert (response.status_code, response.json()["code"]) == (409, "in_progress")

    def test_what_is_not_yours_cannot_be_released(self, release, number, viewer, fake):
        others = PhoneNumberFactory(twilio_sid="PNothers")
        assert release(others).status_code == 404
        assert release("4b8f6a0e-7a56-4a66-9d1b-3a1f0b1f6a10").status_code == 404
        assert release("nonsense").status_code == 404
        assert release(number, as_user=viewer).status_code == 403
        assert len(fake.twilio) == len(fake.vapi) == 1

    def test_a_number_that_staff_set_up_is_theirs_to_release(self, release, organization):
        response = release(PhoneNumberFactory(organization=organization))
        assert (response.status_code, response.json()["code"]) == (409, "set_up_by_staff")
