"""Faults of the sandbox's providers, met by the real clients."""

import time
import uuid

import httpx
import pytest
import requests
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from tests.sandbox import running_sandbox

# Long enough for a busy machine to answer in.
CLIENT_TIMEOUT_SECONDS = 1.0
LONGER_SECONDS = 1.5


@pytest.fixture(scope="module")
def url():
    with running_sandbox() as url:
        yield url


@pytest.fixture
def twilio(url):
    http_client = TwilioHttpClient(timeout=CLIENT_TIMEOUT_SECONDS)
    client = Client(f"AC{uuid.uuid4().hex}", "a token", http_client=http_client)
    client.api.base_url = f"{url}/twilio"
    return client


@pytest.fixture
def vapi(url):
    with httpx.Client(
        base_url=f"{url}/vapi",
        headers={"Authorization": "Bearer a-key"},
        timeout=CLIENT_TIMEOUT_SECONDS,
        trust_env=False,
    ) as client:
        yield client


@pytest.fixture
def sandbox(url):
    with httpx.Client(base_url=url, trust_env=False) as client:
        yield client
        client.delete("/faults")


@pytest.fixture
def fault(sandbox):
    def fault(provider, operation, fault, **more):
        body = {"provider": provider, "operation": operation, "fault": fault, **more}
        answer = sandbox.post("/faults", json=body)
        assert answer.status_code == 201, answer.text

    return fault


def available(twilio):
    return twilio.available_phone_numbers("GB").local.list(limit=1)[0].phone_number


def buy(twilio):
    return twilio.incoming_phone_numbers.create(phone_number=available(twilio))


def bought(twilio):
    return len(twilio.incoming_phone_numbers.list())


def import_number(twilio, vapi):
    account = {"twilioAccountSid": twilio.username, "twilioAuthToken": twilio.password}
    number = twilio.incoming_phone_numbers.list()[0].phone_number
    return vapi.post("/phone-number", json={"provider": "twilio", "number": number, **account})


def imported(twilio, vapi):
    return [
        one
        for one in vapi.get("/phone-number").json()
        if one["twilioAccountSid"] == twilio.username
    ]


@pytest.mark.parametrize(("kind", "left"), [("timeout_before", 0), ("timeout_after", 1)])
def test_no_answer_comes_in_time_whether_the_number_was_bought_or_not(twilio, fault, kind, left):
    fault("twilio", "buy", kind, seconds=LONGER_SECONDS)
    with pytest.raises(requests.exceptions.ReadTimeout):
        buy(twilio)
    assert bought(twilio) == left


@pytest.mark.parametrize(("kind", "left"), [("timeout_before", 0), ("timeout_after", 1)])
def test_with_no_seconds_the_connection_breaks_at_once(twilio, fault, kind, left):
    fault("twilio", "buy", kind, seconds=0)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        buy(twilio)
    assert bought(twilio) == left


def test_a_slow_purchase_is_made_after_its_client_hung_up(twilio, fault):
    fault("twilio", "buy", "slow", seconds=LONGER_SECONDS)
    with pytest.raises(requests.exceptions.ReadTimeout):
        buy(twilio)
    assert bought(twilio) == 0
    time.sleep(LONGER_SECONDS)
    assert bought(twilio) == 1


@pytest.mark.parametrize(
    ("kind", "code", "left"),
    [("401", 20003, 0), ("429", 20429, 0), ("500", 20500, 0), ("500_after", 20500, 1)],
)
def test_twilio_says_what_is_wrong_in_its_own_words(twilio, fault, kind, code, left):
    fault("twilio", "buy", kind)
    with pytest.raises(TwilioRestException) as refused:
        buy(twilio)
    assert (refused.value.status, refused.value.code) == (int(kind[:3]), code)
    assert bought(twilio) == left


def test_somebody_else_buys_the_number_first(twilio, fault):
    number = available(twilio)
    fault("twilio", "buy", "gone")
    with pytest.raises(TwilioRestException) as refused:
        twilio.incoming_phone_numbers.create(phone_number=number)
    assert refused.value.code == 21422
    assert bought(twilio) == 0
    assert available(twilio) != number


def test_somebody_else_released_the_number_at_twilio(twilio, fault):
    number = buy(twilio)
    fault("twilio", "release", "gone")
    with pytest.raises(TwilioRestException) as refused:
        number.delete()
    assert refused.value.code == 20404
    assert bought(twilio) == 0


@pytest.mark.parametrize("operation", ["search", "list"])
def test_reading_fails_too(twilio, fault, operation):
    fault("twilio", operation, "500")
    read = {"search": available, "list": bought}[operation]
    with pytest.raises(TwilioException, match="HTTP 500"):
        read(twilio)
    read(twilio)


@pytest.mark.parametrize(("kind", "left"), [("timeout_before", 0), ("timeout_after", 1)])
def test_an_import_is_done_or_not_without_an_answer(twilio, vapi, fault, kind, left):
    buy(twilio)
    fault("vapi", "import", kind, seconds=LONGER_SECONDS)
    with pytest.raises(httpx.ReadTimeout):
        import_number(twilio, vapi)
    fault("vapi", "list", kind, seconds=0)
    with pytest.raises(httpx.RemoteProtocolError):
        vapi.get("/phone-number")
    assert len(imported(twilio, vapi)) == left


@pytest.mark.parametrize(
    ("kind", "status", "left"), [("401", 401, 0), ("429", 429, 0), ("500_after", 500, 1)]
)
def test_vapi_says_what_is_wrong_in_its_own_words(twilio, vapi, fault, kind, status, left):
    buy(twilio)
    fault("vapi", "import", kind)
    answer = import_number(twilio, vapi)
    assert (answer.status_code, answer.json()["statusCode"]) == (status, status)
    assert len(imported(twilio, vapi)) == left


@pytest.mark.parametrize(("operation", "method"), [("get", "GET"), ("release", "DELETE")])
def test_somebody_else_deleted_the_number_at_vapi(twilio, vapi, fault, operation, method):
    buy(twilio)
    phone_number_id = import_number(twilio, vapi).json()["id"]
    fault("vapi", operation, "gone")
    assert vapi.request(method, f"/phone-number/{phone_number_id}").status_code == 404
    assert imported(twilio, vapi) == []


def test_the_faults_of_an_operation_come_in_turn_and_as_often_as_asked(twilio, sandbox, fault):
    fault("twilio", "list", "429", times=2)
    fault("vapi", "list", "500")
    fault("twilio", "list", "401")
    for status in (429, 429, 401):
        with pytest.raises(TwilioException, match=f"HTTP {status}"):
            bought(twilio)
    assert bought(twilio) == 0
    assert [(one["provider"], one["times"]) for one in sandbox.get("/faults").json()["faults"]] == [
        ("vapi", 1)
    ]


def test_faults_that_were_taken_back_do_not_happen(twilio, sandbox, fault):
    fault("twilio", "list", "500", times=1000)
    assert sandbox.delete("/faults").status_code == 204
    assert sandbox.get("/faults").json() == {"faults": []}
    assert bought(twilio) == 0


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{", "Expecting"),
        (b"[]", "send an object"),
        ({"sort": "500"}, "send an object"),
        ({"provider": "stripes"}, "one of these: stripe charges.retrieve, "),
        ({"operation": ["buy"]}, "one of these"),
        ({"fault": "flood"}, "what can happen there is 401, 429"),
        ({"operation": "search", "fault": "gone"}, "what can happen there is"),
        ({"times": 0}, "times must be a whole number"),
        ({"times": True}, "times must be"),
        ({"seconds": -1}, "seconds must be"),
        ({"seconds": "1"}, "seconds must be"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_what_can(sandbox, body, complaint):
    if isinstance(body, bytes):
        answer = sandbox.post("/faults", content=body)
    else:
        whole = {"provider": "twilio", "operation": "buy", "fault": "500"}
        answer = sandbox.post("/faults", json=whole | body)
    assert answer.status_code == 400
    assert complaint in answer.json()["error"]


def test_faults_that_wait_are_bounded(sandbox, fault):
    for _ in range(1000):
        fault("twilio", "buy", "500")
    body = {"provider": "twilio", "operation": "buy", "fault": "500"}
    assert sandbox.post("/faults", json=body).status_code == 400
