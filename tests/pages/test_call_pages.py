"""The pages of calls: those that go on, all of them, and one."""

import re
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from calls.models import Call
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.pages.visitors import PART, links, sign_in, text_of
from tests.wallets.steps import adjust, commit, correct, reserve, top_up
from wallets import ledger
from wallets.models import Organization

pytestmark = pytest.mark.django_db

CALLS, LIVE, FIND = "/calls/", "/calls/live/", "/calls/find/"


def make_call(organization, call_id="call-1", **facts):
    return Call.objects.create(organization=organization, call_id=call_id, **facts)


def live_call(organization, call_id="call-1", **facts):
    """One that Vapi told of."""
    return make_call(
        organization,
        call_id,
        announced_by_vapi=True,
        vapi_call_id=call_id,
        reconcile_at=timezone.now() + timedelta(hours=1),
        **facts,
    )


def settled_call(organization, call_id="call-1", seconds=61, *, charge=True, **facts):
    if charge:
        commit(call_id, seconds, organization_id=organization.pk)
    ended_at = timezone.now()
    return make_call(
        organization,
        call_id,
        started_at=ended_at - timedelta(seconds=seconds),
        ended_at=ended_at,
        ended_reason="customer-ended-call",
        duration_seconds=seconds,
        settled_at=ended_at,
        settled_from="customer",
        charged_pence=98,
        uncollected_pence=0,
        **facts,
    )


# --- Live calls -------------------------------------------------------------------------------


def test_without_calls_it_says_so_and_goes_on_looking(client, owner):
    part = text_of(client.get(LIVE, headers=PART))
    assert "No calls at the moment" in part
    assert 'hx-trigger="every 5s"' in part
    assert "<html" not in part
    assert "<html" in text_of(client.get(LIVE))


def test_a_live_call_shows_its_clock_its_cost_and_what_is_held(
    client, owner, organization, time_machine
):
    time_machine.move_to("2026-03-02T10:00:00Z", tick=False)
    number = PhoneNumberFactory(organization=organization)
    reserve(organization)
    make_call(organization, phone_number=number, type="inboundPhoneCall", started_at=timezone.now())
    for seconds, clock, cost in (
        (0, "0:00", "£0.00"),
        (60, "1:00", "£0.49"),
        (61, "1:01", "£0.98"),
    ):
        time_machine.move_to(f"2026-03-02T10:0{seconds // 60}:{seconds % 60:02}Z", tick=False)
        part = text_of(client.get(LIVE, headers=PART))
        assert f'data-elapsed-seconds="{seconds}">{clock}<' in part
        assert f">{cost}<" in part
        assert ">£2.45<" in part
        assert number.number in part


def test_a_programs_call_is_live_for_as_long_as_it_is_held_for(
    client, owner, organization, time_machine
):
    time_machine.move_to("2026-03-02T10:00:00Z", tick=False)
    reserve(organization)
    call = make_call(organization)
    page = f"{CALLS}{call.pk}/"
    assert "not connected" in text_of(client.get(LIVE, headers=PART))
    assert ">live<" in text_of(client.get(page))
    time_machine.move_to("2026-03-12T10:00:00Z", tick=False)
    ledger.cleanup_expired_reservations()
    assert "No calls at the moment" in text_of(client.get(LIVE, headers=PART))
    assert "nothing more was heard of it" in text_of(client.get(page))
    assert 'good">live<' not in text_of(client.get(CALLS))
    assert "No such calls" in text_of(client.get(f"{CALLS}?status=live"))


def test_a_call_that_the_wallet_could_not_pay_in_full_costs_what_it_costs(
    client, owner, organization
):
    adjust(organization, -9_900)
    commit("call-1", 600, organization_id=organization.pk)
    call = settled_call(organization, seconds=600, charge=False)
    Call.objects.filter(pk=call.pk).update(charged_pence=100, uncollected_pence=390)
    top_up(organization, 5_000)
    organization.refresh_from_db()
    assert organization.owed_pence == 0
    page = text_of(client.get(f"{CALLS}{call.pk}/"))
    assert "<dt>Cost</dt><dd>£4.90</dd>" in page
    assert "£3.90 of it was more than the wallet had then, and became owed" in page
    assert "is owed" not in page
    assert "£3.90 not covered" in text_of(client.get(CALLS))


def test_a_call_that_rings_costs_nothing_yet(client, owner, organization):
    live_call(organization)
    assert "not connected" in text_of(client.get(LIVE, headers=PART))


def test_a_call_that_vapis_clock_begins_later_than_ours_has_just_begun(client, owner, organization):
    live_call(organization, started_at=timezone.now() + timedelta(seconds=30))
    assert 'data-elapsed-seconds="0"' in text_of(client.get(LIVE, headers=PART))


def test_a_call_without_hold_is_priced_by_the_organizations_tariff(client, owner, organization):
    Organization.objects.filter(pk=organization.pk).update(rate_pence_per_minute=100)
    live_call(organization, started_at=timezone.now() - timedelta(seconds=30))
    assert ">£1.00<" in text_of(client.get(LIVE, headers=PART))


def test_more_live_calls_than_are_shown_are_told_of(client, owner, organization):
    for number in range(21):
        live_call(organization, f"call-{number}")
    part = text_of(client.get(LIVE, headers=PART))
    assert part.count("<tr>") == 21
    assert "All live calls" in part


def test_ended_calls_and_those_of_others_are_not_live(client, owner, organization):
    settled_call(organization)
    make_call(OrganizationFactory(), "theirs")
    assert "No calls at the moment" in text_of(client.get(LIVE))


# --- All calls --------------------------------------------------------------------------------


def test_a_call_is_listed_with_what_it_cost_and_how_it_ended(client, owner, organization):
    settled_call(organization, type="inboundPhoneCall")
    page = text_of(client.get(CALLS))
    assert "1:01" in page
    assert "Customer ended call" in page
    assert "£0.98" in page
    assert "Inbound" in page


def test_calls_are_read_by_pages_and_a_filter_stays(client, owner, organization):
    for number in range(51):
        live_call(organization, f"call-{number}")
    first = client.get(f"{CALLS}?status=live")
    [(rel, older)] = links(first)
    second = client.get(CALLS + older)
    assert rel == "next"
    assert "status=live" in older
    assert first.content.decode().count("<tr>") == 51
    assert second.content.decode().count("<tr>") == 2
    [(rel, newer)] = links(second)
    assert rel == "prev"
    assert client.get(CALLS + newer).content.decode().count("<tr>") == 51


def test_days_are_those_of_the_organization(client, owner, organization, time_machine):
    Organization.objects.filter(pk=organization.pk).update(time_zone="America/New_York")
    # Eight in the evening of the 1st, there.
    time_machine.move_to("2026-03-02T01:00:00Z", tick=False)
    call = make_call(organization)
    shown = f"{CALLS}{call.pk}/"
    assert shown in text_of(client.get(f"{CALLS}?date_from=2026-03-01&date_to=2026-03-01"))
    assert shown not in text_of(client.get(f"{CALLS}?date_from=2026-03-02"))
    assert "1 Mar 2026, 20:00" in text_of(client.get(CALLS))


def test_calls_are_filtered_by_number(client, owner, organization):
    number = PhoneNumberFactory(organization=organization)
    with_number = make_call(organization, phone_number=number)
    without = make_call(organization, "call-2")
    page = text_of(client.get(CALLS, {"number": number.number}))
    assert str(with_number.pk) in page
    assert str(without.pk) not in page


@pytest.mark.parametrize(
    "query",
    [
        "status=odd",
        "number=%2B44",
        "cursor=odd",
        "date_from=yesterday",
        "date_from=0001-01-01",
        "date_to=9999-12-31",
        "status=%00",
    ],
)
def test_what_cannot_be_filtered_by_is_left_out(client, owner, organization, query):
    call = make_call(organization)
    response = client.get(f"{CALLS}?{query}")
    assert response.status_code == 200
    assert str(call.pk) in text_of(response)


def test_calls_of_others_are_not_there(client, owner):
    theirs = OrganizationFactory(funded_pence=10_000)
    call = settled_call(theirs)
    assert "No calls yet" in text_of(client.get(CALLS))
    assert client.get(f"{CALLS}{call.pk}/").status_code == 404
    assert client.get(FIND, {"id": call.call_id}).status_code == 404


def test_what_customers_may_not_see_is_on_no_page(client, owner, organization):
    call = settled_call(organization, attention="staff only", vapi_cost_usd="0.123456")
    for page in (CALLS, f"{CALLS}{call.pk}/"):
        assert "staff only" not in text_of(client.get(page))
        assert "0.123456" not in text_of(client.get(page))


# --- One call ---------------------------------------------------------------------------------


def test_a_call_names_the_entry_that_charged_it(client, owner, organization):
    call = settled_call(organization)
    entry = organization.entries.get(type="call_deduction")
    page = text_of(client.get(f"{CALLS}{call.pk}/"))
    assert f'hx-get="/wallet/transactions/{entry.pk}/"' in page
    assert "£0.98" in page
    entry_page = text_of(client.get(f"/wallet/transactions/{entry.pk}/"))
    leads_to = re.search(r'href="(/calls/find/[^"]+)"', entry_page)[1]
    assert client.get(leads_to)["Location"] == f"{CALLS}{call.pk}/"


def test_a_call_that_its_correction_charged_names_that(client, owner, organization):
    commit("call-1", 0, organization_id=organization.pk)
    correct(organization, "call-1", 60)
    call = make_call(organization)
    entry = organization.entries.get(type="adjustment")
    assert str(entry.pk) in text_of(client.get(f"{CALLS}{call.pk}/"))


def test_a_call_that_could_not_be_paid_whole_says_what_is_owed(client, owner, organization):
    call = settled_call(organization)
    Call.objects.filter(pk=call.pk).update(uncollected_pence=49)
    assert "£0.49 of it was more than the wallet had" in text_of(client.get(f"{CALLS}{call.pk}/"))
    assert "£0.49 not covered" in text_of(client.get(CALLS))


def test_a_call_that_is_not_charged_says_why(client, owner, organization):
    now = timezone.now()
    call = make_call(
        organization,
        ended_at=now,
        settled_at=now,
        settled_from="customer",
        charged_pence=0,
        uncollected_pence=0,
        not_charged_because="Never connected",
    )
    assert "£0.00 (Never connected)" in text_of(client.get(f"{CALLS}{call.pk}/"))


def test_an_ended_call_without_report_says_that_its_cost_is_not_known(client, owner, organization):
    call = make_call(organization, ended_at=timezone.now())
    assert "what it costs is being worked out" in text_of(client.get(f"{CALLS}{call.pk}/"))


@pytest.mark.parametrize(
    "address", [f"{CALLS}{uuid.UUID(int=1)}/", f"{FIND}?id=x", f"{FIND}?id=%00", FIND]
)
def test_a_call_that_is_not_there(client, owner, address):
    assert client.get(address).status_code == 404


def test_a_viewer_sees_calls(client, organization):
    sign_in(client, organization, role="viewer")
    call = settled_call(organization)
    assert client.get(f"{CALLS}{call.pk}/").status_code == 200
