"""Signing in is throttled, sessions end with their password, and errors are pages."""

import re

import pytest
from axes.models import AccessAttempt
from django.db import OperationalError
from django.test import Client
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.factories import UserFactory
from tests.pages.visitors import sign_in, text_of
from voxbilling.api import throttles
from wallets import selectors

pytestmark = pytest.mark.django_db

SIGN_IN, TOKEN, WALLET = "/sign-in/", "/api/auth/token/", "/wallet/"
RIGHT = {"username": "ada", "password": "a long password"}
WRONG = RIGHT | {"password": "wrong"}


@pytest.fixture
def ada(organization):
    user = UserFactory(username="ada")
    user.set_password(RIGHT["password"])
    user.save()
    return user


@pytest.fixture
def locked_out(client, ada):
    for _ in range(9):
        assert client.post(SIGN_IN, WRONG).status_code == 200
    assert client.post(SIGN_IN, WRONG).status_code == 429


def test_given_ten_wrong_passwords_then_the_right_one_is_refused_too(client, locked_out):
    response = client.post(SIGN_IN, RIGHT)
    assert response.status_code == 429
    assert "try again in 15 minutes" in text_of(response)
    assert response["Retry-After"] == "900"
    assert client.get(WALLET).status_code == 302


def test_it_is_the_same_for_staff_and_for_programs(client, locked_out):
    assert client.post("/admin/login/", RIGHT).status_code == 429
    answer = client.post(TOKEN, RIGHT, content_type="application/json")
    assert answer.status_code == 429
    assert answer.json()["code"] == "too_many_requests"


def test_it_is_over_after_a_quarter_of_an_hour(client, ada, time_machine):
    time_machine.move_to("2026-03-02T10:00:00Z", tick=False)
    for _ in range(10):
        client.post(SIGN_IN, WRONG)
    time_machine.move_to("2026-03-02T10:14:59Z", tick=False)
    assert client.post(SIGN_IN, RIGHT).status_code == 429
    time_machine.move_to("2026-03-02T10:31:00Z", tick=False)
    assert client.post(SIGN_IN, RIGHT)["Location"] == WALLET


def test_nobody_is_locked_out_by_somebody_elsewhere(client, locked_out):
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert elsewhere.post(SIGN_IN, RIGHT)["Location"] == WALLET


def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_added(client, ada, settings):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
    for number in range(10):
        # What a client writes into the header itself is not believed.
        client.post(SIGN_IN, WRONG, headers={"X-Forwarded-For": f"192.0.2.{number}, 198.51.100.1"})
    same = client.post(SIGN_IN, RIGHT, headers={"X-Forwarded-For": "192.0.2.99, 198.51.100.1"})
    other = client.post(SIGN_IN, RIGHT, headers={"X-Forwarded-For": "192.0.2.99, 198.51.100.2"})
    assert same.status_code == 429
    assert other["Location"] == WALLET


def test_an_ipv6_network_of_one_customers_size_counts_as_one_address(ada):
    for number in range(10):
        Client(REMOTE_ADDR=f"2001:db8::{number}").post(SIGN_IN, WRONG)
    assert Client(REMOTE_ADDR="2001:db8::ffff").post(SIGN_IN, RIGHT).status_code == 429
    assert Client(REMOTE_ADDR="2001:db8:0:1::1").post(SIGN_IN, RIGHT).status_code == 302


def test_signing_in_forgets_what_was_wrong_before(client, ada):
    for _ in range(9):
        client.post(SIGN_IN, WRONG)
    client.post(SIGN_IN, RIGHT)
    client.logout()
    assert client.post(SIGN_IN, WRONG).status_code == 200
    assert client.post(SIGN_IN, RIGHT)["Location"] == WALLET


def test_no_password_is_kept_with_the_attempts(client, ada):
    client.post(SIGN_IN, WRONG | {"password": "canary"})
    [attempt] = AccessAttempt.objects.values()
    assert "canary" not in str(attempt)


@pytest.mark.parametrize("address", [SIGN_IN, "/admin/login/"])
@pytest.mark.parametrize("name", ["a" * 256, "é" * 5_000, "a\0da", "ﬃ" * 200])
def test_a_name_that_nobody_can_have_is_a_wrong_one(client, db, address, name):
    response = client.post(address, WRONG | {"username": name})
    assert response.status_code == 200
    assert response.context["form"].errors


@pytest.mark.parametrize("address", [SIGN_IN, "/admin/login/"])
def test_an_address_may_guess_so_often_whatever_the_names(client, ada, time_machine, address):
    time_machine.move_to("2026-03-02T10:01:00Z", tick=False)
    ada.is_staff = True
    ada.save()
    for number in range(throttles.WRONG_PER_ADDRESS.requests):
        client.post(address, WRONG | {"username": f"user {number}"})

    refused = client.post(address, RIGHT)

    assert "try again in 240 seconds" in text_of(refused)
    assert "_auth_user_id" not in client.session
    assert Client(REMOTE_ADDR="192.0.2.7").post(address, RIGHT).status_code == 302
    time_machine.move_to("2026-03-02T10:05:00Z", tick=False)
    assert client.post(address, RIGHT).status_code == 302


def test_right_passwords_do_not_count(client, ada, monkeypatch):
    limit = throttles.Limit(name="wrong-address", requests=3, window_seconds=10**9)
    monkeypatch.setattr(throttles, "WRONG_PER_ADDRESS", limit)
    for _ in range(5):
        assert client.post(SIGN_IN, RIGHT).status_code == 302
        client.logout()


def test_given_a_new_password_then_other_sessions_end_and_this_one_goes_on(client, ada):
    elsewhere = Client()
    for browser in (client, elsewhere):
        browser.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    new = {"new_password1": "a new passphrase", "new_password2": "a new passphrase"}
    assert "a right old one" not in text_of(client.get("/password/"))
    wrong = client.post("/password/", {"old_password": "no", **new})
    assert 'role="alert"' in text_of(wrong)
    done = client.post("/password/", {"old_password": RIGHT["password"], **new}, follow=True)
    assert "Your password is changed" in text_of(done)
    assert elsewhere.get("/password/").status_code == 302
    assert client.get("/password/").status_code == 200


def test_an_address_may_ask_for_so_many_links_and_no_more(client, ada, mailoutbox, time_machine):
    time_machine.move_to("2026-03-02T10:01:00Z", tick=False)
    ada.email = "ada@example.com"
    ada.save()
    for _ in range(throttles.RESETS_PER_ADDRESS.requests):
        assert client.post("/password-reset/", {"email": "ada@example.com"}).status_code == 302
    refused = client.post("/password-reset/", {"email": "ada@example.com"})
    assert refused.status_code == 429
    assert refused["Retry-After"] == "240"
    assert "try again in 240 seconds" in text_of(refused)
    assert len(mailoutbox) == throttles.RESETS_PER_ADDRESS.requests
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert elsewhere.post("/password-reset/", {"email": "ada@example.com"}).status_code == 302


def test_a_link_leads_to_our_own_address_whatever_the_one_that_was_asked(
    client, ada, mailoutbox, settings
):
    settings.ALLOWED_HOSTS = [".example.com"]
    settings.SITE_URL = "https://billing.example.com"
    ada.email = "ada@example.com"
    ada.save()
    client.post("/password-reset/", {"email": ada.email}, headers={"Host": "evil.example.com"})
    assert "https://billing.example.com/password-reset/" in mailoutbox[0].body
    assert "evil" not in mailoutbox[0].body


def test_a_new_password_lets_its_owner_in_who_was_locked_out(client, locked_out, ada, mailoutbox):
    ada.email = "ada@example.com"
    ada.save()
    client.post("/password-reset/", {"email": ada.email})
    link = re.search(r"https?://[^/]+(/\S+)", mailoutbox[0].body)[1]
    form = client.get(link, follow=True)
    new = {"new_password1": "a new passphrase", "new_password2": "a new passphrase"}
    client.post(form.request["PATH_INFO"], new)
    assert client.post(SIGN_IN, RIGHT | {"password": "a new passphrase"})["Location"] == WALLET


# --- Errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OperationalError("the server is gone"), 503, "Not available now"),
        (RedisConnectionError("valkey.internal"), 503, "Not available now"),
        (ValueError("a secret of ours"), 500, "Something went wrong"),
    ],
)
def test_what_nobody_expected_is_a_page_that_says_whether_to_try_again(
    organization, monkeypatch, error, status, said
):
    def fail(_organization_id):
        raise error

    client = Client(raise_request_exception=False)
    sign_in(client, organization)
    monkeypatch.setattr(selectors, "wallet", fail)
    response = client.get(WALLET)
    assert response.status_code == status
    assert said in text_of(response)
    assert str(error) not in text_of(response)
    assert response.has_header("Retry-After") == (status == 503)


def test_a_form_without_its_token_is_told_to_be_loaded_again(organization):
    strict = Client(enforce_csrf_checks=True)
    sign_in(strict, organization)
    response = strict.post("/wallet/top-up/", {"amount_pence": "50"})
    assert response.status_code == 403
    assert "out of date" in text_of(response)


def test_cookies_are_for_the_browser_alone(client, ada):
    client.get(SIGN_IN)
    client.post(SIGN_IN, RIGHT)
    for name in ("sessionid", "csrftoken"):
        assert client.cookies[name]["httponly"]
        assert client.cookies[name]["samesite"] == "Lax"
