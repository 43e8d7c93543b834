"""A real browser: Debian's Chromium, driven by Playwright, at a whole stack of its own."""

import shutil
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

from tests.running_stack import open_accounts

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# What the tests do to wallets, in pence; @ is a rate, billed by the second.
MONEY = {
    "Reader & Sons": 12_345,
    "Busy & Sons": 12_345,
    "Stranger": 77_777,
    "Payer": 500,
    "Buyer": 5_000,
    "Runs dry": "15@60",
    "Adjusted": 1_000,
}
DESKTOP = {"width": 1100, "height": 800}
PHONE = {"width": 375, "height": 700}


@pytest.fixture(scope="session")
def chromium():
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("no browser: install Chromium (on Debian: apt-get install chromium)")
    return path


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not run for root, nor in most containers.
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def accounts(chromium, stack):
    return open_accounts(stack, MONEY)


class Visitor:
    """A person with a browser window. What the browser complains of is kept."""

    def __init__(self, browser, stack, **options):
        self.base_url = stack["base_url"]
        context = browser.new_context(
            base_url=self.base_url, **{"viewport": DESKTOP, "locale": "en-GB", **options}
        )
        self.page = context.new_page()
        self.page.set_default_timeout(20_000)
        self.complaints = []
        self.hosts = set()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def _heard(self, message):
        # That a page is refused or not there is what some tests are about.
        is_refusal = "the server responded with a status of 4" in message.text
        if message.type in ("error", "warning") and not is_refusal:
            self.complaints.append(message.text)

    def sign_in(self, account):
        self.page.goto("/")
        self.page.get_by_label("Username").fill(account["username"])
        self.page.get_by_label("Password").fill(account["password"])
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/wallet/")
        return self

    def figure(self, name):
        """What the wallet says beside a word, like Available."""
        term = self.page.locator(".figures div", has=self.page.get_by_text(name, exact=True))
        return term.locator("dd").first


@pytest.fixture
def visit(browser, stack, accounts):
    """Somebody signed in; at the end, no browser has complained and none went elsewhere."""
    visitors = []

    def visit(name=None, **options):
        visitor = Visitor(browser, stack, **options)
        visitors.append(visitor)
        return visitor.sign_in(accounts[name]) if name else visitor

    yield visit
    allowed = {urlsplit(stack[name]).netloc for name in ("base_url", "sandbox_url")}
    for visitor in visitors:
        visitor.page.context.close()
    for visitor in visitors:
        assert visitor.complaints == []
        assert visitor.hosts <= allowed
