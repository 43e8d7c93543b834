"""What each group of staff may do: what it sees works, and what would be refused is hidden."""

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.urls import reverse

from telephony.admin import Release
from tests.admin.steps import ask, ask_of_several, change_of, list_of, page_of, said
from tests.admin.test_audit import COMMANDS, fake_stripe, organization, vapis_record
from voxbilling.operations.groups import ADMIN, FINANCE, SUPPORT, make_groups
from wallets.models import Organization, StaffAction
from wallets.staff.editing import RecordedAdmin

__all__ = ["fake_stripe", "organization", "vapis_record"]

pytestmark = pytest.mark.django_db

# What finance may not: a number is given up for good, and its calls end.
NOT_FINANCE = {Release}
PEOPLE = {get_user_model(), Group}
MAY = {
    SUPPORT: set(),
    FINANCE: set(COMMANDS) - NOT_FINANCE,
    ADMIN: set(COMMANDS),
}


@pytest.fixture(params=[SUPPORT, FINANCE, ADMIN])
def member(request, client):
    """Somebody of a group, and of no other, who is signed in."""
    user = get_user_model().objects.create_user(request.param, is_staff=True)
    user.groups.add(Group.objects.get(name=request.param))
    client.force_login(user)
    client.group = request.param
    return client


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.action)
def test_given_a_member_then_commands_are_shown_and_work_or_are_hidden_and_refused(
    member, organization, fake_stripe, vapis_record, command
):
    make, fields = COMMANDS[command]
    target = make(organization)
    may = command in MAY[member.group]

    page = member.get(change_of(target))
    assert page.status_code == 200
    assert (page_of(target, command) in said(page)) is may
    assert member.get(page_of(target, command)).status_code == (200 if may else 403)
    for step in ("ask", "confirm"):
        answer = ask(member, target, command, step=step, **fields)
        assert answer.status_code == (403 if not may else 200 if step == "ask" else 302)
    assert StaffAction.objects.exists() is may
    option = f'value="{command.action.replace(" ", "-")}"'
    assert (option in said(member.get(list_of(target)))) is (may and command.most_at_once > 0)
    if not may and command.most_at_once:
        ask_of_several(member, [target], command)
        assert not StaffAction.objects.exists()


@pytest.mark.parametrize("model", sorted(admin.site._registry, key=lambda model: model._meta.label))
def test_given_a_member_then_lists_open_and_edits_are_the_admins(member, organization, model):
    meta, is_admin = model._meta, member.group == ADMIN
    may_see = is_admin or model not in PEOPLE
    listed = member.get(reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"))
    assert listed.status_code == (200 if may_see else 403)
    edited = isinstance(admin.site._registry[model], RecordedAdmin)
    add = reverse(f"admin:{meta.app_label}_{meta.model_name}_add")
    assert member.get(add).status_code == (200 if is_admin and edited else 403)
    if may_see:
        assert (add in said(listed)) is (is_admin and edited)


def test_given_a_member_then_the_dashboard_opens_and_its_links_do(member, organization):
    page = member.get(reverse("admin:index"))
    for figure in [*page.context["business"], *page.context["trouble"]]:
        assert member.get(figure.url).status_code == 200, figure.url


def test_given_support_and_finance_then_an_organization_has_no_button_to_save(member, organization):
    page = said(member.get(change_of(organization)))
    assert ('name="_save"' in page) is (member.group == ADMIN)
    status = member.post(change_of(organization), {"name": "Mine"}).status_code
    assert status == (200 if member.group == ADMIN else 403)
    assert Organization.objects.get().name == "Acme"


def test_given_somebody_of_no_group_then_the_dashboard_shows_no_money(client, organization):
    client.force_login(get_user_model().objects.create_user("new", is_staff=True))
    page = client.get(reverse("admin:index"))
    assert "£" not in said(page)
    assert "your group may not see" in said(page)


def test_given_groups_that_staff_changed_then_what_they_added_stays_and_what_lacks_comes():
    support = Group.objects.get(name=SUPPORT)
    added = Permission.objects.get(codename="change_assistant")
    lost = Permission.objects.get(codename="view_call")
    support.permissions.add(added)
    support.permissions.remove(lost)
    before = {group.name: group.permissions.count() for group in Group.objects.all()}

    make_groups()
    make_groups()

    assert {added, lost} <= set(support.permissions.all())
    after = {group.name: group.permissions.count() for group in Group.objects.all()}
    assert after == before | {SUPPORT: before[SUPPORT] + 1}


def test_support_changes_nothing_and_only_the_admins_see_people():
    def codenames(name):
        return set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))

    assert all(name.startswith("view_") for name in codenames(SUPPORT))
    assert not any(name.endswith(("_user", "_group")) for name in codenames(FINANCE))
    assert {"add_user", "change_group", "move_money", "delete_assistant"} <= codenames(ADMIN)
    assert codenames(SUPPORT) < codenames(FINANCE) < codenames(ADMIN)
