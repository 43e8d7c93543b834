"""What the e-mails say, in both parts."""

import re
from datetime import UTC, datetime

import pytest
import time_machine
from django.template import engines

from tests.factories import OrganizationFactory
from tests.wallets.alerts import EXAMPLES, raised
from voxbilling.environment import PROJECT_DIR
from wallets.alerts import Kind
from wallets.alerts.rendering import message_for

SITE = "https://billing.example.com"


@pytest.fixture(autouse=True)
def site(settings):
    settings.SITE_URL = SITE


@pytest.fixture
def organization(db):
    return OrganizationFactory(name="Ann & Bob's <Dental>")


@pytest.fixture
def nothing_is_missing(monkeypatch):
    """A name in a template that nobody gave shows."""
    monkeypatch.setattr(engines["django"].engine, "string_if_invalid", "MISSING[%s]")


def parts_of(message):
    [(html, mime_type)] = message.alternatives
    assert mime_type == "text/html"
    return message.body, html


def words(html):
    """The text of an HTML part, as it is read."""
    html = re.sub(r"<title>.*?</title>|<[^>]+>", " ", html, flags=re.S)
    for escaped, char in {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&#x27;": "'"}.items():
        html = html.replace(escaped, char)
    return " ".join(html.split())


@time_machine.travel(datetime(2026, 7, 1, 9, 5, tzinfo=UTC), tick=False)
@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_written_in_both_parts_and_says_all_that_it_was_told(
    organization, nothing_is_missing, kind
):
    message = message_for(raised(organization, kind), ["ann@example.com"])

    text, html = parts_of(message)
    assert message.to == ["ann@example.com"]
    assert message.subject
    assert "\n" not in message.subject
    for part in (message.subject, text, html):
        assert "MISSING" not in part
        assert "None" not in part
        assert "{" not in part
    told = {
        "amount_pence": lambda pence: f"£{pence / 100:.2f}",
        "price_pence": lambda pence: f"£{pence / 100:.2f}",
        "low_balance_pence": lambda pence: f"£{pence / 100:.2f}",
        "balance_pence": lambda pence: f"{'−' if pence < 0 else ''}£{abs(pence) / 100:.2f}",
        "owed_pence": lambda pence: f"You owe £{pence / 100:.2f}" if pence else "",
        "reason": str,
        "reference": str,
        "number": str,
        "declines": str,
        "url": str,
        "paid_at": lambda at: "1 July 2026, 13:30",
        "next_attempt_at": lambda at: "1 July 2026, 13:30",
        "releases_at": lambda at: "1 July 2026, 13:30",
        "unpaid_since_at": lambda at: "1 July 2026, 13:30",
    }
    for name in EXAMPLES[kind].keys() & told.keys():
        written = told[name](EXAMPLES[kind][name])
        assert written in text, name
        assert written in (html.replace("&amp;", "&") if name == "url" else words(html)), name
    assert "Ann & Bob's <Dental>" in text
    assert "Ann & Bob's <Dental>" in words(html)
    assert "<Dental>" not in html
    assert f"{SITE}/wallet/" in text
    assert f'href="{SITE}/wallet/' in html


@pytest.mark.parametrize("kind", Kind)
def test_no_part_loads_anything_from_elsewhere(organization, kind):
    _, html = parts_of(message_for(raised(organization, kind), ["ann@example.com"]))

    assert not re.search(r"<(img|link|script|iframe|style)|url\(|@import|\bsrc=", html)
    assert set(re.findall(r"https?://[^/\"]+", html)) == {SITE}


@time_machine.travel(datetime(2026, 12, 31, 23, 30, tzinfo=UTC), tick=False)
@pytest.mark.parametrize(
    ("time_zone", "written"),
    [
        ("Europe/London", "31 December 2026, 23:30"),
        ("Europe/Paris", "1 January 2027, 00:30"),
        ("America/New_York", "31 December 2026, 18:30"),
    ],
)
def test_times_are_by_the_organizations_clock(organization, time_zone, written):
    organization.time_zone = time_zone
    organization.save()

    text, html = parts_of(message_for(raised(organization, Kind.LOW_BALANCE), ["a@example.com"]))

    for part in (text, words(html)):
        assert written in part
        assert f"All times are {time_zone}'s." in part


def test_a_negative_balance_and_what_is_owed_are_never_hidden(organization):
    message = message_for(raised(organization, Kind.EMPTY), ["a@example.com"])

    assert message.subject == "Your balance is used up: −£4.99"
    for part in (message.body, words(parts_of(message)[1])):
        assert "fell to −£4.99" in part
        assert "Your debt limit of £5.00 is used up, too." in part
        assert "You owe £0.98" in part


def test_given_a_suspended_account_then_no_calls_are_promised(organization):
    organization.status = "suspended"
    organization.save()

    text, html = parts_of(message_for(raised(organization, Kind.EMPTY), ["a@example.com"]))

    for part in (text, words(html)):
        assert "calls are answered again" not in part
        assert "please contact us" in part


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (Kind.TOPUP_RECEIPT, {"is_automatic": True}, "was topped up automatically by £50.00"),
        (Kind.TOPUP_RECEIPT, {"is_automatic": False}, "Thank you"),
        (Kind.RECHARGE_FAILED, {"next_attempt_at": None}, "please top up yourself"),
        (Kind.RECHARGE_FAILED, {}, "It will be tried again"),
        (Kind.RECHARGE_OFF, {"declines": 1}, "declined 1 time in a row"),
        (Kind.CALLS_CUT_OFF, {}, "3 calls of"),
        (Kind.CALLS_CUT_OFF, {}, "on +442071234567, begun 1 July, 13:30:00"),
        (Kind.CALLS_CUT_OFF, {}, "not yet begun"),
        (Kind.CALLS_CUT_OFF, {}, "and others"),
        (Kind.CALLS_CUT_OFF, {"count": 1, "calls": []}, "1 call of"),
    ],
)
def test_what_depends_on_the_figures(organization, kind, changes, said):
    text, html = parts_of(message_for(raised(organization, kind, **changes), ["a@example.com"]))

    assert said in text
    assert said in words(html)


def test_given_a_name_with_line_breaks_then_no_header_gets_them(organization):
    organization.name = "Ann\nBcc: everybody@example.com"
    organization.save()
    alert = raised(organization, Kind.NUMBER_RELEASED, number="+44\r\nBcc: all@example.com")

    sent = message_for(alert, ["a@example.com"]).message()

    assert sent["Bcc"] is None
    assert "\n" not in sent["Subject"]


def test_a_second_copy_has_the_same_message_id(organization):
    alert = raised(organization)

    ids = {message_for(alert, ["a@example.com"]).message()["Message-ID"] for _ in range(2)}

    assert ids == {f"<alert-{alert.pk}@billing.example.com>"}


def test_every_template_is_of_a_kind():
    found = {path.stem for path in (PROJECT_DIR / "templates/emails").glob("*.*")}

    assert found == {"base", *Kind.values}
