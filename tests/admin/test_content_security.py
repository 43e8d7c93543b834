"""The admin's pages load nothing from elsewhere, and have no inline script."""

import re

import pytest
from django.urls import reverse

from tests.factories import OrganizationFactory
from voxbilling.content_security import admins_policy, policy

pytestmark = pytest.mark.django_db


def test_the_admins_policy_allows_what_unfold_needs_and_no_more(admin_client):
    for url in (reverse("admin:index"), reverse("admin:wallets_organization_changelist")):
        sent = admin_client.get(url)["Content-Security-Policy"]
        assert sent == admins_policy()
    directives = dict(part.strip().split(" ", 1) for part in admins_policy().split(";"))
    assert directives["script-src"] == "'self' 'unsafe-eval'"
    assert directives["style-src"] == "'self' 'unsafe-inline'"
    assert "http" not in admins_policy()
    assert "unsafe" not in policy()


def test_signing_in_to_the_admin_has_it_too(client):
    assert client.get(reverse("admin:login"))["Content-Security-Policy"] == admins_policy()


def test_no_page_of_ours_has_an_inline_script_or_another_host(admin_client):
    organization = OrganizationFactory(funded_pence=1_000)
    for url in (
        reverse("admin:index"),
        reverse("admin:wallets_organization_change", args=[organization.pk]),
        reverse("admin:wallets_organization_adjust", args=[organization.pk]),
        reverse("admin:wallets_organization_ledger_check"),
        reverse("admin:wallets_credittransaction_changelist"),
        reverse("admin:calls_call_margin"),
        reverse("admin:auth_user_add"),
    ):
        page = admin_client.get(url).content.decode()
        assert not re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page), url
        assert not re.findall(r"\son(?:click|change|load|submit)=", page), url
        assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page), url
