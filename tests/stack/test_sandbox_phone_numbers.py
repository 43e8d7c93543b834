"""The sandbox's phone numbers, bought with Twilio's own client and imported over HTTP."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client

from tests.sandbox import running_sandbox
from voxbilling.stack.sandbox.numbers import RANGES, pattern


@pytest.fixture(scope="module")
def url():
    with running_sandbox() as url:
        yield url


@pytest.fixture
def twilio(url):
    """A client with an account of its own, which has bought nothing yet."""
    client = Client(f"AC{uuid.uuid4().hex}", "a token")
    client.api.base_url = f"{url}/twilio"
    return client


@pytest.fixture
def vapi(url):
    with httpx.Client(
        base_url=f"{url}/vapi", headers={"Authorization": "Bearer a-key"}, trust_env=False
    ) as client:
        yield client


def available(twilio, country="GB", kind="local", **wanted):
    return getattr(twilio.available_phone_numbers(country), kind).list(**wanted)


def buy(twilio, country="GB", **details):
    number = available(twilio, country, limit=1)[0].phone_number
    return twilio.incoming_phone_numbers.create(phone_number=number, **details)


def import_body(twilio, number, **more):
    account = {"twilioAccountSid": twilio.username, "twilioAuthToken": twilio.password}
    return {"provider": "twilio", "number": number, **account, **more}


def refusal(ask, *arguments, **details):
    with pytest.raises(TwilioRestException) as refused:
        ask(*arguments, **details)
    return refused.value.status, refused.value.code


def test_a_bought_number_is_listed_by_its_name_and_no_longer_for_sale(twilio):
    key = uuid.uuid4().hex
    bought = buy(twilio, friendly_name=key)
    buy(twilio)
    assert bought.phone_number not in {one.phone_number for one in available(twilio)}
    assert [one.sid for one in twilio.incoming_phone_numbers.list(friendly_name=key)] == [
        bought.sid
    ]
    by_number = twilio.incoming_phone_numbers.list(phone_number=bought.phone_number)
    assert [one.friendly_name for one in by_number] == [key]
    assert by_number[0].date_created.year > 2000


def test_a_released_number_is_gone_and_for_sale_again(twilio):
    bought = buy(twilio)
    assert twilio.incoming_phone_numbers(bought.sid).delete() is True
    assert twilio.incoming_phone_numbers.list() == []
    assert bought.phone_number in {one.phone_number for one in available(twilio)}
    assert refusal(twilio.incoming_phone_numbers(bought.sid).delete) == (404, 20404)


def test_an_account_neither_sees_nor_releases_the_numbers_of_another(twilio, url):
    bought = buy(twilio)
    other = Client("ACother", "a token")
    other.api.base_url = f"{url}/twilio"
    assert other.incoming_phone_numbers.list(phone_number=bought.phone_number) == []
    assert refusal(other.incoming_phone_numbers(bought.sid).delete) == (404, 20404)
    assert len(twilio.incoming_phone_numbers.list()) == 1


def test_one_of_many_who_buy_the_same_number_gets_it(twilio):
    number = available(twilio, limit=1)[0].phone_number

    def try_to_buy(_):
        try:
            return twilio.incoming_phone_numbers.create(phone_number=number).phone_number
        except TwilioRestException as refused:
            return refused.code

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(try_to_buy, range(8)))
    assert sorted(map(str, answers)) == sorted([number, *["21422"] * 7])


@pytest.mark.parametrize(
    ("number", "code"),
    [("0207946", 21421), ("", 21421), ("+442071234567", 21422), ("+44207946010²", 21421)],
)
def test_it_sells_nothing_but_its_own_numbers(twilio, number, code):
    assert refusal(twilio.incoming_phone_numbers.create, phone_number=number) == (400, code)


def test_germany_needs_an_address_and_france_a_bundle(twilio):
    assert available(twilio, "DE", limit=1)[0].address_requirements == "local"
    assert available(twilio, "GB", limit=1)[0].address_requirements == "none"
    assert refusal(buy, twilio, "DE") == (400, 21631)
    assert refusal(buy, twilio, "FR") == (400, 21649)
    assert twilio.incoming_phone_numbers.list() == []
    assert buy(twilio, "DE", address_sid="AD1").address_sid == "AD1"
    assert buy(twilio, "FR", bundle_sid="BU1").bundle_sid == "BU1"


def test_a_name_may_have_64_characters(twilio):
    assert buy(twilio, friendly_name="n" * 64).friendly_name == "n" * 64
    assert refusal(buy, twilio, friendly_name="n" * 65) == (400, 20001)


def test_area_codes_narrow_a_search_in_america_only(twilio):
    found = available(twilio, "US", area_code=415)
    assert {one.phone_number[:8] for one in found} == {"+1415555"}
    assert {one.locality for one in found} == {"San Francisco"}
    assert available(twilio, "US", area_code="000") == []
    assert available(twilio, "GB", area_code="000") != []


def test_contains_narrows_a_search_everywhere(twilio):
    found = available(twilio, contains="+44161")
    assert {one.locality for one in found} == {"Manchester"}
    assert available(twilio, contains="+44000") == []
    with pytest.raises(TwilioException, match=r"HTTP 400.*20001"):
        available(twilio, contains="4(4")


def test_a_search_for_voice_leaves_out_numbers_that_take_messages_alone(twilio):
    found = available(twilio, kind="mobile")
    assert {one.capabilities["voice"] for one in found} == {True, False}
    found = available(twilio, kind="mobile", voice_enabled=True)
    assert {one.capabilities["voice"] for one in found} == {True}


def test_what_a_country_does_not_have_is_unknown(twilio):
    for country, kind in (("US", "mobile"), ("XX", "local")):
        with pytest.raises(TwilioException, match=r"HTTP 404.*20404"):
            available(twilio, country, kind)


def test_a_search_gives_as_many_as_it_is_asked_for(twilio):
    assert len(available(twilio, page_size=3)) == 3
    assert len(available(twilio)) == 50


def test_the_client_reads_all_pages_of_a_list(twilio):
    bought = [buy(twilio, friendly_name="many").sid for _ in range(5)]
    for page_size in (1, 2, 5, 50):
        listed = twilio.incoming_phone_numbers.list(friendly_name="many", page_size=page_size)
        assert [one.sid for one in listed] == bought[::-1]


@pytest.mark.parametrize(
    ("sid", "token", "auth"),
    [
        ("ACmine", "", None),
        ("XXmine", "a token", None),
        ("ACmine", "a token", ("ACother", "a token")),
        ("ACmine", "a token", ("", "")),
    ],
)
def test_twilio_wants_the_credentials_of_the_account_that_is_meant(url, sid, token, auth):
    answer = httpx.get(
        f"{url}/twilio/2010-04-01/Accounts/{sid}/IncomingPhoneNumbers.json",
        auth=auth or (sid, token),
        trust_env=False,
    )
    assert answer.status_code == 401
    assert answer.json() == {
        "code": 20003,
        "message": "Authenticate",
        "more_info": "https://www.twilio.com/docs/errors/20003",
        "status": 401,
    }


@pytest.mark.parametrize("header", [{}, {"Authorization": "Basic é".encode()}])
def test_twilio_refuses_what_is_no_credential(url, header):
    path = "/twilio/2010-04-01/Accounts/ACmine/IncomingPhoneNumbers.json"
    assert httpx.get(url + path, headers=header, trust_env=False).status_code == 401


def test_a_bought_number_is_imported_once_and_lasts_until_it_is_deleted(twilio, vapi):
    number = buy(twilio).phone_number
    body = import_body(twilio, number, name="Reception")
    answer = vapi.post("/phone-number", json=body)
    assert answer.status_code == 201
    imported = answer.json()
    assert (imported["number"], imported["name"]) == (number, "Reception")
    again = vapi.post("/phone-number", json=body)
    assert again.status_code == 400
    assert again.json()["message"].startswith(f"Existing Phone Number {imported['id']} Has")
    path = f"/phone-number/{imported['id']}"
    assert vapi.get(path).json() == imported
    assert [one for one in vapi.get("/phone-number").json() if one["number"] == number] == [
        imported
    ]
    deleted = vapi.delete(path)
    assert (deleted.status_code, deleted.json()["id"]) == (200, imported["id"])
    assert vapi.delete(path).status_code == vapi.get(path).status_code == 404
    assert vapi.post("/phone-number", json=body).status_code == 201


def test_a_list_at_vapi_is_of_those_imported_since_and_as_long_as_asked(twilio, vapi):
    imported = []
    for _ in range(3):
        body = import_body(twilio, buy(twilio).phone_number)
        imported.append(vapi.post("/phone-number", json=body).json())
        time.sleep(0.002)  # They are told apart by the millisecond.

    def listed(**query):
        return [one["id"] for one in vapi.get("/phone-number", params=query).json()]

    newest_first = [one["id"] for one in reversed(imported)]
    since = imported[1]["createdAt"]
    assert listed(createdAtGe=since) == newest_first[:2]
    assert listed(createdAtGe=since, limit=1) == newest_first[:1]
    assert listed(createdAtGe=since, limit=0) == []
    assert listed(createdAtGe="2100-01-01T00:00:00+00:00") == []
    assert listed(createdAtGe="2000-01-01T00:00:00+01:00")[:3] == newest_first


@pytest.mark.parametrize(
    "query", [{"createdAtGe": "soon"}, {"createdAtGe": "2026-01-01T00:00:00"}, {"limit": 1_001}]
)
def test_vapi_refuses_a_query_that_it_cannot_read(vapi, query):
    assert vapi.get("/phone-number", params=query).status_code == 400


@pytest.mark.parametrize("depth", [51, 500, 100_000])
@pytest.mark.parametrize(
    "path", ["/faults", "/vapi/phone-number", "/vapi/call", "/vapi/calls/a/control"]
)
def test_a_body_that_is_nested_too_deeply_is_refused(url, path, depth):
    body = '{"type": "end-call", "server": ' + "[" * depth + "]" * depth + "}"
    answer = httpx.post(
        url + path, content=body, headers={"Authorization": "Bearer a-key"}, trust_env=False
    )
    assert answer.status_code == 400


def test_vapi_keeps_a_number_that_was_released_at_twilio(twilio, vapi):
    bought = buy(twilio)
    body = import_body(twilio, bought.phone_number)
    path = f"/phone-number/{vapi.post('/phone-number', json=body).json()['id']}"
    twilio.incoming_phone_numbers(bought.sid).delete()
    assert vapi.get(path).status_code == 200


def test_vapi_imports_no_number_that_its_account_did_not_buy(twilio, vapi):
    for_sale = available(twilio, limit=1)[0].phone_number
    answer = vapi.post("/phone-number", json=import_body(twilio, for_sale))
    assert (answer.status_code, answer.json()["statusCode"]) == (400, 400)
    body = import_body(twilio, buy(twilio).phone_number) | {"twilioAccountSid": "ACother"}
    assert vapi.post("/phone-number", json=body).status_code == 400


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"provider": "vonage"}, "provider must be twilio: this sandbox knows no other"),
        ({"number": None}, "number must be a string"),
        ({"twilioAuthToken": ""}, "twilioAuthToken must be a string"),
        ({"name": "n" * 41}, "name must be shorter than or equal to 40 characters"),
        ({"phone": "1"}, "property phone should not exist"),
    ],
)
def test_vapi_says_what_an_import_lacks(twilio, vapi, change, complaint):
    number = buy(twilio).phone_number
    answer = vapi.post("/phone-number", json=import_body(twilio, number) | change)
    assert answer.status_code == 400
    assert complaint in answer.json()["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null"])
def test_vapi_imports_nothing_from_what_is_no_object(vapi, body):
    assert vapi.post("/phone-number", content=body).status_code == 400


def test_vapi_lists_a_hundred_unless_asked_for_more(twilio, vapi):
    for _ in range(101):
        vapi.post("/phone-number", json=import_body(twilio, buy(twilio, "US").phone_number))
    assert len(vapi.get("/phone-number").json()) == 100
    listed = vapi.get("/phone-number", params={"limit": 1000}).json()
    assert len(listed) > 100
    newest = [one["createdAt"] for one in listed]
    assert newest == sorted(newest, reverse=True)
    assert vapi.get("/phone-number", params={"limit": 1001}).status_code == 400


@pytest.mark.parametrize("header", ["", "Bearer", "Basic key"])
def test_vapi_wants_a_key(url, header):
    answer = httpx.get(
        f"{url}/vapi/phone-number", headers={"Authorization": header}, trust_env=False
    )
    assert answer.status_code == 401


def test_numbers_outlast_the_sandbox_and_only_its_owner_reads_them(tmp_path):
    file = tmp_path / "sandbox.json"
    client = Client("ACmine", "a token")
    key = {"Authorization": "Bearer a-key"}
    with running_sandbox(file) as url:
        client.api.base_url = f"{url}/twilio"
        bought, released = buy(client), buy(client)
        body = import_body(client, bought.phone_number)
        imported = httpx.post(f"{url}/vapi/phone-number", json=body, headers=key).json()
        released.delete()
    assert file.stat().st_mode & 0o777 == 0o600
    with running_sandbox(file) as url:
        client.api.base_url = f"{url}/twilio"
        assert [one.sid for one in client.incoming_phone_numbers.list()] == [bought.sid]
        assert available(client)[0].phone_number == released.phone_number
        assert httpx.get(f"{url}/vapi/phone-number", headers=key).json() == [imported]
        deleted = httpx.delete(f"{url}/vapi/phone-number/{imported['id']}", headers=key)
        assert deleted.status_code == 200


def test_no_number_is_in_two_ranges_and_all_can_be_dialled():
    numbers = [number for place in RANGES for number in place.numbers()]
    assert len(numbers) == len(set(numbers))
    assert all(pattern("+1").search(n) or len(n) in {12, 13} for n in numbers)
    assert all(place.has(number) for place in RANGES for number in place.numbers())
