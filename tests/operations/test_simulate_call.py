"""`simulate_call`, at a server of this process and at servers that are wrong."""

import json
import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from calls import kill_switch, lifecycle
from calls.ended_reasons import Waiver
from calls.models import Call
from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.operations.wrong_server import wrong_server
from voxbilling.operations.simulation.calls import fair_price_pence
from wallets import ledger
from wallets.models import CreditReservation, Organization
from wallets.pricing import Tariff

pytestmark = pytest.mark.django_db(transaction=True)


def simulate(server, organization, **options):
    """What the command printed."""
    out = StringIO()
    url = server if isinstance(server, str) else server.url
    call_command(
        "simulate_call",
        organization=str(organization.pk)
        if isinstance(organization, Organization)
        else organization,
        base_url=url,
        stdout=out,
        **options,
    )
    return out.getvalue()


def complaints(server, organization, **options):
    """What the command found wrong."""
    out = StringIO()
    with pytest.raises(CommandError, match="did not go as it should"):
        call_command(
            "simulate_call",
            organization=str(organization.pk),
            base_url=server.url,
            stdout=out,
            **options,
        )
    return [line[2:] for line in out.getvalue().splitlines() if line.startswith("✗")]


@pytest.fixture
def clinic():
    number = PhoneNumberFactory(organization__name="Clinic", organization__funded_pence=1_000)
    return number.organization


def test_an_inbound_call_is_authorized_followed_charged_and_told(live_server, clinic):
    printed = simulate(live_server, clinic, minutes=3).splitlines()
    assert (
        "for Clinic. The balance is 1000p, of which 0p are held: enough for 1200 s." in printed[0]
    )
    assert printed[1:] == [
        "Authorized, for 1198 s at most.",
        "In progress.",
        "After 0 s: goes on; the money held lasts 300 s more.",
        "After 60 s: goes on; the money held lasts 240 s more.",
        "After 120 s: goes on; the money held lasts 180 s more.",
        "Ended after 180 s: customer-ended-call.",
        "Charged 147p.",
        "The balance was 1000p before the charge and is 853p after it.",
    ]
    clinic.refresh_from_db()
    assert (clinic.balance_pence, clinic.reserved_pence) == (853, 0)


def test_a_call_longer_than_its_wallet_ends_at_its_cap(live_server):
    shop = PhoneNumberFactory(organization__funded_pence=100).organization
    printed = simulate(live_server, shop, minutes=5)
    assert "Ended after 118 s: exceeded-max-duration." in printed
    assert "Charged 98p." in printed


def test_a_call_to_an_empty_wallet_is_rightly_refused(live_server):
    office = PhoneNumberFactory(organization__funded_pence=48).organization
    printed = simulate(live_server, office)
    assert f"Refused; the caller hears: {lifecycle.CANNOT_PAY}" in printed
    assert "Charged 0p." in printed


def test_an_organization_without_a_number_gets_a_web_call_that_the_kill_switch_ends(live_server):
    web = AssistantFactory(organization__funded_pence=98).organization
    printed = simulate(live_server, web, minutes=5)
    assert "After 60 s: goes on; the money held lasts 60 s more." in printed
    assert "After 120 s: must end. The balance is used up." in printed
    assert "Charged 98p." in printed


def test_another_tariff_is_judged_by_its_own_figures(live_server, clinic):
    Organization.objects.update(rate_pence_per_minute=37, billing_increment_seconds=7)
    printed = simulate(live_server, clinic, minutes=1)
    # 60 s are 9 increments, 63 s, at 37p a minute.
    assert "Charged 39p." in printed


def test_a_lost_report_leaves_the_money_held_and_uncharged(live_server, clinic):
    printed = simulate(live_server, clinic, minutes=1, lose_report=True)
    hold = CreditReservation.objects.get()
    assert f"245p stay held until {hold.expires_at:%d %B %Y %H:%M:%S} UTC." in printed
    assert "A call of 60 s costs 49p" in printed
    clinic.refresh_from_db()
    assert (clinic.balance_pence, clinic.reserved_pence) == (1_000, 245)
    assert Call.objects.get().ended_at is not None


def test_a_lost_report_of_a_refused_call_leaves_nothing(live_server):
    office = PhoneNumberFactory().organization
    printed = simulate(live_server, office, lose_report=True)
    assert "Nothing was held, and nothing is charged." in printed


def test_an_overdraft_counts_as_money(live_server):
    shop = PhoneNumberFactory().organization
    ledger.set_debt_limit(organization_id=shop.pk, debt_limit_pence=49)
    assert "Authorized, for 58 s at most." in simulate(live_server, shop, minutes=1)


def test_it_finds_a_wrong_cap(live_server, clinic, monkeypatch):
    monkeypatch.setattr(lifecycle, "_payable_seconds", lambda locked: 3_000)
    assert complaints(live_server, clinic) == [
        "The wallet can pay for 1200 s, so the cap should be 1198 s."
    ]


def test_it_finds_a_refusal_that_should_not_be(live_server, clinic, monkeypatch):
    monkeypatch.setattr(lifecycle, "_payable_seconds", lambda locked: 0)
    assert complaints(live_server, clinic) == ["The wallet can pay for 1200 s."]


def test_it_finds_a_wrong_price(live_server, clinic, monkeypatch):
    price = Tariff.price
    monkeypatch.setattr(Tariff, "price", lambda self, seconds: price(self, seconds + 60))
    assert "180 s should have cost 147p." in complaints(live_server, clinic)


def test_it_finds_a_call_that_was_not_charged(live_server, clinic, monkeypatch):
    monkeypatch.setattr(lifecycle, "_doubt", lambda *_: "Nothing is believed.")
    assert complaints(live_server, clinic) == [
        "Not charged: it should have cost 147p. Nothing is believed."
    ]


def test_it_finds_a_call_that_was_waived(live_server, clinic, monkeypatch):
    monkeypatch.setattr(lifecycle, "waiver_for", lambda *_, **__: Waiver.VAPI_FAULT)
    assert complaints(live_server, clinic) == ["180 s should have cost 147p."]


def test_it_finds_a_call_that_was_cut_too_early(live_server, clinic, monkeypatch):
    monkeypatch.setattr(kill_switch, "_verdict", lambda *_: (True, "Ended."))
    assert "The wallet can pay for 1200 s, so the call should go on." in complaints(
        live_server, clinic
    )


def test_it_finds_a_call_that_was_not_cut(live_server, monkeypatch):
    web = AssistantFactory(organization__funded_pence=49).organization
    monkeypatch.setattr(kill_switch, "_elapsed", lambda *_: 0)
    assert "The wallet can pay for 60 s, so the call should end." in complaints(
        live_server, web, minutes=2
    )


def test_it_finds_a_hold_that_was_given_back_too_early(live_server, clinic, monkeypatch):
    end = lifecycle.mark_ended

    def end_and_release(call, *details):
        ledger.release_reservation(call_id=call.call_id)
        return end(call, *details)

    monkeypatch.setattr(lifecycle, "mark_ended", end_and_release)
    assert complaints(live_server, clinic, lose_report=True) == [
        "The hold should wait for the report, and is released."
    ]


def test_it_finds_a_server_on_another_database(clinic):
    answer = {"error": "I know nobody"}
    with wrong_server(200, json.dumps(answer).encode()) as url:
        server = type("Server", (), {"url": url})
        found = complaints(server, clinic)
    assert found[0] == "The wallet can pay for 1200 s."
    assert found[1].startswith("The call is not in the database")


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (401, b"{}"), (200, b"<html>"), (200, b"[]")]
)
def test_a_server_that_is_not_voxbilling_is_named(clinic, status, body):
    with (
        wrong_server(status, body) as url,
        pytest.raises(CommandError, match="did not answer as voxbilling does"),
    ):
        simulate(url, clinic)


@pytest.mark.parametrize(
    ("organization", "sentence"),
    [
        ("clinic", "must be a UUID"),
        (str(uuid.UUID(int=1)), "No organization has the id"),
        (None, "--organization"),
    ],
)
def test_it_says_whose_call_it_needs(organization, sentence, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    with pytest.raises(CommandError, match=sentence):
        simulate("http://127.0.0.1:9", organization)


def test_an_organization_with_nothing_at_vapi_cannot_be_called():
    with pytest.raises(CommandError, match="neither a number with an assistant nor an assistant"):
        simulate("http://127.0.0.1:9", OrganizationFactory())


def test_without_an_organization_it_calls_the_well_funded_one(
    live_server, settings, tmp_path, clinic
):
    settings.DATA_DIR = tmp_path
    demo = {
        "base_url": live_server.url,
        "sandbox_url": "http://127.0.0.1:9",
        "organizations": [{"id": str(clinic.pk)}],
    }
    (tmp_path / "demo.json").write_text(json.dumps(demo))
    out = StringIO()
    call_command("simulate_call", stdout=out)
    assert "Charged 147p." in out.getvalue()


def test_the_simulations_prices_agree_with_the_tariffs():
    for rate, increment in ((49, 60), (37, 7), (1, 1), (100, 3_600)):
        tariff = Tariff(rate_pence_per_minute=rate, billing_increment_seconds=increment)
        for seconds in range(0, 500, 13):
            assert tariff.price(seconds) == fair_price_pence(
                seconds, rate_pence_per_minute=rate, increment_seconds=increment
            )
