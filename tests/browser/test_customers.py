"""What customers do in a browser, from signing in to a call that runs out of money."""

import csv
import re

import httpx
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e

LIVE_SECONDS = 60_000


def test_signing_in_shows_the_wallet(visit):
    visitor = visit("Reader & Sons")
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Reader & Sons")
    expect(visitor.figure("Available")).to_have_text("£123.45")
    expect(page.get_by_text("about 251 minutes of calls at £0.49 a minute")).to_be_visible()
    expect(page.get_by_text("No calls at the moment")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_it_works_with_the_keyboard_alone(visit, accounts):
    page = visit().page
    page.goto("/")
    account = accounts["Reader & Sons"]
    page.get_by_label("Username").focus()
    page.keyboard.type(account["username"])
    page.keyboard.press("Tab")
    page.keyboard.type(account["password"])
    page.keyboard.press("Enter")
    expect(page.get_by_text("No calls at the moment")).to_be_visible()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    for role, name in (
        ("link", "voxbilling"),
        ("link", account["username"]),
        ("button", "Sign out"),
        ("link", "Wallet"),
        ("link", "Calls"),
    ):
        page.keyboard.press("Tab")
        expect(page.get_by_role(role, name=name, exact=True).first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Calls")).to_be_visible()


def test_a_top_up_through_stripe_is_in_the_wallet_by_itself(visit):
    visitor = visit("Payer")
    page = visitor.page
    expect(page.get_by_text("The balance is low")).to_be_visible()
    page.get_by_role("link", name="Top up", exact=True).last.click()
    page.get_by_label("Amount in pounds").fill("24")
    page.get_by_role("button", name="Continue to payment").click()
    expect(page.get_by_role("alert").filter(has_text="A top-up is from £25.00")).to_be_visible()
    page.get_by_label("Amount in pounds").fill("50")
    page.get_by_role("button", name="Continue to payment").click()
    # The first card is declined: Stripe's page says so, and another one pays.
    page.get_by_label("Card number").fill("4000 0000 0000 0002")
    page.get_by_role("button", name="Pay £50.00", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("declined")
    page.get_by_label("Card number").fill("4242 4242 4242 4242")
    page.get_by_role("button", name="Pay £50.00", exact=True).click()
    page.wait_for_url("**/wallet/top-up/**")
    expect(page.get_by_text("£50.00 was added")).to_be_visible()
    page.get_by_role("link", name="To your wallet").click()
    expect(visitor.figure("Available")).to_have_text("£55.00")


def test_a_number_is_bought_for_the_price_that_was_shown_and_released(visit):
    visitor = visit("Buyer")
    page = visitor.page
    page.get_by_role("link", name="Numbers", exact=True).click()
    page.get_by_role("link", name="Buy a number").click()
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Buy one of these").click()
    total = page.locator(".sum .total dd")
    expect(total).to_have_text("£40.00")
    page.get_by_role("button", name="Buy for £10.00").click()
    # It is there by itself once Twilio and Vapi have it.
    page.wait_for_url("**/numbers/orders/**")
    expect(page.get_by_text(re.compile(r"\+44\d+ is yours"))).to_be_visible(timeout=LIVE_SECONDS)
    page.get_by_role("link", name="Wallet", exact=True).click()
    expect(visitor.figure("Available")).to_have_text("£40.00")

    page.get_by_role("link", name="Numbers", exact=True).click()
    page.get_by_role("link", name=re.compile("^Release")).click()
    page.get_by_role("button", name=re.compile("^Release")).click()
    page.get_by_role("link", name="Numbers", exact=True).click()
    expect(page.get_by_role("link", name=re.compile("^Release"))).to_have_count(0)


def test_a_live_call_runs_out_of_money_before_the_customers_eyes(visit, accounts, stack):
    visitor = visit("Runs dry")
    page = visitor.page
    expect(visitor.figure("Available")).to_have_text("£0.15")

    # The rest of the page is left alone: what follows, it shows by itself.
    answer = httpx.post(
        f"{stack['sandbox_url']}/vapi/call",
        headers={"Authorization": "Bearer key"},
        json={
            "type": "webCall",
            "assistantId": accounts["Runs dry"]["vapi_assistant_id"],
            "sandbox": {"lastsSeconds": 600, "reportAfterSeconds": 1},
        },
        trust_env=False,
    )
    assert answer.status_code == 201, answer.text
    live = page.get_by_role("region", name="Live calls")
    expect(live).to_be_visible(timeout=LIVE_SECONDS)
    expect(visitor.figure("Held for live calls")).to_have_text("£0.15")
    clock = live.locator("[data-elapsed-seconds]")
    expect(clock).to_have_text(re.compile(r"0:0[2-9]|0:1\d"), timeout=LIVE_SECONDS)
    expect(page.get_by_text("No calls at the moment")).to_be_visible(timeout=LIVE_SECONDS)

    page.get_by_role("link", name="Calls", exact=True).click()
    page.get_by_role("table").get_by_role("link").first.click()
    seconds = page.locator(".facts div", has=page.get_by_text("Length", exact=True)).locator("dd")
    minutes, rest = (seconds.inner_text()).split(":")
    # Ended by us with the lead of two seconds: not long before its money was used up, nor after.
    assert 8 <= 60 * int(minutes) + int(rest) <= 18
    expect(page.get_by_role("heading", name="The entry that charged it")).to_be_visible()
    expect(page.get_by_text("£0.15 before")).to_be_visible()


def test_a_statement_is_downloaded_as_csv(visit, tmp_path):
    page = visit("Reader & Sons").page
    page.get_by_role("link", name="Statements").click()
    page.get_by_role("table").get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Statement of")
    expect(page.get_by_text("£123.45").first).to_be_visible()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download CSV").click()
    download = downloading.value
    assert re.fullmatch(r"statement-20\d\d-\d\d\.csv", download.suggested_filename)
    download.save_as(tmp_path / "statement.csv")
    with (tmp_path / "statement.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["type"], row["amount_gbp"], row["balance_gbp"]) == ("topup", "123.45", "123.45")


def test_another_tenants_pages_are_refused(visit, accounts):
    stranger = visit("Stranger")
    stranger.page.get_by_role("link", name="Opening balance").click()
    entry = stranger.page.url
    visitor = visit("Reader & Sons")
    answer = visitor.page.goto(entry)
    assert answer.status == 404
    # With DEBUG on, this is Django's own page, whose style the policy rightly blocks.
    visitor.complaints.clear()
    visitor.page.goto("/organizations/")
    token = visitor.page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    chosen = visitor.page.request.post(
        "/organizations/",
        form={"organization": accounts["Stranger"]["id"], "csrfmiddlewaretoken": token},
        headers={"Referer": visitor.base_url},
    )
    assert chosen.status == 403
    visitor.page.goto("/wallet/")
    assert "£777.77" not in visitor.page.content()


def test_a_session_that_ended_leads_to_sign_in_and_not_into_the_page(visit):
    visitor = visit("Reader & Sons")
    visitor.page.context.clear_cookies()
    expect(visitor.page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=LIVE_SECONDS)
    expect(visitor.page.locator("main")).to_have_count(1)


def test_figures_that_no_longer_refresh_say_so(visit):
    visitor = visit("Reader & Sons")
    expect(visitor.page.get_by_text("No calls at the moment")).to_be_visible()
    visitor.page.context.set_offline(True)
    stale = visitor.page.get_by_text("what you see may be out of date")
    expect(stale).to_be_visible(timeout=LIVE_SECONDS)
    visitor.page.context.set_offline(False)
    expect(stale).to_be_hidden(timeout=LIVE_SECONDS)
    visitor.complaints.clear()


def test_one_part_that_no_longer_refreshes_says_so_though_another_does(visit):
    visitor = visit("Reader & Sons")
    page = visitor.page
    stale = page.get_by_text("what you see may be out of date")
    page.route("**/wallet/?state=*", lambda route: route.fulfill(status=503))
    expect(stale).to_be_visible(timeout=LIVE_SECONDS)
    with page.expect_response("**/calls/live/"):
        pass
    expect(stale).to_be_visible()
    page.unroute_all()
    expect(stale).to_be_hidden(timeout=LIVE_SECONDS)
    visitor.complaints.clear()
