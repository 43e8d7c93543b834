"""Whatever staff do is in the log, with who, what, before and after, and stays there."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import DatabaseError, IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from calls.models import Appointment, Call, UnbilledCall
from calls.staff import BillNow, NobodyPays, SetCallAside, Settle, SettleFromVapi
from telephony.admin import Release
from telephony.models import Assistant, PhoneNumber
from telephony.vapi_calls import CallRecord
from tests.admin.steps import ask, change_of, confirm, do, list_of, page_of, said
from tests.factories import (
    AssistantFactory,
    MembershipFactory,
    OrganizationFactory,
    PhoneNumberFactory,
    TopUpFactory,
    UserFactory,
)
from tests.wallets.alerts import raised
from tests.wallets.fake_stripe import fake_stripe
from tests.wallets.invariants import execute
from tests.wallets.steps import commit, reserve, top_up
from tests.wallets.stripe import payment_of
from voxbilling.admin import ReadOnlyAdmin
from wallets import audit, ledger
from wallets.alerts.admin import SendAgain
from wallets.models import (
    Alert,
    AlertRecipient,
    CreditReservation,
    CreditTransaction,
    Organization,
    StaffAction,
    TopUp,
)
from wallets.payments import topups
from wallets.payments.admin import GiveBack, SetTopUpAside
from wallets.staff.editing import RecordedAdmin, RecordedInline
from wallets.staff.money import (
    Adjust,
    Recover,
    ReleaseHold,
    Resume,
    SetDebtLimit,
    Suspend,
    WriteOff,
)
from wallets.staff.pages import actions
from webhooks.admin import Replay, SetEventAside
from webhooks.models import WebhookEvent

__all__ = ["fake_stripe"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client):
    client.force_login(get_user_model().objects.create_superuser("alice", password="secret"))
    return client


@pytest.fixture
def organization():
    """With 10 pounds, and a debt of 98 p."""
    organization = OrganizationFactory(name="Acme")
    commit("old", 61, organization_id=organization.pk)
    top_up(organization, 1_000, credit_type="bonus")
    organization.refresh_from_db()
    return organization


@pytest.fixture
def vapis_record(monkeypatch):
    def get_call(vapi_call_id):
        now = timezone.now()
        return CallRecord(
            id=vapi_call_id, type="inboundPhoneCall", status="ended",
            started_at=now - timedelta(seconds=61), ended_at=now,
            ended_reason="customer-ended-call", cost_usd=Decimal("0.05"), squad_id=None,
            assistant_id="the-assistant", phone_number_id=None, number=None, control_url=None,
            updated_at=now,
        )  # fmt: skip

    monkeypatch.setattr("calls.staff.get_call", get_call)


def call_of(organization, **more):
    reserve(organization, "the-call")
    fields = {"reconcile_at": timezone.now()} | more
    return Call.objects.create(
        organization=organization,
        call_id="the-call",
        vapi_call_id="the-call",
        announced_by_vapi=True,
        **fields,
    )


def call_of_note(organization):
    return call_of(organization, attention="Vapi took the order, and the call went on.")


# Each command with a row that it can be done to, and the fields of its form.
def suspended(organization):
    ledger.suspend_organization(organization_id=organization.pk)
    return organization


def hold(organization):
    reserve(organization, "held")
    return CreditReservation.objects.get(call_id="held")


def paid_topup(organization):
    topup = TopUpFactory(organization=organization, amount_pence=5_000)
    topups.credit(payment_of(topup))
    topup.refresh_from_db()
    return topup


def topup_of_note(organization):
    topup = paid_topup(organization)
    TopUp.objects.filter(pk=topup.pk).update(attention="Stripe tells of another payment.")
    return topup


def in_review(organization):
    return call_of(
        organization,
        reconcile_at=None,
        ended_at=timezone.now(),
        duration_seconds=61,
        review_reason="It lasted long.",
    )


def unbilled(organization):
    AssistantFactory(organization=organization, vapi_assistant_id="the-assistant")
    return UnbilledCall.objects.create(vapi_call_id="x", reason="nobody pays")


def failed_event(organization):
    return WebhookEvent.objects.create(
        organization=organization,
        source="vapi",
        digest="d",
        type="hang",
        payload={"message": {"type": "hang"}},
        status="failed",
        attempts=12,
        received_at=timezone.now(),
    )


def unsent_alert(organization):
    alert = raised(organization)
    Alert.objects.filter(pk=alert.pk).update(status="failed", next_attempt_at=None, attempts=12)
    return alert


def number(organization):
    return PhoneNumberFactory(organization=organization)


COMMANDS = {
    Adjust: (lambda row: row, {"direction": "debit", "amount_pence": "2.50"}),
    SetDebtLimit: (lambda row: row, {"debt_limit_pence": "5"}),
    Recover: (lambda row: row, {"amount_pence": "0.50"}),
    WriteOff: (lambda row: row, {"amount_pence": "0.50"}),
    Suspend: (lambda row: row, {}),
    Resume: (suspended, {}),
    ReleaseHold: (hold, {}),
    GiveBack: (paid_topup, {"amount_pence": "20"}),
    SendAgain: (unsent_alert, {}),
    Release: (number, {}),
    Settle: (in_review, {"charge": "reported"}),
    SettleFromVapi: (call_of, {}),
    SetCallAside: (call_of_note, {}),
    SetTopUpAside: (topup_of_note, {}),
    BillNow: (unbilled, {}),
    NobodyPays: (unbilled, {}),
    Replay: (failed_event, {}),
    SetEventAside: (failed_event, {}),
}


def test_every_command_of_every_page_is_tried_here():
    registered = {
        command
        for model_admin in admin.site._registry.values()
        for command in getattr(model_admin, "commands", ())
    }
    assert registered == set(COMMANDS)


def test_pages_are_read_only_or_recorded_and_have_no_other_actions():
    for model, model_admin in admin.site._registry.items():
        assert isinstance(model_admin, ReadOnlyAdmin | RecordedAdmin), model
        assert not model_admin.actions, model
        assert all(issubclass(each, RecordedInline) for each in model_admin.inlines), model
        # Pages of their own are those of commands, and these, which only show.
        own = {
            pattern.name
            for pattern in model_admin.get_urls()
            if pattern.name and not pattern.name.endswith(
                ("_add", "_change", "_changelist", "_delete", "_history", "_password_change")
            )
        }  # fmt: skip
        slugs = {
            command.action.replace(" ", "_") for command in getattr(model_admin, "commands", ())
        }
        prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
        looking = {"calls_call_margin", "wallets_organization_ledger_check"}
        assert own - {f"{prefix}{slug}" for slug in slugs} <= looking, model
    assert "delete_selected" not in dict(admin.site.actions)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.action)
def test_given_a_command_when_it_is_confirmed_then_it_is_recorded_once(
    staff, organization, fake_stripe, vapis_record, command
):
    make, fields = COMMANDS[command]
    target = make(organization)

    response = do(staff, target, command, **fields)

    recorded = StaffAction.objects.get()
    assert recorded.username == recorded.user.username == "alice"
    assert recorded.action == command.action
    assert (recorded.target_kind, recorded.target_id) == (target._meta.label_lower, str(target.pk))
    assert recorded.organization_id == (None if command is NobodyPays else organization.pk)
    assert recorded.reason == "Agreed by phone"
    assert recorded.before != recorded.after
    assert set(recorded.before) <= set(recorded.after)
    assert command.title in said(response)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.action)
def test_given_a_record_that_cannot_be_made_then_nothing_is_done_either(
    staff, organization, fake_stripe, vapis_record, monkeypatch, command
):
    make, fields = COMMANDS[command]
    target = make(organization)
    before = money_and_status(target)

    def fail(**_):
        raise DatabaseError("full")

    shown = ask(staff, target, command, **fields)
    monkeypatch.setattr(audit, "record", fail)
    with pytest.raises(DatabaseError, match="full"):
        confirm(staff, shown)

    assert money_and_status(target) == before
    assert not StaffAction.objects.exists()
    assert fake_stripe.refunds == []


def money_and_status(target):
    """The row itself and all wallets, as they are stored."""
    return (
        list(type(target).objects.filter(pk=target.pk).values()),
        list(Organization.objects.values()),
        CreditTransaction.objects.count(),
    )


@pytest.mark.django_db(transaction=True)
def test_given_no_transaction_around_it_then_a_command_opens_its_own(staff, organization):
    # As in production, where requests are not transactions.
    do(staff, organization, Adjust, direction="credit", amount_pence="1")
    organization.refresh_from_db()
    assert organization.balance_pence == 1_100
    with pytest.raises(transaction.TransactionManagementError, match="recorded in the transaction"):
        audit.record(user=UserFactory(), action="adjust", target=organization)
    staff.post(change_of(organization), ordinary(organization, name="Renamed"))
    staff.post(
        reverse("admin:auth_user_password_change", args=[UserFactory(username="bob").pk]),
        {"password1": "Long-enough-7", "password2": "Long-enough-7"} | {"usable_password": "true"},
    )
    assert list(StaffAction.objects.order_by("at").values_list("action", flat=True)) == [
        "adjust",
        "change organization",
        "change user",
    ]


# --- Ordinary edits ---------------------------------------------------------------------------


def ordinary(organization, *, memberships=(), **changes):
    fields = {
        "name": organization.name,
        "rate_pence_per_minute": organization.rate_pence_per_minute,
        "billing_increment_seconds": organization.billing_increment_seconds,
        "charges_voicemail": "on",
        "recovers_owed_from_topups": "on",
        "low_balance_pence": organization.low_balance_pence,
        "time_zone": organization.time_zone,
        "memberships-TOTAL_FORMS": len(memberships),
        "memberships-INITIAL_FORMS": sum("id" in row for row in memberships),
        "alert_recipients-TOTAL_FORMS": 0,
        "alert_recipients-INITIAL_FORMS": 0,
    } | changes
    for number, row in enumerate(memberships):
        fields |= {
            f"memberships-{number}-{name}": value
            for name, value in {"organization": str(organization.pk), **row}.items()
        }
    return fields


def recorded():
    return StaffAction.objects.get()


def test_a_new_rate_is_recorded_with_the_old_one_and_nothing_else(staff, organization):
    staff.post(change_of(organization), ordinary(organization, rate_pence_per_minute=60))

    assert recorded().action == "change organization"
    assert recorded().organization == organization
    assert recorded().before == {"rate_pence_per_minute": 49}
    assert recorded().after == {"rate_pence_per_minute": 60}


def test_what_is_saved_unchanged_is_not_recorded(staff, organization):
    staff.post(change_of(organization), ordinary(organization))
    assert not StaffAction.objects.exists()


def test_people_who_are_let_in_raised_and_sent_away_are_recorded(staff, organization):
    raised_one = MembershipFactory(organization=organization, role="viewer")
    sent_away = MembershipFactory(organization=organization, role="owner")
    new = UserFactory()
    rows = [
        {"id": raised_one.pk, "user": raised_one.user_id, "role": "owner"},
        {"id": sent_away.pk, "user": sent_away.user_id, "role": "owner", "DELETE": "on"},
        {"user": new.pk, "role": "viewer"},
    ]

    staff.post(change_of(organization), ordinary(organization, memberships=rows))

    before, after = recorded().before, recorded().after
    kind = "membership"
    assert before[f"{kind} {raised_one.pk}"] == {"role": "viewer"}
    assert after[f"{kind} {raised_one.pk}"] == {"role": "owner"}
    assert before[f"{kind} {sent_away.pk}"]["user"] == sent_away.user_id
    assert after[f"{kind} {sent_away.pk}"] is None
    [added] = [name for name in before if before[name] is None]
    assert (after[added]["user"], after[added]["role"]) == (new.pk, "viewer")


def test_a_user_is_recorded_from_the_first_to_the_last_and_no_password_is(staff):
    staff.post(
        reverse("admin:auth_user_add"),
        {
            "username": "bob",
            "usable_password": "true",
            "password1": "Long-enough-7",
            "password2": "Long-enough-7",
        },
    )
    bob = get_user_model().objects.get(username="bob")
    group = Group.objects.create(name="night shift")
    fields = {
        "username": "bob",
        "is_active": "on",
        "is_staff": "on",
        "groups": [group.pk],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
    }
    staff.post(change_of(bob), fields)
    staff.post(
        reverse("admin:auth_user_password_change", args=[bob.pk]),
        {"password1": "Another-one-7", "password2": "Another-one-7", "usable_password": "true"},
    )
    staff.post(reverse("admin:auth_user_delete", args=[bob.pk]), {"post": "yes"})

    log = {each.action: each for each in StaffAction.objects.exclude(action="change user")}
    changes = list(StaffAction.objects.filter(action="change user").order_by("at"))
    assert log["add user"].after["username"] == "bob"
    assert changes[0].after["is_staff"] is True
    assert (changes[0].before["groups"], changes[0].after["groups"]) == ([], ["night shift"])
    assert changes[1].after == {"password": "(not shown)"}
    assert log["delete user"].before["username"] == "bob"
    written = str(list(StaffAction.objects.values()))
    assert "Long-enough-7" not in written
    assert bob.password not in written
    assert "md5$" not in written


@pytest.mark.parametrize("model", [Assistant, PhoneNumber, Appointment, Group])
def test_every_other_row_that_staff_edit_is_recorded(staff, organization, model):
    fields = {
        Assistant: {"name": "A", "vapi_assistant_id": "a", "max_duration_seconds": 600},
        PhoneNumber: {"number": "+442079460123"},
        Appointment: {"vapi_call_id": "c"},
        Group: {"name": "night shift"},
    }[model]
    if model is not Group:
        fields["organization"] = str(organization.pk)
    add = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
    staff.post(add, fields)
    row = model.objects.order_by("pk").last() if model is Group else model.objects.get()
    changed = fields | ({"name": "B"} if "name" in fields else {"vapi_call_id": "d"})
    if model is PhoneNumber:
        changed = fields | {"number": "+442079460124"}
    staff.post(change_of(row), changed)
    staff.post(change_of(row).replace("change", "delete"), {"post": "yes"})

    kind = model._meta.verbose_name
    assert list(StaffAction.objects.order_by("at").values_list("action", flat=True)) == [
        f"add {kind}",
        f"change {kind}",
        f"delete {kind}",
    ]
    change = StaffAction.objects.get(action=f"change {kind}")
    assert change.before != change.after
    assert not model.objects.filter(pk=row.pk).exists()


def test_the_pages_where_staff_edit_are_all_tried_here():
    edited = {
        model
        for model, model_admin in admin.site._registry.items()
        if isinstance(model_admin, RecordedAdmin)
    }
    assert edited == {
        Organization,
        get_user_model(),
        Assistant,
        PhoneNumber,
        Appointment,
        Group,
    }


# --- The log itself ---------------------------------------------------------------------------


@pytest.fixture
def action(organization):
    with transaction.atomic():
        return audit.record(
            user=UserFactory(username="bob"),
            action="adjust",
            target=organization,
            reason="Goodwill",
            asked={"change_pence": 250},
            before={"balance_pence": 0},
            after={"balance_pence": 250},
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE staff_actions SET reason = 'another'",
        "DELETE FROM staff_actions",
        "TRUNCATE staff_actions",
    ],
)
def test_the_database_refuses_to_change_the_log(action, statement):
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    with pytest.raises(IntegrityError, match="never changed or deleted"), transaction.atomic():
        execute(statement)


def test_who_acted_and_for_whom_cannot_be_deleted(staff, action):
    bob = action.user
    delete = reverse("admin:auth_user_delete", args=[bob.pk])
    assert "staff action" in said(staff.get(delete))
    staff.post(delete, {"post": "yes"})
    assert get_user_model().objects.filter(pk=bob.pk).exists()


def test_the_log_says_what_changed_and_is_found_by_action_user_row_and_organization(
    staff, action, organization
):
    page = said(staff.get(change_of(action)))
    for text in ("Balance £0.00 → £2.50", "Goodwill", "bob", "Change: £2.50"):
        assert text in page
    found = {
        "bob": True, "Acm": True, str(organization.pk): True, "alice": False, str(action.pk): True,
    }  # fmt: skip
    for term, is_found in found.items():
        assert (str(action.pk) in said(staff.get(list_of(action), {"q": term}))) is is_found, term
    for name, is_found in (("adjust", True), ("refund", False)):
        shown = said(staff.get(list_of(action), {"action": name}))
        assert (str(action.pk) in shown) is is_found
    tomorrow = {"at__gte": (timezone.now() + timedelta(days=1)).isoformat()}
    assert str(action.pk) not in said(staff.get(list_of(action), tomorrow))
    assert reverse("admin:wallets_staffaction_changelist") in (
        staff.get(reverse("admin:wallets_organization_history", args=[organization.pk])).url
    )


def test_every_action_can_be_filtered_by(action):
    named = actions(admin.site)
    assert named >= {command.action for command in COMMANDS}
    assert {"change organization", "add user", "delete group"} <= named
    assert {"act for the customer", "acted for the customer"} <= named


def test_a_bill_that_is_made_is_recorded_with_the_wallet_that_pays_before_and_after(
    staff, organization, vapis_record
):
    do(staff, unbilled(organization), BillNow)

    assert recorded().before["balance_pence"] == 1_000
    assert recorded().after["balance_pence"] == 1_000 - 98
    assert (recorded().before["charged_pence"], recorded().after["charged_pence"]) == (None, 98)


def test_what_is_set_aside_is_gone_from_the_lists_and_kept_in_the_log(staff, organization):
    call, topup, left = (
        call_of_note(organization), topup_of_note(organization), unbilled(organization)
    )  # fmt: skip
    event = failed_event(organization)
    for target, command in (
        (call, SetCallAside), (topup, SetTopUpAside), (left, NobodyPays), (event, SetEventAside),
    ):  # fmt: skip
        do(staff, target, command)
        assert page_of(target, command) not in said(staff.get(change_of(target), follow=True))
    call.refresh_from_db()
    topup.refresh_from_db()
    event.refresh_from_db()
    assert (call.attention, topup.attention) == ("", "")
    assert (event.status, event.outcome) == ("processed", "Set aside by alice: Agreed by phone")
    assert not UnbilledCall.objects.exists()
    log = {each.action: each for each in StaffAction.objects.all()}
    assert "the call went on" in log["set call aside"].before["attention"]
    assert "another payment" in log["set payment aside"].before["attention"]
    assert log["leave call unbilled"].before["reason"] == "nobody pays"


def test_a_call_in_review_is_settled_and_not_set_aside(staff, organization):
    call = in_review(organization)
    Call.objects.filter(pk=call.pk).update(attention="It lasted long.")
    assert SetCallAside.title not in said(staff.get(change_of(call)))
    assert "settle it" in said(ask(staff, call, SetCallAside))
    call.refresh_from_db()
    assert call.attention == "It lasted long."


def test_what_goes_with_a_user_or_a_group_is_recorded(staff, organization):
    membership = MembershipFactory(organization=organization, user__username="bob")
    night = Group.objects.create(name="night shift")
    night.permissions.set(Permission.objects.filter(codename="view_call"))
    membership.user.groups.add(night)
    for row in (membership.user, night):
        staff.post(change_of(row).replace("change", "delete"), {"post": "yes"})

    log = {each.action: each for each in StaffAction.objects.all()}
    assert log["delete user"].before["groups"] == ["night shift"]
    assert log["delete membership"].organization == organization
    assert log["delete membership"].before["role"] == "owner"
    assert "view call" in str(log["delete group"].before["permissions"])
    assert {"delete user", "delete membership", "delete group"} == set(log)


def test_staff_who_choose_a_new_password_are_recorded_and_customers_are_not(client, organization):
    new = {"new_password1": "a new passphrase", "new_password2": "a new passphrase"}
    for user in (UserFactory(is_staff=True), MembershipFactory(organization=organization).user):
        user.set_password("the old passphrase")
        user.save()
        client.force_login(user)
        page = client.get("/admin/password_change/", follow=True)
        assert page.redirect_chain[-1][0] == "/password/"
        done = client.post("/password/", {"old_password": "the old passphrase", **new}, follow=True)
        assert "Your password is changed" in said(done)
        assert recorded().action == "change own password"
        assert recorded().after == {"password": "(not shown)"}
        assert recorded().user.is_staff


def test_staff_who_set_a_new_password_by_a_link_are_recorded(client, mailoutbox):
    user = UserFactory(is_staff=True, email="bob@example.com")
    user.set_password("the old passphrase")
    user.save()
    client.post("/password-reset/", {"email": user.email})
    link = mailoutbox[0].body.partition("http://testserver")[2].split()[0]
    form = client.get(link, follow=True)
    new = {"new_password1": "a new passphrase", "new_password2": "a new passphrase"}
    client.post(form.request["PATH_INFO"], new)
    user.refresh_from_db()
    assert user.check_password("a new passphrase")
    assert recorded().action == "change own password"
    assert recorded().user == user


def page_fields(page):
    """What a browser would send of the page's form, if nobody touched it."""
    form = page.context["adminform"].form
    sent = {}
    for field in form:
        if field.field.show_hidden_initial:
            sent[field.html_initial_name] = field.value()
        sent[field.html_name] = field.value()
    return {
        name: "on" if value is True else value
        for name, value in sent.items()
        if value is not None and value is not False
    }


def test_a_page_that_was_opened_before_takes_back_nothing_of_others(staff, organization):
    page = staff.get(change_of(organization))
    assert 'name="initial-rate_pence_per_minute"' in said(page)
    Organization.objects.filter(pk=organization.pk).update(rate_pence_per_minute=60)

    sent = ordinary(organization) | page_fields(page) | {"name": "Acme Ltd"}
    staff.post(change_of(organization), sent)

    organization.refresh_from_db()
    assert (organization.name, organization.rate_pence_per_minute) == ("Acme Ltd", 60)
    assert recorded().before == {"name": "Acme"}
    assert recorded().after == {"name": "Acme Ltd"}


def test_a_person_on_a_page_that_was_opened_before_keeps_the_role_of_now(staff, organization):
    membership = MembershipFactory(organization=organization, role="viewer")
    row = {
        "id": membership.pk,
        "user": membership.user_id,
        "initial-user": membership.user_id,
        "role": "viewer",
    }
    sent = ordinary(organization, memberships=[row], name="Acme Ltd")
    sent["initial-memberships-0-user"] = membership.user_id
    sent["initial-memberships-0-role"] = "viewer"
    assert 'name="initial-memberships-0-role"' in said(staff.get(change_of(organization)))
    membership.role = "owner"
    membership.save()

    staff.post(change_of(organization), sent)

    membership.refresh_from_db()
    organization.refresh_from_db()
    assert (organization.name, membership.role) == ("Acme Ltd", "owner")


def test_a_row_that_moves_is_recorded_under_both_organizations(staff, organization):
    assistant = AssistantFactory(organization=organization, name="Reception")
    elsewhere = OrganizationFactory()
    fields = {
        "organization": str(elsewhere.pk),
        "name": "Reception",
        "vapi_assistant_id": assistant.vapi_assistant_id,
        "max_duration_seconds": assistant.max_duration_seconds,
    }
    staff.post(change_of(assistant), fields)
    moves = StaffAction.objects.filter(action="change assistant")
    assert {move.organization for move in moves} == {organization, elsewhere}
    for move in moves:
        assert move.before["organization"] == str(organization.pk)


def test_recipients_of_alerts_are_recorded(staff, organization):
    fields = ordinary(organization) | {
        "alert_recipients-TOTAL_FORMS": 1,
        "alert_recipients-0-email": "ann@example.com",
        "alert_recipients-0-organization": str(organization.pk),
    }
    staff.post(change_of(organization), fields)
    assert AlertRecipient.objects.get().email == "ann@example.com"
    [added] = recorded().after.values()
    assert added["email"] == "ann@example.com"
