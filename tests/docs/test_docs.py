"""What the documentation points at exists."""

import re
import subprocess

import pytest
from django.conf import settings
from django.core.management import get_commands
from django.urls import Resolver404, resolve

from voxbilling.api.views import unknown
from voxbilling.environment import PROJECT_DIR
from voxbilling.operations.health import HEALTH_CHECKS

PAGES = sorted(
    [PROJECT_DIR / "README.md", PROJECT_DIR / "CHANGELOG.md", *PROJECT_DIR.glob("docs/**/*.md")]
)
every_page = pytest.mark.parametrize(
    "page", PAGES, ids=[str(page.relative_to(PROJECT_DIR)) for page in PAGES]
)
# A setting is not always read from the environment; what else looks like one is named here.
OTHER_NAMES = {
    "POSTGRES_PASSWORD",
    "DATABASE_OWNER_PASSWORD",
    "DATABASE_APP_PASSWORD",
    "VALKEY_PASSWORD",
    "VOXBILLING_TAG",
    "VOXBILLING_DATA_DIR",
    "POSTGRES_USER",
    "PORT",
    "ARGS",
    "PYTHON",
}


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@every_page
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@every_page
def test_files_that_are_named_exist(page):
    named = re.findall(
        r"`((?:voxbilling|wallets|calls|webhooks|telephony|docker|docs|tests)/[\w./-]+)`",
        page.read_text(),
    )
    for path in named:
        assert (PROJECT_DIR / path).exists(), path


@every_page
def test_modules_that_are_named_exist(page):
    named = re.findall(
        r"`((?:voxbilling|wallets|calls|webhooks|telephony)(?:\.[a-z_]+)+)`", page.read_text()
    )
    for dotted in named:
        parts = PROJECT_DIR.joinpath(*dotted.split("."))
        module = parts.is_dir() or parts.with_suffix(".py").is_file()
        attribute = parts.parent.with_suffix(".py")
        assert module or f"def {parts.name}(" in attribute.read_text(), dotted


@every_page
def test_make_targets_that_are_named_exist(page):
    makefile = (PROJECT_DIR / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.M))
    named = set(re.findall(r"(?:`|^\$ )make ([a-z][a-z0-9-]*)", page.read_text(), re.M))

    assert named <= targets


@every_page
def test_commands_that_are_named_exist(page):
    named = set(re.findall(r"manage\.py ([a-z_]+)", page.read_text()))

    assert named <= set(get_commands())


@every_page
def test_settings_that_are_named_exist(page):
    named = set(re.findall(r"`([A-Z][A-Z]+_[A-Z_]+|[A-Z]{4,})(?:=[^`]*)?`", page.read_text()))
    statements = {"UPDATE", "DELETE", "TRUNCATE", "SELECT", "INSERT", "HEAD"}

    assert {
        name for name in named - OTHER_NAMES - statements if not hasattr(settings, name)
    } == set()


@every_page
def test_addresses_that_are_named_are_served(page):
    named = set(re.findall(r"`(?:GET |POST )?(/[a-z][\w/-]*)`", page.read_text()))
    for address in named - set(HEALTH_CHECKS):
        try:
            served = resolve(address)
        except Resolver404:
            pytest.fail(address)
        assert served.func is not unknown, address


def test_every_decision_is_in_the_list():
    decisions = {page.name for page in PROJECT_DIR.glob("docs/decisions/[0-9]*.md")}
    listed = re.findall(
        r"\((\d{4}-[\w-]+\.md)\)", (PROJECT_DIR / "docs/decisions/README.md").read_text()
    )

    assert len(decisions) >= 12
    assert sorted(decisions) == listed


@pytest.mark.parametrize(
    "command",
    ["run", "demo", "verify", "load-test", "test", "test-unit", "test-e2e", "check", "schema"],
)
def test_make_knows_how(command):
    planned = subprocess.run(
        ["make", "--dry-run", command],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )

    assert planned.returncode == 0, planned.stderr
