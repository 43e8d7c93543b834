"""Entries, holds and the log: nobody adds, changes or deletes one, by any way of the admin."""

import uuid

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import transaction
from django.forms.models import model_to_dict
from django.urls import reverse

from tests.factories import OrganizationFactory, UserFactory
from wallets import audit, ledger
from wallets.models import CreditReservation, CreditTransaction, Organization, StaffAction

pytestmark = pytest.mark.django_db

KEPT = [CreditTransaction, CreditReservation, StaffAction]


@pytest.fixture
def superuser(client):
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


@pytest.fixture
def organization():
    organization = OrganizationFactory(funded_pence=1_000)
    ledger.reserve_call_credits(organization_id=organization.pk, call_id="a")
    with transaction.atomic():
        audit.record(user=UserFactory(), action="adjust", target=organization)
    return organization


def everything():
    return [list(model.objects.order_by("pk").values()) for model in [*KEPT, Organization]]


@pytest.mark.parametrize("model", KEPT)
@pytest.mark.parametrize("also", [{}, {"_saveasnew": "1"}, {"_popup": "1"}, {"_continue": "1"}])
def test_given_a_row_when_it_is_posted_to_then_nothing_changes(
    superuser, organization, model, also
):
    row, before = model.objects.get(), everything()
    meta = model._meta
    address = f"admin:{meta.app_label}_{meta.model_name}"
    fields = {name: value for name, value in model_to_dict(row).items() if value is not None}
    fields |= {"amount_pence": 1, "reserved_pence": 1, "reason": "another", **also}

    for name, keys in (("change", [row.pk]), ("add", []), ("delete", [row.pk])):
        url = reverse(f"{address}_{name}", args=keys)
        for query in ("", "?_popup=1", "?_to_field=id"):
            answer = superuser.post(url + query, fields | {"post": "yes"})
            assert answer.status_code in {400, 403}, (name, query)

    assert everything() == before


@pytest.mark.parametrize("model", KEPT)
@pytest.mark.parametrize("chosen", ["delete_selected", "delete-selected", "change", "_save", ""])
def test_given_a_list_when_it_is_posted_to_then_nothing_changes(
    superuser, organization, model, chosen
):
    row, before = model.objects.get(), everything()
    meta = model._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")

    for more in ({}, {"select_across": "1"}, {"_save": "Save", "form-TOTAL_FORMS": 1,
                 "form-INITIAL_FORMS": 1, "form-0-id": row.pk, "form-0-reason": "x"}):  # fmt: skip
        fields = {"action": chosen, "_selected_action": [str(row.pk)], "post": "yes"}
        superuser.post(url, fields | more)

    assert everything() == before


def test_no_page_has_them_inside_or_edits_them_in_its_list():
    for model_admin in admin.site._registry.values():
        assert not {inline.model for inline in model_admin.inlines} & set(KEPT)
        assert not model_admin.list_editable
        assert not model_admin.save_as


def test_given_what_belongs_to_them_when_it_is_deleted_then_it_is_refused(superuser, organization):
    before = everything()
    delete = reverse("admin:wallets_organization_delete", args=[organization.pk])
    assert superuser.post(delete, {"post": "yes"}).status_code == 403
    user = StaffAction.objects.get().user
    superuser.post(reverse("admin:auth_user_delete", args=[user.pk]), {"post": "yes"})
    assert everything() == before


def test_given_a_wallets_figures_when_they_are_posted_then_they_stay(superuser, organization):
    before = everything()[:-1]
    figures = {
        field.name: 7 for field in Organization._meta.fields if field.name.endswith("_pence")
    }
    superuser.post(
        reverse("admin:wallets_organization_change", args=[organization.pk]),
        figures
        | {
            "name": "Renamed",
            "id": str(uuid.uuid4()),
            "status": "suspended",
            "rate_pence_per_minute": 49,
            "billing_increment_seconds": 60,
            "time_zone": "Europe/London",
            "memberships-TOTAL_FORMS": 0,
            "memberships-INITIAL_FORMS": 0,
            "alert_recipients-TOTAL_FORMS": 0,
            "alert_recipients-INITIAL_FORMS": 0,
        },
    )
    after = Organization.objects.get()
    assert (after.name, after.low_balance_pence) == ("Renamed", 7)
    assert (after.balance_pence, after.reserved_pence, after.status) == (1_000, 245, "active")
    assert everything()[:2] == before[:2]


def test_no_other_model_of_ours_hides_one_of_them():
    # A proxy would have pages and permissions of its own.
    assert not [model for model in apps.get_models() if model._meta.proxy and
                issubclass(model, tuple(KEPT))]  # fmt: skip
