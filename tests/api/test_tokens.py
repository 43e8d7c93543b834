"""Signing in, and who is kept out."""

import pytest
import time_machine
from django.core.cache import cache

from tests.factories import UserFactory
from voxbilling.api import throttles

PASSWORD = "correct horse battery staple"
SIGN_IN = "/api/auth/token/"
REFRESH = "/api/auth/token/refresh/"
pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    user = UserFactory(username="ada")
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.fixture
def sign_in(ask):
    def send(username="ada", password=PASSWORD, **headers):
        return ask("POST", SIGN_IN, body={"username": username, "password": password}, **headers)

    return send


def test_given_the_right_password_then_the_access_token_opens_the_api(ada, sign_in, client, ask):
    answer = sign_in()

    assert answer.status_code == 200
    assert set(answer.json()) == {"access", "refresh"}
    assert answer["Cache-Control"] == "no-store"
    bearer = {"Authorization": f"Bearer {answer.json()['access']}"}
    assert client.get("/api/billing/wallet", headers=bearer).json()["code"] == "not_a_member"
    refreshed = ask("POST", REFRESH, body={"refresh": answer.json()["refresh"]})
    assert refreshed.status_code == 200
    bearer = {"Authorization": f"Bearer {refreshed.json()['access']}"}
    assert client.get("/api/billing/wallet", headers=bearer).json()["code"] == "not_a_member"


def test_given_plain_curl_which_names_a_form_then_the_body_is_json_all_the_same(ada, client):
    answer = client.generic(
        "POST",
        SIGN_IN,
        f'{{"username": "ada", "password": "{PASSWORD}"}}',
        content_type="application/x-www-form-urlencoded",
        headers={"Accept": "text/html"},
    )

    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize(("username", "password"), [("ada", "wrong"), ("nobody", PASSWORD)])
def test_given_a_wrong_name_or_password_then_the_answer_does_not_say_which(
    ada, sign_in, username, password
):
    answer = sign_in(username, password)

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert answer.json() == {
        "error": "The user name or the password is wrong.",
        "code": "wrong_credentials",
    }


def test_given_somebody_who_was_made_inactive_then_nothing_lets_them_in(ada, sign_in, ask):
    tokens = sign_in().json()
    ada.is_active = False
    ada.save()

    assert sign_in().status_code == 401
    assert ask("POST", REFRESH, body={"refresh": tokens["refresh"]}).status_code == 401
    bearer = {"Authorization": f"Bearer {tokens['access']}"}
    assert ask("GET", "/api/billing/wallet", **bearer).status_code == 401


def test_given_a_new_password_then_tokens_from_before_it_are_refused(ada, sign_in, ask):
    tokens = sign_in().json()
    ada.set_password("another one")
    ada.save()

    assert ask("POST", REFRESH, body={"refresh": tokens["refresh"]}).status_code == 401
    bearer = {"Authorization": f"Bearer {tokens['access']}"}
    assert ask("GET", "/api/billing/wallet", **bearer).status_code == 401


def test_given_the_token_of_somebody_who_was_deleted_then_it_is_refused(ada, sign_in, ask):
    tokens = sign_in().json()
    ada.delete()

    assert ask("POST", REFRESH, body={"refresh": tokens["refresh"]}).status_code == 401


@pytest.mark.parametrize("kind", ["access", "nonsense", "expired"])
def test_given_what_is_no_refresh_token_then_it_is_refused(ada, sign_in, ask, kind):
    with time_machine.travel("2026-01-01 00:00 +0000"):
        old = sign_in().json()["refresh"]
    tokens = {"access": sign_in().json()["access"], "nonsense": "a.b.c", "expired": old}

    answer = ask("POST", REFRESH, body={"refresh": tokens[kind]})

    assert answer.status_code == 401
    assert answer.json()["code"] == "not_authenticated"
    assert "sign in again" in answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "ada"},
        {"username": "ada", "password": 12},
        {"username": ["ada"], "password": PASSWORD},
        {"username": "a\0da", "password": PASSWORD},
        {"username": "\ud800", "password": PASSWORD},
        {"username": "a" * 151, "password": PASSWORD},
        {"username": None, "password": PASSWORD},
        {"username": "ada", "password": " "},
        [],
        "ada",
        12,
        None,
    ],
)
def test_given_credentials_of_another_form_then_it_is_bad_input(ada, ask, body):
    answer = ask("POST", SIGN_IN, body=body)

    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_input"
    assert answer.json()["error"]


# --- Guessing ---


def test_given_many_wrong_passwords_for_one_name_then_the_right_one_waits_too(
    ada, sign_in, settings
):
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    with time_machine.travel("2026-11-22 12:01 +0000", tick=False):
        for number in range(throttles.WRONG_PER_USER_NAME.requests):
            # From everywhere: those from one address wait longer, and sooner.
            guess = sign_in(password="wrong", **{"X-Forwarded-For": f"192.0.2.{number}"})
            assert guess.status_code == 401
        refused = sign_in()
        assert refused.status_code == 429
        assert refused["Retry-After"] == "240"
        assert refused.json()["code"] == "too_many_requests"
        assert sign_in(username="grace").status_code == 401
    with time_machine.travel("2026-11-22 12:05 +0000", tick=False):
        assert sign_in().status_code == 200


def test_given_many_names_from_one_address_then_it_waits_and_another_one_does_not(ask, settings):
    """The proxy's own word is the last one: what a client made up stands before it."""
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}

    def guess(number, address):
        body = {"username": f"user {number}", "password": "wrong"}
        return ask("POST", SIGN_IN, body=body, **{"X-Forwarded-For": f"10.0.0.1, {address}"})

    with time_machine.travel("2026-11-22 12:01 +0000", tick=False):
        for number in range(throttles.WRONG_PER_ADDRESS.requests):
            assert guess(number, "192.0.2.1").status_code == 401
        assert guess(1000, "192.0.2.1").status_code == 429
        assert guess(1001, "192.0.2.2").status_code == 401


def test_given_many_right_passwords_then_nobody_waits(ada, sign_in, monkeypatch):
    with time_machine.travel("2026-11-22 12:01 +0000", tick=False):
        for _ in range(throttles.WRONG_PER_USER_NAME.requests + 1):
            assert sign_in().status_code == 200


def test_given_guesses_then_every_key_that_they_leave_expires(ada, sign_in):
    for number in range(5):
        sign_in(username=f"user {number}", password="wrong")

    client = throttles._valkey()
    keys = client.keys(f"{cache.key_prefix}:*")
    assert len(keys) == 6
    assert all(0 < client.ttl(key) <= 600 for key in keys)
