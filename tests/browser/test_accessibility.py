"""Pages on a phone and a desktop, in the light and in the dark, as axe judges them."""

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
    "/organizations/",
    "/password/",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(visit, viewport, scheme):
    visitor = visit("Reader & Sons", viewport=viewport, color_scheme=scheme)
    page = visitor.page
    for address in PAGES:
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        found = Axe().run(page).response["violations"]
        serious = [
            (violation["id"], [node["html"] for node in violation["nodes"]])
            for violation in found
            if violation["impact"] in ("serious", "critical")
        ]
        assert serious == [], address
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], address


def test_axe_finds_what_is_wrong(visit):
    page = visit("Reader & Sons").page
    page.evaluate("document.querySelector('main').innerHTML = '<input><img src=\"\">'")
    found = Axe().run(page).response["violations"]
    assert {"label", "image-alt"} <= {violation["id"] for violation in found}
