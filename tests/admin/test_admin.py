"""What staff can and cannot do in the admin."""

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.urls import reverse

from calls.models import Call
from telephony.models import NumberOrder
from tests.admin.steps import ask, ask_of_several, change_of, confirm, do, page_of, said
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory
from wallets import ledger
from wallets.models import (
    Alert,
    CreditReservation,
    CreditTransaction,
    Membership,
    Organization,
    StaffAction,
)
from wallets.selectors import ledger_differences
from wallets.staff.money import Adjust, ReleaseHold, Resume, SetDebtLimit, Suspend
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db

READ_ONLY = [
    Alert,
    CreditTransaction,
    CreditReservation,
    StaffAction,
    NumberOrder,
    Call,
    WebhookEvent,
]
ORDINARY = {
    "name": "Acme",
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


ODD = [
    "status__exact=%00", "type__exact=%00", "source__exact=%00", "action=%00", "q=%00", "needs=%00",
    "o=5", "o=-1.2", "o=%00", "p=99999999999999999999", "p=-1", "all=", "e=1",
    "description__regex=(", "description__contains=x", "created_at__year=99999999",
    "created_at__gte=0001-01-01T00:00:00%2B23:59", "created_at__gte=x", "created_at__gte=",
    "at__gte=9999-12-31T23:59:59-23:59", "organization__id__exact=x", "password__startswith=a",
    "user__password__startswith=a", "organization__name__regex=(", "is_active__exact=%00",
]  # fmt: skip


# Without a transaction around the requests, which what PostgreSQL refuses would break.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", sorted(admin.site._registry, key=lambda model: model._meta.label))
def test_a_list_answers_whatever_its_address_asks_for(staff, model, organization):
    options = model._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    for odd in ODD:
        answer = staff.get(f"{url}?{odd}")
        assert answer.status_code in (200, 302, 400), odd
        if answer.status_code == 302:
            assert staff.get(answer["Location"]).status_code == 200, odd


@pytest.mark.parametrize("model", sorted(admin.site._registry, key=lambda model: model._meta.label))
def test_every_choice_of_every_filter_opens(staff, model, organization):
    options = model._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    changes = staff.get(url).context["cl"]
    for spec in changes.filter_specs:
        for choice in spec.choices(changes):
            assert staff.get(url + choice["query_string"]).status_code == 200, choice


def test_a_search_for_what_cannot_be_stored_finds_nothing(staff):
    field = {"app_label": "wallets", "model_name": "membership", "field_name": "user"}
    for term in ("%00", "a%00", "%ED%A0%80"):
        asked = "&".join(f"{name}={value}" for name, value in {**field, "term": term}.items())
        assert staff.get(f"/admin/autocomplete/?{asked}").status_code == 200


def test_a_long_list_is_sorted_by_time_whatever_the_address_asks_for(staff, organization):
    url = reverse("admin:wallets_credittransaction_changelist")
    shown = staff.get(f"{url}?o=5&type__exact=topup", follow=True)
    assert shown.redirect_chain[-1][0] == f"{url}?type__exact=topup"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rate_pence_per_minute", 0),
        ("rate_pence_per_minute", 100_001),
        ("billing_increment_seconds", 0),
        ("billing_increment_seconds", 3_601),
    ],
)
def test_a_tariff_out_of_bounds_is_refused_by_the_form_and_by_the_database(
    staff, organization, field, value
):
    refused = staff.post(page(organization, "change"), ORDINARY | {field: value})
    assert field in refused.context["adminform"].form.errors
    rows = Organization.objects.filter(pk=organization.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.update(**{field: value})


@pytest.mark.parametrize("model", sorted(admin.site._registry, key=lambda model: model._meta.label))
def test_every_list_opens(staff, model, organization):
    options = model._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    assert staff.get(url).status_code == 200
    assert staff.get(url, {"q": "anything"}).status_code == 200
    # Long tables are not counted, and so no page says how many rows there are.
    assert "10000 results" not in said(staff.get(url, {"q": "anything"}))


def test_entries_and_holds_can_be_looked_at_and_not_posted_to(staff, organization):
    for row in (CreditTransaction.objects.get(), CreditReservation.objects.get()):
        options = row._meta
        url = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk])
        assert staff.get(url).status_code == 200
        assert staff.post(url, {"amount_pence": 1}).status_code == 403


def test_an_adjustment_goes_through_the_ledger_and_says_who_and_why(staff, organization):
    shown = ask(staff, organization, Adjust, direction="credit", amount_pence="2.50")

    # Before anything is done, the page says what it would do.
    page = said(shown)
    for figure in ("£10.00", "£12.50", "£7.55", "£10.05", "Agreed by phone", "Adjust the balance"):
        assert figure in page
    assert not CreditTransaction.objects.filter(type="adjustment").exists()
    assert not StaffAction.objects.exists()

    told = said(confirm(staff, shown))
    assert "Balance £10.00 → £12.50" in told
    again = said(confirm(staff, shown))  # the button pressed twice
    assert "not done again" in again

    entry = CreditTransaction.objects.get(type="adjustment")
    assert (entry.amount_pence, entry.description) == (250, "Agreed by phone")
    assert entry.created_by.username == "staff"
    organization.refresh_from_db()
    assert organization.balance_pence == 1_250


@pytest.mark.parametrize(
    ("direction", "amount", "expected"),
    [
        ("debit", "7.56", "756p needed, 755p available"),
        ("credit", "0", "Enter an amount above 0."),
        ("credit", "-5", "Enter an amount in pounds"),
        ("debit", "x", "Enter an amount in pounds"),
        ("debit", "", "This field is required."),
        ("credit", "99999999999", "Enter an amount in pounds"),
        ("", "5", "This field is required."),
    ],
)
def test_a_refused_adjustment_says_why_and_changes_nothing(
    staff, organization, direction, amount, expected
):
    for step in ("ask", "confirm"):
        response = ask(
            staff, organization, Adjust, direction=direction, amount_pence=amount, step=step
        )
        assert expected in said(response)
    organization.refresh_from_db()
    assert organization.balance_pence == 1_000
    assert not StaffAction.objects.exists()


def test_a_form_that_is_sent_again_with_other_details_is_refused(staff, organization):
    shown = ask(staff, organization, Adjust, key="0" * 32, direction="credit", amount_pence="1")
    confirm(staff, shown)

    other = ask(staff, organization, Adjust, key="0" * 32, direction="credit", amount_pence="2")

    assert "sent before, with other details" in said(other)
    organization.refresh_from_db()
    assert organization.balance_pence == 1_100


def test_when_money_moved_since_it_was_shown_then_the_locked_row_decides_and_is_told(
    staff, organization
):
    shown = ask(staff, organization, Adjust, direction="debit", amount_pence="5")
    assert "£5.00" in said(shown)
    ledger.commit_reserved_credits(call_id="a", duration_seconds=60)  # 49p

    told = said(confirm(staff, shown))

    assert "Balance £9.51 → £4.51" in told
    recorded = StaffAction.objects.get()
    assert (recorded.before["balance_pence"], recorded.after["balance_pence"]) == (951, 451)


def test_a_debt_limit_below_what_is_in_use_is_refused_with_both_figures(staff, organization):
    do(staff, organization, SetDebtLimit, debt_limit_pence="5")
    ledger.commit_reserved_credits(call_id="a", duration_seconds=60 * 25)  # 1,225p
    response = ask(staff, organization, SetDebtLimit, debt_limit_pence="2.24")
    assert "cannot be set to 224p: 225p" in said(response)
    do(staff, organization, SetDebtLimit, debt_limit_pence="2.25")
    organization.refresh_from_db()
    assert organization.debt_limit_pence == 225


def test_a_hold_is_released_from_its_page(staff, organization):
    hold = CreditReservation.objects.get()
    assert page_of(hold, ReleaseHold) in said(staff.get(change_of(hold)))

    told = said(do(staff, hold, ReleaseHold))

    assert "Hold active → released" in told
    assert "Reserved £2.45 → £0.00" in told
    organization.refresh_from_db()
    assert (organization.balance_pence, organization.reserved_pence) == (1_000, 0)
    assert page_of(hold, ReleaseHold) not in said(staff.get(change_of(hold)))
    assert "nothing is held by it" in said(ask(staff, hold, ReleaseHold))
    assert ledger_differences() == []


def test_saving_an_old_page_does_not_bring_an_old_balance_back(staff, organization):
    # Given a page that was opened before money moved
    url = page(organization, "change")
    fields = {**ORDINARY, "name": "Renamed"}
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


def test_organizations_are_suspended_and_resumed_from_the_list(staff, organization):
    other = OrganizationFactory()
    for command, status in ((Suspend, "suspended"), (Resume, "active")):
        confirm(staff, ask_of_several(staff, [organization, other], command))
        assert {row.status for row in Organization.objects.all()} == {status}
    assert StaffAction.objects.filter(action="suspend").count() == 2


def test_of_several_those_that_cannot_be_are_named_and_the_others_are_done(staff, organization):
    other = OrganizationFactory(name="Quiet")
    ledger.suspend_organization(organization_id=other.pk)

    shown = ask_of_several(staff, [organization, other], Suspend)

    assert "Quiet is suspended already." in said(shown)
    assert "Quiet is suspended already." in said(confirm(staff, shown))
    organization.refresh_from_db()
    assert organization.status == "suspended"
    assert StaffAction.objects.get().target_id == str(organization.pk)


def test_more_rows_than_can_be_done_at_once_are_refused(staff):
    rows = [OrganizationFactory() for _ in range(Suspend.most_at_once + 1)]

    response = ask_of_several(staff, rows, Suspend)

    assert response.status_code == 302
    assert not Organization.objects.filter(status="suspended").exists()


def test_a_membership_that_is_doubled_is_an_error_in_the_form(staff, organization):
    user = UserFactory()
    row = {"user": user.pk, "role": "viewer", "organization": organization.pk}
    fields = {
        **ORDINARY,
        "memberships-TOTAL_FORMS": 2,
        **{f"memberships-{number}-{name}": row[name] for number in (0, 1) for name in row},
    }
    response = staff.post(page(organization, "change"), fields)
    assert response.status_code == 200
    assert "belongs to it already" in said(response)

    # One that was added since the page was opened.
    MembershipFactory(user=user, organization=organization)
    response = staff.post(page(organization, "change"), {**fields, "memberships-TOTAL_FORMS": 1})
    assert response.status_code == 200
    assert "belongs to it already" in said(response)
    assert Membership.objects.count() == 1


def test_the_ledger_is_checked_when_asked(staff, organization):
    url = reverse("admin:wallets_organization_ledger_check")
    assert "It has not been done yet." in said(staff.get(url))
    assert "all adds up" in said(staff.post(url))
    assert "all adds up" in said(staff.get(url))
