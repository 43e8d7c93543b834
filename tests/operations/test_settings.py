"""With DEBUG off the program starts with everything it needs, or says in a sentence what is not
there. Settings are imported in processes of their own, as they are at a start."""

import subprocess
import sys

import pytest

from tests.operations.production import production_environment
from voxbilling.environment import PROJECT_DIR

IMPORT = "import voxbilling.settings as s; print(s.DEBUG, s.DATABASES['default']['ENGINE'])"


def start(*arguments, **changes):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT_DIR,
        env=production_environment(**changes),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_complete_environment_starts():
    started = start("-c", IMPORT)

    assert started.stdout.strip() == "False django.db.backends.postgresql", started.stderr


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("SECRET_KEY", "SECRET_KEY"),
        ("ALLOWED_HOSTS", "ALLOWED_HOSTS"),
        ("DATABASE_URL", "DATABASE_URL"),
        ("REDIS_URL", "REDIS_URL"),
        ("VAPI_API_KEY", "VAPI_API_KEY"),
        ("TWILIO_ACCOUNT_SID", "TWILIO_ACCOUNT_SID"),
        ("TWILIO_AUTH_TOKEN", "TWILIO_AUTH_TOKEN"),
        ("STRIPE_SECRET_KEY", "STRIPE_SECRET_KEY"),
        ("STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRET"),
        ("EMAIL_URL", "EMAIL_URL"),
        ("VAPI_WEBHOOK_SECRETS", "VAPI_WEBHOOK_SECRETS (or VAPI_WEBHOOK_HMAC_SECRETS)"),
    ],
)
def test_what_is_missing_stops_the_start_and_is_named(missing, named):
    stopped = start("-c", IMPORT, **{missing: ""})

    assert stopped.returncode != 0
    last_line = stopped.stderr.splitlines()[-1]
    assert f"voxbilling cannot start: set {named} in the environment" in last_line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "  "),
        ("ALLOWED_HOSTS", " , "),
        ("VAPI_WEBHOOK_SECRETS", " , "),
        ("DATABASE_URL", "sqlite:///here"),
        ("REDIS_URL", "amqp://broker"),
        ("CALL_RATE_PENCE_PER_MINUTE", "-5"),
        ("CALL_RATE_PENCE_PER_MINUTE", "abc"),
        ("BILLING_INCREMENT_SECONDS", "0"),
        ("RESERVATION_MINUTES", "0"),
        ("RESERVATION_TTL_MINUTES", "1.5"),
        ("STATUS_CHECK_SECONDS", "0"),
        ("KILL_LEAD_SECONDS", "61"),
        ("WALLET_MIN_TOPUP_PENCE", "29"),
        ("WALLET_MIN_TOPUP_PENCE", "25.00"),
        ("EMAIL_URL", "mail.example.com:587"),
        ("EMAIL_URL", "smtp://mail.example.com:port"),
        ("SITE_URL", "billing.example.com"),
        ("SITE_URL", "http://billing.example.com"),
        ("USD_TO_GBP_RATE", "NaN"),
        ("USD_TO_GBP_RATE", "0"),
        ("SENTRY_DSN", "sentry.example.com"),
        ("WEBHOOK_EVENT_RETENTION_DAYS", "0"),
        ("WAIVE_VAPI_FAULTS", "ja"),
        ("DEBUG", "maybe"),
        ("VAPI_API_KEY", " "),
        ("TWILIO_AUTH_TOKEN", " "),
        ("ALLOWED_HOSTS", "https://billing.example.com"),
        ("METRICS_TOKEN", "x"),
        ("TWILIO_BUNDLE_SIDS", "GB-local"),
        ("TWILIO_ADDRESS_SIDS", "GB="),
        ("DATABASE_URL", "postgresql://user:a-real-one@db.example.com:port/voxbilling"),
    ],
)
def test_a_value_that_cannot_be_stops_the_start_and_is_named(name, value):
    stopped = start("-c", IMPORT, **{name: value})

    assert stopped.returncode != 0
    last_line = stopped.stderr.strip().splitlines()[-1]
    assert last_line.startswith("django.core.exceptions.ImproperlyConfigured: ")
    assert name in last_line
    assert "a-real-one" not in last_line


def test_what_is_blank_is_as_if_it_were_not_there():
    """Compose passes on what .env leaves empty."""
    names = ["WAIVE_VAPI_FAULTS", "DEBUG", "VAPI_API_URL", "TWILIO_API_URL", "STRIPE_API_URL"]
    names += ["METRICS_TOKEN", "TWILIO_BUNDLE_SIDS"]
    shown = "; ".join(f"print(s.{name})" for name in names)
    started = start("-c", f"import voxbilling.settings as s; {shown}", **dict.fromkeys(names, ""))

    assert started.stdout.split() == [
        *("True", "False", "https://api.vapi.ai", "https://api.twilio.com"),
        *("https://api.stripe.com", "{}"),
    ], started.stderr


@pytest.mark.parametrize(("word", "meant"), [("1", True), ("True", True), ("off", False)])
def test_a_switch_is_read_as_it_is_written(word, meant):
    show = "import voxbilling.settings as s; print(s.WAIVE_VAPI_FAULTS)"
    assert start("-c", show, WAIVE_VAPI_FAULTS=word).stdout.strip() == str(meant)


def test_blank_numbers_are_defaults_and_blanks_in_lists_are_dropped():
    names = ("CALL_RATE_PENCE_PER_MINUTE", "BILLING_INCREMENT_SECONDS", "USD_TO_GBP_RATE")
    started = start(
        "-c",
        "import voxbilling.settings as s; print(s.CALL_RATE_PENCE_PER_MINUTE, s.ALLOWED_HOSTS)",
        **dict.fromkeys(names, ""),
        ALLOWED_HOSTS="a.example.com , b.example.com,",
    )

    assert started.stdout.strip() == "49 ['a.example.com', 'b.example.com']", started.stderr


def test_the_site_is_the_first_allowed_host_unless_it_is_named():
    show = "import voxbilling.settings as s; print(s.SITE_URL, s.DEFAULT_FROM_EMAIL)"

    derived = start("-c", show, ALLOWED_HOSTS="a.example.com,b.example.com")
    named = start("-c", show, SITE_URL="https://c.example.com/", ALLOWED_HOSTS=".example.com")

    assert derived.stdout.split() == ["https://a.example.com", "billing@a.example.com"]
    assert named.stdout.split() == ["https://c.example.com", "billing@c.example.com"]


@pytest.mark.parametrize("hosts", [".example.com", "*"])
def test_a_pattern_of_hosts_is_no_site(hosts):
    stopped = start("-c", IMPORT, ALLOWED_HOSTS=hosts)

    assert "Set SITE_URL to the address" in stopped.stderr


def test_everything_that_is_missing_is_named_at_once():
    stopped = start("-c", IMPORT, SECRET_KEY="", REDIS_URL="")

    assert "set SECRET_KEY, REDIS_URL in the environment" in stopped.stderr


def test_signed_webhooks_alone_are_enough():
    started = start("-c", IMPORT, VAPI_WEBHOOK_SECRETS="", VAPI_WEBHOOK_HMAC_SECRETS="made-up")

    assert started.returncode == 0, started.stderr


@pytest.mark.parametrize("debug", ["true", "false"])
def test_a_server_is_needed_in_every_mode(debug):
    stopped = start("-c", IMPORT, DEBUG=debug, DATABASE_URL="")

    assert "set DATABASE_URL in the environment" in stopped.stderr


def test_with_debug_off_a_command_gets_no_embedded_servers():
    stopped = start("manage.py", "migrate", DATABASE_URL="", REDIS_URL="")

    assert stopped.returncode != 0
    assert "set DATABASE_URL, REDIS_URL in the environment" in stopped.stderr


def test_a_complete_environment_passes_the_deployment_checks():
    checked = start("manage.py", "check", "--deploy", "--fail-level", "WARNING")

    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


@pytest.mark.parametrize(
    ("weakness", "warning"),
    [({"SECRET_KEY": "short"}, "security.W009"), ({"DEBUG": "true"}, "security.W018")],
)
def test_the_deployment_checks_see_what_is_weak(weakness, warning):
    checked = start("manage.py", "check", "--deploy", "--fail-level", "WARNING", **weakness)

    assert checked.returncode != 0
    assert warning in checked.stderr
