"""What staff can and cannot do in the admin."""

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from calls.models import Call
from telephony.models import NumberOrder
from tests.factories import OrganizationFactory
from wallets import ledger
from wallets.models import Alert, CreditReservation, CreditTransaction, Organization
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db

READ_ONLY = [Alert, CreditTransaction, CreditReservation, NumberOrder, Call, WebhookEvent]
OURS = {"wallets", "telephony", "calls", "webhooks"}


@pytest.fixture
def staff(client):
    user = get_user_model().objects.create_superuser("staff", password="secret")
    client.force_login(user)
    return client


@pytest.fixture
def organization():
    organization = OrganizationFactory(funded_pence=1_000)
    ledger.reserve_call_credits(organization_id=organization.pk, call_id="a")
    return organization


def page(organization, name):
    return reverse(f"admin:wallets_organization_{name}", args=[organization.pk])


def test_every_model_of_ours_is_registered_or_shown_inside_another():
    from django.apps import apps

    registered = set(admin.site._registry)
    inline = {
        inline.model
        for model_admin in admin.site._registry.values()
        for inline in model_admin.inlines
    }
    ours = {model for model in apps.get_models() if model._meta.app_label in OURS}
    assert ours <= registered | inline


@pytest.mark.parametrize("model", READ_ONLY)
def test_nobody_adds_changes_or_deletes(staff, model, organization):
    options = model._meta
    model_admin = admin.site._registry[model]
    request = staff.get("/admin/").wsgi_request
    assert not model_admin.has_add_permission(request)
    assert not model_admin.has_change_permission(request)
    assert not model_admin.has_delete_permission(request)
    assert "delete_selected" not in model_admin.get_actions(request)
    assert (
        staff.get(reverse(f"admin:{options.app_label}_{options.model_name}_add")).status_code == 403
    )


@pytest.mark.parametrize("model", sorted(admin.site._registry, key=lambda model: model._meta.label))
def test_every_list_opens(staff, model, organization):
    options = model._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    assert staff.get(url).status_code == 200
    assert staff.get(url, {"q": "anything"}).status_code == 200


def test_entries_and_holds_can_be_looked_at_and_not_posted_to(staff, organization):
    for row in (CreditTransaction.objects.get(), CreditReservation.objects.get()):
        options = row._meta
        url = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk])
        assert staff.get(url).status_code == 200
        assert staff.post(url, {"amount_pence": 1}).status_code == 403


def test_an_adjustment_goes_through_the_ledger_and_says_who_and_why(staff, organization):
    form = {"change_pence": 250, "reason": "Goodwill", "idempotency_key": "0" * 32}
    for _ in range(2):  # the second is the button pressed twice
        response = staff.post(page(organization, "adjust"), form, follow=True)
        assert response.status_code == 200

    entry = CreditTransaction.objects.get(type="adjustment")
    assert (entry.amount_pence, entry.description) == (250, "Goodwill")
    assert entry.created_by.username == "staff"
    organization.refresh_from_db()
    assert organization.balance_pence == 1_250


@pytest.mark.parametrize(
    ("change_pence", "expected"),
    [
        ("-756", "756p needed, 755p available"),
        ("0", "Enter an amount other than 0."),
        ("x", "Enter a whole number."),
        ("", "This field is required."),
        (str(10**13), "less than or equal to"),
    ],
)
def test_a_refused_adjustment_says_why_and_changes_nothing(
    staff, organization, change_pence, expected
):
    form = {"change_pence": change_pence, "reason": "Why", "idempotency_key": "0" * 32}
    response = staff.post(page(organization, "adjust"), form)
    assert expected in response.content.decode()
    organization.refresh_from_db()
    assert organization.balance_pence == 1_000


def test_a_debt_limit_below_what_is_in_use_is_refused_with_both_figures(staff, organization):
    staff.post(page(organization, "debt_limit"), {"debt_limit_pence": 500})
    ledger.commit_reserved_credits(call_id="a", duration_seconds=60 * 25)  # 1,225p
    response = staff.post(page(organization, "debt_limit"), {"debt_limit_pence": 224})
    assert "cannot be set to 224p: 225p" in response.content.decode()
    staff.post(page(organization, "debt_limit"), {"debt_limit_pence": 225})
    organization.refresh_from_db()
    assert organization.debt_limit_pence == 225


def test_saving_an_old_page_does_not_bring_an_old_balance_back(staff, organization):
    # Given a page that was opened before money moved
    url = page(organization, "change")
    fields = {
        "name": "Renamed",
        "rate_pence_per_minute": 49,
        "billing_increment_seconds": 60,
        "charges_voicemail": "on",
        "low_balance_pence": 1000,
        "time_zone": "Europe/London",
        "memberships-TOTAL_FORMS": 0,
        "memberships-INITIAL_FORMS": 0,
        "alert_recipients-TOTAL_FORMS": 0,
        "alert_recipients-INITIAL_FORMS": 0,
    }
    staff.get(url)
    original = Organization.objects.get(pk=organization.pk)
    model_admin = admin.site._registry[Organization]
    get_object = model_admin.get_object

    def get_object_and_then_charge(*args, **kwargs):
        found = get_object(*args, **kwargs)
        ledger.commit_reserved_credits(call_id="a", duration_seconds=60)
        return found

    # When it is saved while a call is charged
    model_admin.get_object = get_object_and_then_charge
    try:
        response = staff.post(url, fields)
    finally:
        model_admin.get_object = get_object

    # Then the name is new, and the money is as the ledger left it
    assert response.status_code == 302
    organization.refresh_from_db()
    assert organization.name == "Renamed"
    assert organization.balance_pence == original.balance_pence - 49
    assert organization.reserved_pence == 0


def test_a_tariff_of_nothing_is_refused_in_the_form(staff, organization):
    fields = {"name": "A", "rate_pence_per_minute": 0, "billing_increment_seconds": 60,
              "memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0,
              "alert_recipients-TOTAL_FORMS": 0, "alert_recipients-INITIAL_FORMS": 0}  # fmt: skip
    assert staff.post(page(organization, "change"), fields).status_code == 200
    organization.refresh_from_db()
    assert organization.rate_pence_per_minute == 49


def test_an_organization_is_suspended_and_resumed_from_the_list(staff, organization):
    url = reverse("admin:wallets_organization_changelist")
    for action, status in (("suspend", "suspended"), ("resume", "active")):
        staff.post(url, {"action": action, "_selected_action": [str(organization.pk)]})
        organization.refresh_from_db()
        assert organization.status == status


def test_staff_without_permission_cannot_move_money(client, organization):
    reader = get_user_model().objects.create_user("reader", password="secret", is_staff=True)
    client.force_login(reader)
    form = {"change_pence": 250, "reason": "Goodwill", "idempotency_key": "0" * 32}
    for name in ("adjust", "debt_limit"):
        assert client.post(page(organization, name), form).status_code in {302, 403}
    assert not CreditTransaction.objects.filter(type="adjustment").exists()
    assert not LogEntry.objects.exists()


def test_staff_who_may_only_look_cannot_suspend_or_resume(client, organization):
    reader = get_user_model().objects.create_user("reader", password="secret", is_staff=True)
    reader.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(reader)
    url = reverse("admin:wallets_organization_changelist")

    client.post(url, {"action": "suspend", "_selected_action": [str(organization.pk)]})

    organization.refresh_from_db()
    assert organization.status == "active"
    shown = client.get(page(organization, "change")).content.decode()
    assert "Adjust the balance" not in shown
