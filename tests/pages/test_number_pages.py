"""The pages of phone numbers: what they say, who may act, and that a purchase is made once."""

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.exceptions import Throttled

from telephony import provisioning, releases, rentals
from telephony.models import NumberOrder, PhoneNumber
from telephony.numbering import COUNTRY_NAMES, beginning_of_numbers
from tests.factories import (
    AssistantFactory,
    MembershipFactory,
    OrganizationFactory,
    PhoneNumberFactory,
    staff_of,
)
from tests.pages.visitors import PART, links, sign_in, text_of
from tests.telephony.conftest import fake
from tests.telephony.expectations import assert_all_or_nothing
from tests.telephony.fake_providers import (
    BUY,
    IMPORT,
    RELEASE,
    SEARCH,
    TIME_OUT,
    UNREACHABLE,
)
from tests.wallets.invariants import nothing_changes
from tests.wallets.steps import commit, reserve
from voxbilling.api import throttles
from voxbilling.api.pages import Cursor
from wallets.models import Organization

__all__ = ["fake"]

pytestmark = pytest.mark.django_db

NUMBERS, SEARCHED, BUYING = "/numbers/", "/numbers/search/", "/numbers/buy/"
LONDON = {"country": "GB", "number_type": "local", "area_code": "020"}
# When a month is 28 days, and the clocks of London do not change.
BOUGHT = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nobody_else(fake):
    """Nothing here reaches a real provider."""


def buy_on_page(client, key=None, page=LONDON, price_pence=1_000, **headers):
    """Send the form of the page that asks for a confirmation."""
    given = page | {"key": str(key or uuid.uuid4()), "price_pence": price_pence}
    return client.post(BUYING, given, headers=headers)


def bought(organization, **given):
    """A number that the organization has bought."""
    result = provisioning.provision(
        organization_id=organization.pk, country="GB", number_type="local", **given
    )
    return PhoneNumber.objects.get(pk=result.phone_number_id)


def order_at(fake, client, operation, what, *, done=False):
    """The page to which a purchase leads that meets this at a provider."""
    fake.fail(operation, what, done=done)
    response = buy_on_page(client)
    assert response.status_code == 302
    return response["Location"]


# --- Who may see them ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", [NUMBERS, SEARCHED, BUYING, f"{NUMBERS}orders/{uuid.UUID(int=1)}/",
             f"{NUMBERS}release/{uuid.UUID(int=1)}/"]
)  # fmt: skip
def test_given_nobody_signed_in_then_the_page_leads_to_sign_in(client, page):
    assert client.get(page)["Location"] == f"/sign-in/?next={page}"


def test_a_viewer_sees_everything_and_can_change_nothing(client, organization, fake):
    number = bought(organization)
    sign_in(client, organization, role="viewer")
    release = f"{NUMBERS}release/{number.pk}/"
    asked = len(fake.asked)

    listed = text_of(client.get(NUMBERS))
    assert number.number in listed
    assert "Buy a number" not in listed
    assert "/release/" not in listed
    assert "Only an owner" in text_of(client.get(SEARCHED, LONDON))
    assert "Only an owner" in text_of(client.get(BUYING, LONDON))
    assert "Only an owner" in text_of(client.get(release))
    for page in (client.get(SEARCHED, LONDON), client.get(BUYING, LONDON), client.get(release)):
        assert 'method="post"' not in page.content.decode().replace(
            'class="sign-out" method="post"', ""
        )
    with nothing_changes():
        assert buy_on_page(client).status_code == 403
        assert client.post(release).status_code == 403
    assert set(fake.asked[asked:]) == {SEARCH}
    assert PhoneNumber.objects.get().status == "active"


def test_staff_buy_and_release_for_the_organization_that_they_opened(client, organization):
    client.force_login(staff_of("admin"))
    client.post("/organizations/", {"organization": str(organization.pk)})

    named = {"organization": str(organization.pk)}
    buy_on_page(client, page=LONDON | named)
    number = PhoneNumber.objects.get()
    assert number.organization == organization
    assert "Release" in text_of(client.get(NUMBERS))
    client.post(f"{NUMBERS}release/{number.pk}/", named)
    number.refresh_from_db()
    assert number.status == "released"


def test_another_tenants_numbers_and_orders_are_not_there(client, owner, fake):
    others = OrganizationFactory(funded_pence=5_000)
    theirs = bought(others)
    order = NumberOrder.objects.get()

    assert theirs.number not in text_of(client.get(NUMBERS))
    for method in (client.get, client.post):
        assert method(f"{NUMBERS}release/{theirs.pk}/").status_code == 404
    assert client.get(f"{NUMBERS}orders/{order.pk}/").status_code == 404
    assert RELEASE not in fake.asked


# --- The list -----------------------------------------------------------------------------------


def test_a_number_says_when_it_was_bought_what_it_costs_and_when_it_is_next_due(
    client, owner, organization
):
    Organization.objects.filter(pk=organization.pk).update(time_zone="Europe/Berlin")
    AssistantFactory(organization=organization, name="Reception")
    with time_machine.travel(BOUGHT, tick=False):
        number = bought(organization)
    page = text_of(client.get(NUMBERS))

    assert number.number in page
    assert ">active<" in page
    assert "1 Feb 2026" in page
    assert "£10.00" in page
    assert "1 Mar 2026" in page
    assert "Reception" in page
    assert f"/numbers/release/{number.pk}/" in page
    assert "hx-trigger" not in page


def test_given_no_numbers_then_the_page_says_where_to_get_one(client, owner):
    page = text_of(client.get(NUMBERS))
    assert "No numbers yet" in page
    assert 'href="/numbers/search/"' in page


def test_a_number_that_staff_set_up_is_free_and_theirs_to_release(client, owner, organization):
    number = PhoneNumberFactory(organization=organization)
    page = text_of(client.get(NUMBERS))
    assert "set up by us" in page
    assert "free" in page
    assert "/release/" not in page

    release = f"{NUMBERS}release/{number.pk}/"
    assert "set up by our staff" in text_of(client.get(release))
    response = client.post(release)
    assert response.status_code == 409
    assert "set up by our staff" in text_of(response)


def test_a_number_that_nobody_answers_says_so(client, owner, organization):
    PhoneNumberFactory(organization=organization, assistant=None)
    page = text_of(client.get(NUMBERS))
    assert "answers no calls" in page
    assert "callers are turned away" in page


def test_a_month_that_could_not_be_paid_says_until_when_it_can(client, owner, organization):
    with time_machine.travel(BOUGHT, tick=False):
        number = bought(organization)
    reserve(organization, estimated_minutes=720)
    with time_machine.travel(number.paid_until, tick=False):
        rentals.charge_rents()

    page = text_of(client.get(NUMBERS))
    assert "not paid" in page
    # Seven days after 28 February, 23:30.
    assert "It is released on <time" in page
    assert "7 Mar 2026, 23:30" in page
    assert 'href="/wallet/top-up/"' in page


def test_numbers_are_read_by_pages_there_and_back(client, owner, organization):
    made = PhoneNumberFactory.create_batch(51, organization=organization)
    first = client.get(NUMBERS)
    [(_, older)] = links(first)
    second = client.get(NUMBERS + older)
    [(_, newer)] = links(second)

    assert made[-1].number in text_of(first)
    assert made[0].number not in text_of(first)
    assert made[0].number in text_of(second)
    assert made[-1].number in text_of(client.get(NUMBERS + newer))


@pytest.mark.parametrize("cursor", ["odd", "%00", "x" * 400])
def test_an_address_that_was_changed_shows_the_first_page(client, owner, organization, cursor):
    number = PhoneNumberFactory(organization=organization)
    assert number.number in text_of(client.get(f"{NUMBERS}?cursor={cursor}"))


def test_the_number_of_statements_does_not_grow_with_numbers(client, owner, organization, fake):
    def statements():
        with CaptureQueriesContext(connection) as captured:
            client.get(NUMBERS)
        return len(captured)

    def orders(count):
        for _ in range(count):
            order_at(fake, client, BUY, TIME_OUT)

    PhoneNumberFactory(organization=organization)
    orders(1)
    few = statements()
    PhoneNumberFactory.create_batch(60, organization=organization)
    orders(5)
    assert statements() == few
    assert few <= 14


# --- Searching ----------------------------------------------------------------------------------


def test_what_is_for_sale_is_shown_with_its_price(client, owner):
    page = text_of(client.get(SEARCHED, LONDON))
    assert "+442079460100" in page
    assert "London" in page
    assert "For sale now in United Kingdom" in page
    assert "<strong>£10.00 a month</strong> each" in page
    assert "/numbers/buy/?country=GB&amp;number_type=local&amp;area_code=020" in page


def test_nothing_is_asked_before_something_is_wanted(client, owner, fake):
    assert client.get(SEARCHED).status_code == 200
    assert fake.asked == []


def test_the_part_that_a_search_brings_is_the_numbers_alone(client, owner):
    part = client.get(SEARCHED, LONDON, headers=PART)
    assert "+442079460100" in text_of(part)
    assert "<html" not in text_of(part)
    back = client.get(SEARCHED, LONDON, headers=PART | {"HX-History-Restore-Request": "true"})
    assert "<html" in text_of(back)


def test_where_there_are_none_it_says_what_to_choose_instead(client, owner, fake):
    fake.for_sale.clear()
    page = text_of(client.get(SEARCHED, LONDON))
    assert "There are no local numbers in GB with area code 020 for sale now" in page
    assert "choose another area code" in page
    assert BUYING not in page


def test_numbers_that_need_an_address_are_not_offered_without_one(client, owner, fake, settings):
    fake.for_sale.clear()
    fake.offer("+442079460100", address_requirements="local")
    page = text_of(client.get(SEARCHED, LONDON))
    assert "needs an address" in page
    assert BUYING not in page

    settings.TWILIO_ADDRESS_SIDS = {"GB-local": "AD1"}
    assert BUYING in text_of(client.get(SEARCHED, LONDON))


@pytest.mark.parametrize("what", [UNREACHABLE, TIME_OUT, (401, {}), (500, None)])
@pytest.mark.parametrize(("headers", "status"), [({}, 503), (PART, 200)])
def test_given_that_twilio_cannot_be_asked_then_it_says_so(
    client, owner, fake, what, headers, status
):
    fake.fail(SEARCH, what)
    response = client.get(SEARCHED, LONDON, headers=headers)
    assert response.status_code == status
    assert "try again in a few minutes" in text_of(response)
    assert BUYING not in text_of(response)


@pytest.mark.parametrize(
    "change",
    [{"country": "XX"}, {"country": ""}, {"number_type": "pager"}, {"area_code": "2a"},
     {"area_code": "1234567"}, {"area_code": "٢٠"}],
)  # fmt: skip
def test_what_cannot_be_searched_is_said_and_not_asked(client, owner, fake, change):
    response = client.get(SEARCHED, LONDON | change)
    assert response.status_code == 400
    assert 'role="alert"' in text_of(response)
    assert 'role="alert"' in text_of(client.get(SEARCHED, LONDON | change, headers=PART))
    assert client.get(BUYING, LONDON | change)["Location"] == SEARCHED
    assert buy_on_page(client, page=LONDON | change)["Location"] == SEARCHED
    assert fake.asked == []
    assert not NumberOrder.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_phone_companies_are_asked_in_no_transaction(client, owner, fake):
    client.get(SEARCHED, LONDON)
    buy_on_page(client)
    client.post(f"{NUMBERS}release/{PhoneNumber.objects.get().pk}/")
    assert {SEARCH, BUY, IMPORT, RELEASE} <= set(fake.asked)
    assert fake.in_transaction == []


def test_who_asks_too_often_is_told_when_to_ask_again(
    client, owner, organization, fake, monkeypatch
):
    number = bought(organization)
    asked = len(fake.asked)
    counted = []

    def refuse(limit, who):
        counted.append((limit, who))
        if limit == throttles.PER_ORGANIZATION:
            raise Throttled(wait=42)

    monkeypatch.setattr(throttles, "count", refuse)
    with nothing_changes():
        for response in (
            client.get(SEARCHED, LONDON),
            buy_on_page(client),
            client.post(f"{NUMBERS}release/{number.pk}/"),
        ):
            assert response.status_code == 429
            assert "try again in 42 seconds" in text_of(response)
    assert counted[:2] == [
        (throttles.PER_USER, str(owner.pk)),
        (throttles.PER_ORGANIZATION, str(organization.pk)),
    ]
    assert len(fake.asked) == asked


def test_every_country_that_can_be_chosen_has_area_codes():
    for country in COUNTRY_NAMES:
        assert beginning_of_numbers(country, "1").startswith("+")


# --- Buying -------------------------------------------------------------------------------------


def test_before_buying_it_is_said_what_it_costs_and_what_is_left(client, owner, organization):
    reserve(organization)
    with time_machine.travel(BOUGHT, tick=False), nothing_changes():
        page = text_of(client.get(BUYING, LONDON))
    assert "<dt>Available now</dt><dd>£97.55</dd>" in page
    assert "<dt>The first month</dt><dd>−£10.00</dd>" in page
    assert "<dt>Left then</dt><dd>£87.55</dd>" in page
    assert "the next on 28 February 2026" in page
    assert "£2.45 is held for live calls" in page
    assert "Buy for £10.00" in page


def test_a_confirmed_purchase_leads_to_the_number(client, owner, organization, fake):
    response = buy_on_page(client)

    order = NumberOrder.objects.get()
    assert (response.status_code, response["Location"]) == (302, f"{NUMBERS}orders/{order.pk}/")
    page = text_of(client.get(response["Location"]))
    assert f"{order.number} is yours" in page
    assert "Available now: <strong>£90.00</strong>" in page
    assert "hx-trigger" not in page
    assert_all_or_nothing(organization, fake)


def test_the_key_of_the_page_is_new_each_time_and_kept_by_a_refusal(client, owner, fake):
    def key_of(response):
        return re.search(r'name="key" value="([^"]+)"', response.content.decode())[1]

    assert key_of(client.get(BUYING, LONDON)) != key_of(client.get(BUYING, LONDON))
    key = uuid.uuid4()
    assert key_of(buy_on_page(client, key, price_pence=1)) == str(key)


def test_a_form_that_is_sent_twice_buys_once(client, owner, organization, fake):
    key = uuid.uuid4()
    assert buy_on_page(client, key)["Location"] == buy_on_page(client, key)["Location"]
    assert PhoneNumber.objects.count() == fake.count(BUY) == 1
    assert_all_or_nothing(organization, fake)


def test_given_a_purchase_at_work_when_the_form_is_sent_again_then_it_leads_to_the_same(
    client, owner, organization, fake
):
    key, second = uuid.uuid4(), []
    # A second click, while the first waits for Twilio.
    fake.hooks[BUY] = lambda _fake: second.append(buy_on_page(client, key))
    first = buy_on_page(client, key)
    assert second[0]["Location"] == first["Location"]
    assert fake.count(BUY) == 1
    assert_all_or_nothing(organization, fake)


def test_a_page_that_has_bought_cannot_buy_another_kind(client, owner, fake):
    key = uuid.uuid4()
    buy_on_page(client, key)
    response = buy_on_page(client, key, page=LONDON | {"area_code": ""})
    assert response.status_code == 422
    assert "search anew" in text_of(response)
    assert fake.count(BUY) == 1


def test_given_too_little_money_then_it_says_how_much_is_missing_and_where_to_pay(client, fake):
    organization = OrganizationFactory(funded_pence=701)
    sign_in(client, organization)
    key = uuid.uuid4()
    with nothing_changes():
        before = client.get(BUYING, LONDON)
        refused = buy_on_page(client, key)

    assert "£2.99 is missing" in text_of(before)
    assert "Buy for" not in text_of(before)
    assert "/wallet/top-up/?amount_pence=2500" in text_of(before)
    assert "<dt>Left then</dt><dd>−£2.99</dd>" in text_of(before)
    assert refused.status_code == 402
    assert "Nothing was bought: £2.99 is missing" in text_of(refused)
    assert fake.asked == []
    assert not NumberOrder.objects.exists()


def test_a_shortfall_above_the_least_top_up_is_what_the_link_asks_for(client, settings, owner):
    settings.PHONE_NUMBER_COST_PENCE = 15_000
    assert "/wallet/top-up/?amount_pence=5000" in text_of(client.get(BUYING, LONDON))


def test_what_a_top_up_would_pay_first_is_asked_for_with_it(client, owner, organization):
    # £122.50, of which £100 are there.
    commit("call", 60 * 250, organization_id=organization.pk)
    page = text_of(client.get(BUYING, LONDON))
    assert "£22.50 is owed, and is paid first" in page
    assert "/wallet/top-up/?amount_pence=3250" in page


def test_a_suspended_account_buys_nothing(client, owner, organization):
    Organization.objects.filter(pk=organization.pk).update(status="suspended")
    page = text_of(client.get(BUYING, LONDON))
    assert "suspended, and can buy nothing" in page
    assert "Buy for" not in page
    with nothing_changes():
        response = buy_on_page(client)
    assert response.status_code == 403
    assert "this account is suspended" in text_of(response)


def test_given_another_price_than_the_page_showed_then_nothing_is_bought(client, owner, settings):
    settings.PHONE_NUMBER_COST_PENCE = 1_200
    with nothing_changes():
        response = buy_on_page(client, price_pence=1_000)
    assert response.status_code == 409
    page = text_of(response)
    assert "The price has changed to £12.00 a month" in page
    assert 'name="price_pence" value="1200"' in page


@pytest.mark.parametrize("change", [{"key": "x"}, {"key": ""}, {"price_pence": ""}])
def test_a_form_that_was_changed_buys_nothing(client, owner, fake, change):
    given = LONDON | {"key": str(uuid.uuid4()), "price_pence": "1000"} | change
    with nothing_changes():
        response = client.post(BUYING, given)
    assert response.status_code in {302, 409}
    assert fake.asked == []


def test_a_part_that_buys_leads_to_the_whole_page_and_shows_refusals_in_place(
    client, owner, organization, settings
):
    refused = buy_on_page(client, price_pence=1, **PART)
    assert refused.status_code == 200
    assert "<html" not in text_of(refused)
    assert "The price has changed" in text_of(refused)

    response = buy_on_page(client, **PART)
    order = NumberOrder.objects.get()
    assert response["HX-Redirect"] == f"{NUMBERS}orders/{order.pk}/"


@pytest.mark.parametrize(
    ("operation", "what", "said"),
    [
        (SEARCH, (404, {"code": 20404, "message": "no"}), "There are no local numbers in GB"),
        (BUY, (400, {"code": 21631, "message": "no"}), "needs an address"),
        (BUY, (400, {"code": 21649, "message": "no"}), "needs documents"),
        (BUY, (401, {"code": 20003, "message": "no"}), "refused our request, and not yours"),
        (SEARCH, UNREACHABLE, "cannot be bought at the moment"),
        (IMPORT, (400, {"message": "no"}), "could not be connected"),
    ],
)
def test_a_purchase_that_failed_says_why_and_that_the_money_is_back(
    client, owner, organization, fake, operation, what, said
):
    page = text_of(client.get(order_at(fake, client, operation, what)))
    assert "No number was bought" in page
    assert said in page
    assert "The price was refunded: it is back in your wallet." in page
    assert "Idempotency-Key" not in page
    assert "Available now: <strong>£100.00</strong>" in page
    assert "Search again" in page
    assert_all_or_nothing(organization, fake)


def test_a_number_that_was_taken_meanwhile_is_replaced_by_another(
    client, owner, organization, fake
):
    page = order_at(fake, client, BUY, (400, {"code": 21422, "message": "taken"}))
    assert "is yours" in text_of(client.get(page))
    assert fake.count(BUY) == 2
    assert_all_or_nothing(organization, fake)


def test_a_purchase_at_work_says_so_until_the_sweep_has_finished_it(
    client, owner, organization, fake
):
    page = order_at(fake, client, BUY, TIME_OUT, done=True)
    assert "The phone company is asked" in text_of(client.get(page))
    assert 'hx-trigger="every 3s"' in text_of(client.get(page, headers=PART))
    listed = text_of(client.get(NUMBERS))
    assert "being bought since" in listed
    assert f'href="{page}"' in listed
    assert 'hx-trigger="every 5s"' in listed
    assert "<html" not in text_of(client.get(NUMBERS, headers=PART))
    [refresh] = re.findall(r'hx-get="(/numbers/[^"]+)"', listed)
    refresh = refresh.replace("&amp;", "&")
    assert client.get(refresh, headers=PART).status_code == 204
    assert client.get(f"{page}?state=charged", headers=PART).status_code == 204

    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=3)):
        provisioning.resume_orders()

    assert "being bought" not in text_of(client.get(refresh, headers=PART))
    assert "is yours" in text_of(client.get(f"{page}?state=charged", headers=PART))
    assert "hx-trigger" not in text_of(client.get(page, headers=PART))
    assert "being bought" not in text_of(client.get(NUMBERS))
    assert_all_or_nothing(organization, fake)


def test_a_number_that_is_connected_late_says_which_it_is(client, owner, fake):
    page = order_at(fake, client, IMPORT, TIME_OUT)
    assert f"{NumberOrder.objects.get().number} is being connected" in text_of(client.get(page))


def test_an_order_that_is_given_up_says_that_the_money_comes_back(client, owner, fake):
    page = order_at(fake, client, IMPORT, TIME_OUT)
    NumberOrder.objects.update(status="cancelling", failure_code="x", failure="It failed.")
    assert "£10.00 is on its way back" in text_of(client.get(page))
    assert 'hx-trigger="every 3s"' in text_of(client.get(page))


# --- Releasing ----------------------------------------------------------------------------------


def test_before_releasing_it_is_said_what_happens(client, owner, organization):
    AssistantFactory(organization=organization, name="Reception")
    with time_machine.travel(BOUGHT, tick=False):
        number = bought(organization)
    with nothing_changes():
        page = text_of(client.get(f"{NUMBERS}release/{number.pk}/"))
    assert f"Release {number.number} for good" in page
    assert "Reception does not answer it" in page
    assert "may sell it to somebody else" in page
    assert "What is paid until 28 February 2026 is not refunded" in page


def test_a_released_number_is_gone_from_the_list_and_from_the_providers(
    client, owner, organization, fake
):
    number = bought(organization)
    release = f"{NUMBERS}release/{number.pk}/"
    for _ in range(2):
        assert client.post(release)["Location"] == NUMBERS
        assert f"{number.number} was released." in text_of(client.get(NUMBERS))
    assert "No numbers yet" in text_of(client.get(NUMBERS))
    assert "This number was released" in text_of(client.get(release))
    assert fake.twilio == fake.vapi == {}
    assert fake.count(RELEASE) == 1


def test_given_a_provider_down_then_the_release_goes_on_by_itself(
    client, owner, organization, fake
):
    number = bought(organization)
    fake.fail(RELEASE, (500, None))
    release = f"{NUMBERS}release/{number.pk}/"
    assert client.post(release, headers=PART)["HX-Redirect"] == NUMBERS

    page = text_of(client.get(NUMBERS))
    assert "being released, and costs nothing any more" in page
    assert ">being released<" in page
    assert 'hx-trigger="every 5s"' in page
    assert "/release/" not in page
    assert "is being released" in text_of(client.get(release))

    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=3)):
        releases.resume_releases()
    assert "No numbers yet" in text_of(client.get(NUMBERS))


# --- All of them --------------------------------------------------------------------------------


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline(client, owner, organization, fake):
    number = bought(organization)
    order = NumberOrder.objects.get()
    for page in (
        client.get(NUMBERS),
        client.get(SEARCHED, LONDON),
        client.get(BUYING, LONDON),
        client.get(f"{NUMBERS}orders/{order.pk}/"),
        client.get(f"{NUMBERS}release/{number.pk}/"),
    ):
        html = page.content.decode()
        assert page.status_code == 200
        assert "unsafe" not in page["Content-Security-Policy"]
        assert not re.search(r'(src|href|action)="(https?:)?//', html)
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
        assert page["Cache-Control"].startswith("max-age=0, no-cache, no-store")


def test_a_form_needs_its_token(organization, fake):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(MembershipFactory(organization=organization).user)
    assert buy_on_page(strict).status_code == 403
    assert fake.asked == []


@pytest.mark.parametrize("moment", ["2026-01-01T00:00:00+23:59:59.999999", "0001-01-01T00:00:00"])
def test_a_cursor_of_a_time_that_is_not_in_utc_leads_to_the_first_page(client, owner, moment):
    for towards_newer in (True, False):
        cursor = Cursor(key=f"{moment}_{uuid.uuid4()}", towards_newer=towards_newer)
        assert client.get(NUMBERS, {"cursor": str(cursor)}).status_code == 200
