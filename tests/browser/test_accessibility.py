"""Pages on a phone and a desktop, in the light and in the dark, as axe judges them."""

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE

pytestmark = pytest.mark.e2e

PAGES = [
    "/wallet/",
    "/wallet/transactions/",
    "/wallet/statements/",
    "/wallet/top-up/",
    "/wallet/auto-recharge/",
    "/wallet/e-mails/",
    "/calls/",
    "/calls/live/",
    "/numbers/",
    "/numbers/search/",
    "/numbers/buy/?country=GB&number_type=local",
    "/organizations/",
    "/password/",
]


# Each is reached by the first such link of the page.
FOLLOWED = {
    "/wallet/transactions/": "td a[href^='/wallet/transactions/']",
    "/wallet/statements/": "a[href^='/wallet/statements/2']",
    "/calls/": "td a[href^='/calls/']",
    "/numbers/": "a[href^='/numbers/release/']",
}
STRANGERS = ["/sign-in/", "/password-reset/"]


@pytest.fixture(scope="module")
def something_to_see(stack, accounts):
    """The organization has a settled call, a live one, and a number."""
    account = accounts["Busy & Sons"]
    with httpx.Client(base_url=stack["base_url"], timeout=30) as client:
        token = client.post("/api/auth/token/", json=account).json()["access"]
        client.headers["Authorization"] = f"Bearer {token}"
        for path, body in (
            ("billing/reserve-credits", {"callId": "over"}),
            ("billing/commit-credits", {"callId": "over", "durationSeconds": 61}),
            ("billing/reserve-credits", {"callId": "live"}),
            ("managed-telephony/provision", {"country": "GB", "numberType": "local"}),
        ):
            client.post(f"/api/{path}", json=body).raise_for_status()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(
    visit, something_to_see, viewport, scheme
):
    options = {"viewport": viewport, "color_scheme": scheme}
    page = visit("Busy & Sons", **options).page
    for address in PAGES:
        page.goto(address)
        look_at(page, address)
        if address in FOLLOWED:
            page.locator(FOLLOWED[address]).first.click()
            page.wait_for_url(lambda url, list_page=address: not url.endswith(list_page))
            look_at(page, page.url)
    stranger = visit(**options).page
    for address in STRANGERS:
        stranger.goto(address)
        look_at(stranger, address)


def look_at(page, address):
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    found = Axe().run(page).response["violations"]
    serious = [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == [], address
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, address


def test_axe_finds_what_is_wrong(visit):
    page = visit("Reader & Sons").page
    page.evaluate("document.querySelector('main').innerHTML = '<input><img src=\"\">'")
    found = Axe().run(page).response["violations"]
    assert {"label", "image-alt"} <= {violation["id"] for violation in found}
