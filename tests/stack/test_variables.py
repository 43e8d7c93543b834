"""Which environment the embedded servers bring, and what they leave to the user."""

import environ
import pytest

from voxbilling.stack import variables
from voxbilling.stack.paths import DataDirectory
from voxbilling.stack.servers import Servers


@pytest.fixture
def servers(tmp_path, monkeypatch):
    names = ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "DEBUG", "VAPI_WEBHOOK_SECRETS")
    for name in (
        *names,
        "VAPI_API_KEY",
        "VAPI_API_URL",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_API_URL",
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "STRIPE_API_URL",
        "SITE_URL",
        "EMAIL_URL",
        "VOXBILLING_DATA_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
    servers = Servers(DataDirectory(tmp_path), lock=None)
    servers.database_url = "postgresql:///ours"
    servers.redis_url = "unix:///ours"
    return servers


LOCAL = "127.0.0.1,localhost"
FOR_THIS_MACHINE = {"ALLOWED_HOSTS": LOCAL, "NO_PROXY": LOCAL, "no_proxy": LOCAL}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in FOR_THIS_MACHINE:
        monkeypatch.delenv(name, raising=False)


def test_what_the_user_named_for_other_machines_stays_and_this_one_is_added(servers, monkeypatch):
    monkeypatch.setenv("ALLOWED_HOSTS", "billing.example.com")
    monkeypatch.setenv("NO_PROXY", "intranet")
    found = variables.for_servers(servers)
    assert found["ALLOWED_HOSTS"] == f"billing.example.com,{LOCAL}"
    assert found["NO_PROXY"] == found["no_proxy"] == f"intranet,{LOCAL}"


def test_they_bring_all_that_settings_need(servers, tmp_path):
    assert variables.for_servers(servers, "http://sandbox", "http://site") == {
        "DEBUG": "1",
        "SECRET_KEY": servers.data.passwords["secret_key"],
        "DATABASE_URL": "postgresql:///ours",
        "REDIS_URL": "unix:///ours",
        "VAPI_WEBHOOK_SECRETS": servers.data.passwords["vapi_webhook_secret"],
        "VAPI_API_KEY": "sandbox",
        "VAPI_API_URL": "http://sandbox/vapi",
        "TWILIO_ACCOUNT_SID": "ACsandbox",
        "TWILIO_AUTH_TOKEN": "sandbox",
        "TWILIO_API_URL": "http://sandbox/twilio",
        "STRIPE_SECRET_KEY": "sk_test_sandbox",
        "STRIPE_API_URL": "http://sandbox/stripe",
        "STRIPE_WEBHOOK_SECRET": servers.data.passwords["stripe_webhook_secret"],
        "SITE_URL": "http://site",
        "EMAIL_URL": f"filemail:///{tmp_path}/mail",
        "VOXBILLING_DATA_DIR": str(tmp_path),
        **FOR_THIS_MACHINE,
    }


def test_a_real_key_goes_to_the_real_provider_and_never_to_the_sandbox(servers, monkeypatch):
    monkeypatch.setenv("VAPI_API_KEY", "real")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "real")
    monkeypatch.setenv("STRIPE_SECRET_KEY", "real")
    found = variables.for_servers(servers, "http://sandbox")
    assert "VAPI_API_URL" not in found
    assert "TWILIO_API_URL" not in found
    assert "STRIPE_API_URL" not in found
    assert "sandbox" not in str(found)


def test_emails_go_to_a_directory_whatever_its_name(servers, tmp_path):
    servers.data = DataDirectory(tmp_path / "50% + a space")
    servers.data.root.mkdir()

    found = environ.Env.email_url_config(variables.for_servers(servers)["EMAIL_URL"])

    assert found["EMAIL_BACKEND"] == "django.core.mail.backends.filebased.EmailBackend"
    assert found["EMAIL_FILE_PATH"] == str(tmp_path / "50% + a space" / "mail")


def test_what_the_user_set_wins(servers, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "mine")
    monkeypatch.setenv("VAPI_WEBHOOK_SECRETS", "new,old")
    found = variables.for_servers(servers)
    assert (found["SECRET_KEY"], found["VAPI_WEBHOOK_SECRETS"]) == ("mine", "new,old")


@pytest.mark.parametrize(
    ("environment", "meant"),
    [
        ({}, True),
        ({"DEBUG": "1"}, True),
        ({"DEBUG": "true"}, True),
        ({"DEBUG": "0"}, False),
        ({"DEBUG": "false"}, False),
        ({"DATABASE_URL": "", "REDIS_URL": ""}, True),
        ({"DATABASE_URL": "postgresql:///x"}, False),
        ({"REDIS_URL": "redis://x"}, False),
    ],
)
def test_when_embedded_servers_are_meant(servers, monkeypatch, environment, meant):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert variables.embedded_servers_are_meant() is meant
