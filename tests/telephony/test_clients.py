"""Our clients of Twilio and Vapi over real HTTP, at the sandbox, with its faults."""

import os
import socket
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from telephony import providers, twilio_client, vapi_client
from telephony.numbering import AreaCodeNotSupported, beginning_of_numbers
from telephony.providers import NotProcessed, OutcomeUnknown, Refused
from tests.sandbox import running_sandbox

SINCE = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox() as url:
        yield url


@pytest.fixture(autouse=True)
def account(sandbox, settings, monkeypatch):
    """An account of its own for each test, and less patience than in production."""
    settings.TWILIO_API_URL = f"{sandbox}/twilio"
    settings.VAPI_API_URL = f"{sandbox}/vapi"
    settings.TWILIO_ACCOUNT_SID = f"AC{os.urandom(16).hex()}"
    settings.TWILIO_AUTH_TOKEN = "the-token-of-twilio"
    settings.VAPI_API_KEY = "the-key-of-vapi"
    monkeypatch.setattr(providers, "READ_TIMEOUT_SECONDS", 0.5)
    yield
    httpx.delete(f"{sandbox}/faults", trust_env=False)


@pytest.fixture
def fault(sandbox):
    def ask_for(provider, operation, fault, **more):
        body = {"provider": provider, "operation": operation, "fault": fault, **more}
        httpx.post(f"{sandbox}/faults", json=body, trust_env=False).raise_for_status()

    return ask_for


def search(country="GB", number_type="local", area_code="", limit=20):
    return twilio_client.search_numbers(
        country=country, number_type=number_type, area_code=area_code, limit=limit
    )


def buy(key="a key", country="GB"):
    number = search(country)[0].number
    return twilio_client.buy_number(number=number, key=key, kind=f"{country}-local")


class TestSearching:
    def test_numbers_are_found_by_country_and_kind(self):
        found = search()
        assert len(found) == 20
        assert all(each.number.startswith("+44") for each in found)
        assert search("US", "toll_free")[0].number.startswith("+1")
        assert search(limit=3) == found[:3]

    @pytest.mark.parametrize(
        ("country", "area_code", "beginning"),
        [
            ("GB", "20", "+4420"),
            ("GB", "020", "+4420"),
            ("US", "212", "+1212"),
            ("DE", "030", "+4930"),
        ],
    )
    def test_numbers_are_found_by_area_code(self, country, area_code, beginning):
        found = search(country, area_code=area_code)
        assert found
        assert all(each.number.startswith(beginning) for each in found)

    @pytest.mark.parametrize(
        ("country", "area_code"), [("GB", "000"), ("US", "000"), ("GB", "7"), ("AQ", "")]
    )
    def test_where_there_are_none_nothing_is_found(self, country, area_code):
        assert search(country, area_code=area_code) == []

    def test_a_number_says_whether_it_needs_an_address(self):
        assert {each.needs_address for each in search("DE")} == {True}
        assert {each.needs_address for each in search("GB")} == {False}

    def test_an_area_code_in_a_country_that_is_not_known_is_refused(self):
        with pytest.raises(AreaCodeNotSupported):
            search("BR", area_code="11")

    @pytest.mark.parametrize(
        ("country", "area_code", "beginning"),
        [
            ("GB", "020", "+4420"),
            ("GB", "000", "+4400"),
            ("IT", "06", "+3906"),
            ("US", "212", "+1212"),
            ("IE", "1", "+3531"),
        ],
    )
    def test_the_zero_that_is_dialled_at_home_only_is_left_out(self, country, area_code, beginning):
        assert beginning_of_numbers(country, area_code) == beginning


class TestBuying:
    def test_a_number_is_bought_found_by_its_key_and_released(self):
        bought = buy()

        assert twilio_client.find_numbers_by_key("a key") == [bought]
        assert twilio_client.find_numbers_by_key("a ke") == []
        assert bought.number not in {each.number for each in search()}
        for _ in range(2):
            twilio_client.release_number(bought.sid)
        assert twilio_client.find_numbers_by_key("a key") == []

    def test_all_numbers_of_a_key_are_found_page_by_page(self):
        bought = [buy() for _ in range(4)]
        assert sorted(each.sid for each in twilio_client.find_numbers_by_key("a key")) == sorted(
            each.sid for each in bought
        )

    def test_what_a_country_asks_for_is_sent(self, settings):
        for country, sids, code in (
            ("FR", "TWILIO_BUNDLE_SIDS", twilio_client.BUNDLE_REQUIRED),
            ("DE", "TWILIO_ADDRESS_SIDS", 21631),
        ):
            with pytest.raises(Refused) as refused:
                buy(country=country)
            assert refused.value.code == code
            setattr(settings, sids, {f"{country}-local": "XX1"})
            assert buy(country=country).sid

    def test_a_number_that_somebody_else_bought_is_refused(self, fault):
        fault("twilio", "buy", "gone")
        with pytest.raises(Refused) as refused:
            buy()
        assert refused.value.code == twilio_client.NUMBER_TAKEN

    @pytest.mark.parametrize(
        ("kind", "error", "is_done"),
        [
            ("401", Refused, False),
            ("429", NotProcessed, False),
            ("500", OutcomeUnknown, False),
            ("500_after", OutcomeUnknown, True),
            ("timeout_before", OutcomeUnknown, False),
            ("timeout_after", OutcomeUnknown, True),
        ],
    )
    def test_a_failure_says_whether_it_may_have_been_done(self, fault, kind, error, is_done):
        fault("twilio", "buy", kind)
        with pytest.raises(error) as failed:
            buy()
        assert bool(twilio_client.find_numbers_by_key("a key")) == is_done
        assert "the-token-of-twilio" not in str(failed.value)

    def test_nothing_is_sent_twice(self, fault):
        fault("twilio", "buy", "500")
        with pytest.raises(OutcomeUnknown):
            buy()
        assert twilio_client.find_numbers_by_key("a key") == []

    @pytest.mark.parametrize("kind", ["timeout_before", "500"])
    def test_a_list_that_does_not_come_is_no_empty_list(self, fault, kind):
        fault("twilio", "list", kind)
        with pytest.raises(OutcomeUnknown):
            twilio_client.find_numbers_by_key("a key")
        fault("vapi", "list", kind)
        with pytest.raises(OutcomeUnknown):
            vapi_client.find_numbers_by_key("a key", since=SINCE)

    def test_nobody_there_means_that_nothing_was_done(self, settings):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            settings.TWILIO_API_URL = settings.VAPI_API_URL = url
            with pytest.raises(NotProcessed):
                twilio_client.buy_number(number="+442079460100", key="a key", kind="GB-local")
            with pytest.raises(NotProcessed):
                vapi_client.import_number(number="+442079460100", key="a key")


class TestImporting:
    def test_a_number_is_imported_found_by_its_key_and_released(self):
        bought = buy()
        vapi_id = vapi_client.import_number(number=bought.number, key="a key")

        assert vapi_client.find_numbers_by_key("a key", since=SINCE) == [vapi_id]
        assert vapi_client.find_numbers_by_key("another", since=SINCE) == []
        with pytest.raises(Refused):
            vapi_client.import_number(number=bought.number, key="a key")
        for _ in range(2):
            vapi_client.release_number(vapi_id)
        assert vapi_client.find_numbers_by_key("a key", since=SINCE) == []

    def test_what_vapi_is_sent(self, monkeypatch):
        sent = {}

        def answer(method, url, **more):
            sent.update(more, method=method, url=url)
            return httpx.Response(201, json={"id": "vapi-id"})

        monkeypatch.setattr(providers.httpx, "request", answer)
        vapi_client.import_number(number="+442079460100", key="k" * 40)

        assert sent["json"].keys() == {
            "provider", "number", "twilioAccountSid", "twilioAuthToken", "name"
        }  # fmt: skip
        assert sent["headers"] == {"Authorization": "Bearer the-key-of-vapi"}
        assert sent["timeout"].read == 0.5
        assert sent["timeout"].connect == providers.CONNECT_TIMEOUT_SECONDS

    def test_a_list_that_may_be_longer_is_not_believed(self, monkeypatch):
        full = [{"id": str(number), "name": "another"} for number in range(1000)]
        monkeypatch.setattr(
            providers.httpx, "request", lambda *_, **__: httpx.Response(200, json=full)
        )
        with pytest.raises(OutcomeUnknown, match="in whole"):
            vapi_client.find_numbers_by_key("a key", since=datetime.now(UTC) - timedelta(hours=1))
