"""What staff decide about calls, and what they see of Vapi's figures."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from calls.models import Appointment, Call, UnbilledCall, UpstreamDay
from calls.staff import BillNow, Settle, SettleFromVapi
from telephony.vapi_calls import CallRecord, VapiRequestFailed
from tests.admin.steps import ask, ask_of_several, change_of, confirm, page_of, said
from tests.factories import AssistantFactory, OrganizationFactory
from tests.wallets.steps import commit, reserve, top_up
from wallets.formats import pounds
from wallets.models import CreditTransaction, StaffAction
from wallets.selectors import ledger_differences
from wallets.staff.money import Recover, WriteOff

pytestmark = pytest.mark.django_db

LIST = reverse("admin:calls_call_changelist")


@pytest.fixture
def staff(client):
    client.force_login(get_user_model().objects.create_superuser("alice", password="secret"))
    return client


@pytest.fixture
def call():
    """Held for review at a reported 3,000 seconds."""
    organization = OrganizationFactory(funded_pence=10_000)
    reserve(organization, "the-call")
    return Call.objects.create(
        organization=organization,
        call_id="the-call",
        vapi_call_id="the-call",
        announced_by_vapi=True,
        ended_at=timezone.now(),
        duration_seconds=3000,
        review_reason="It lasted 3000 s, but was capped at 600 s.",
    )


@pytest.mark.parametrize(
    ("charge", "duration_seconds", "pence"),
    [("reported", "", 2450), ("given", "61", 98), ("nothing", "", 0), ("nothing", "61", 0)],
)
def test_a_call_in_review_is_settled_as_staff_choose(staff, call, charge, duration_seconds, pence):
    shown = ask(staff, call, Settle, charge=charge, duration_seconds=duration_seconds)
    assert pounds(pence) in said(shown)
    assert Call.objects.get().settled_at is None

    assert f"Charged – → {pounds(pence)}" in said(confirm(staff, shown))
    assert "not done again" in said(confirm(staff, shown))
    assert "not held for review" in said(ask(staff, call, Settle, charge="nothing"))

    call.refresh_from_db()
    assert (call.charged_pence, call.settled_from) == (pence, "staff")
    assert "by alice: Agreed by phone" in call.review_decision
    recorded = StaffAction.objects.get()
    assert (recorded.username, recorded.after["charged_pence"]) == ("alice", pence)
    assert ledger_differences() == []


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"charge": "given"}, "No such duration is known"),
        ({"charge": "given", "duration_seconds": "-5"}, "greater than or equal"),
        ({"charge": "nothing", "reason": ""}, "This field is required."),
        ({"charge": "nothing", "reason": "  "}, "This field is required."),
        ({}, "This field is required."),
        ({"charge": "given", "duration_seconds": "9999999"}, "duration_seconds"),
    ],
)
def test_a_decision_that_is_not_complete_says_why_and_charges_nothing(staff, call, form, says):
    for step in ("ask", "confirm"):
        assert says in said(ask(staff, call, Settle, step=step, **form))
    call.refresh_from_db()
    assert call.settled_at is None
    assert CreditTransaction.objects.filter(type="call_deduction").count() == 0


def test_staff_who_may_only_look_settle_nothing(client, call):
    user = get_user_model().objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_call"))
    client.force_login(user)
    shown = client.get(change_of(call))
    assert shown.status_code == 200
    assert page_of(call, Settle) not in said(shown)
    assert client.get(page_of(call, Settle)).status_code == 403
    assert ask(client, call, Settle, charge="nothing").status_code == 403
    assert ask(client, call, Settle, charge="nothing", step="confirm").status_code == 403


def test_calls_to_review_and_below_cost_are_found(staff, call):
    below = Call.objects.create(
        organization=call.organization,
        call_id="cheap",
        vapi_call_id="cheap",
        announced_by_vapi=True,
        settled_from="vapi",
        settled_at=timezone.now(),
        ended_at=timezone.now(),
        charged_pence=49,
        uncollected_pence=0,
        vapi_cost_pence=50,
    )
    assert page_of(call, Settle) in said(staff.get(change_of(call)))
    for wanted, found, other in (("review", call, below), ("below_cost", below, call)):
        page = staff.get(LIST, {"attention": wanted}).content.decode()
        assert str(found.pk) in page
        assert str(other.pk) not in page


def test_margin_is_shown_by_day_and_organization(staff, call):
    Call.objects.update(vapi_cost_usd=1)
    page = staff.get(reverse("admin:calls_call_margin")).content.decode()
    assert call.organization.name in page
    assert "£0.79" in page


def test_days_that_differ_are_found(staff):
    figures = {"vapi_seconds": 60, "our_seconds": 60, "compared_at": timezone.now()}
    UpstreamDay.objects.create(day="2026-03-01", vapi_calls=1, our_calls=1, **figures)
    UpstreamDay.objects.create(day="2026-03-02", vapi_calls=2, our_calls=1, **figures)
    url = reverse("admin:calls_upstreamday_changelist")
    page = staff.get(url, {"comparison": "differs"}).content.decode()
    assert "/2026-03-02/change/" in page
    assert "/2026-03-01/change/" not in page


@pytest.fixture
def vapis_record(monkeypatch):
    """Vapi's record of any call: 61 seconds, which ended just now."""
    ended_at = timezone.now()

    def get_call(vapi_call_id):
        return CallRecord(
            id=vapi_call_id,
            type="inboundPhoneCall",
            status="ended",
            started_at=ended_at - timedelta(seconds=61),
            ended_at=ended_at,
            ended_reason="customer-ended-call",
            cost_usd=Decimal("0.05"),
            squad_id=None,
            assistant_id="the-assistant",
            phone_number_id=None,
            number=None,
            control_url=None,
            updated_at=ended_at,
        )

    monkeypatch.setattr("calls.staff.get_call", get_call)


def test_an_unbilled_call_is_billed_once_its_payer_is_known(staff, vapis_record):
    unbilled = UnbilledCall.objects.create(vapi_call_id="x", reason="nobody pays")
    assert "Nobody is known to pay" in said(ask(staff, unbilled, BillNow))
    organization = OrganizationFactory(funded_pence=1_000)
    AssistantFactory(organization=organization, vapi_assistant_id="the-assistant")

    shown = ask(staff, unbilled, BillNow)
    assert "£0.98" in said(shown)
    assert UnbilledCall.objects.exists()
    told = said(confirm(staff, shown))

    assert "Settled: 61 s, 98p" in told
    assert not UnbilledCall.objects.exists()
    organization.refresh_from_db()
    assert organization.balance_pence == 902
    assert StaffAction.objects.get().action == "bill unbilled call"


@pytest.fixture
def ended():
    """A call whose report never came."""
    organization = OrganizationFactory(funded_pence=1_000)
    reserve(organization, "x")
    return Call.objects.create(
        organization=organization,
        call_id="x",
        vapi_call_id="x",
        announced_by_vapi=True,
        reconcile_at=timezone.now(),
    )


def test_a_call_is_settled_from_vapis_record(staff, ended, vapis_record):
    shown = ask(staff, ended, SettleFromVapi)
    assert "£9.02" in said(shown)
    ended.refresh_from_db()
    assert ended.settled_at is None

    assert "Charged – → £0.98" in said(confirm(staff, shown))

    ended.refresh_from_db()
    assert (ended.charged_pence, ended.settled_from) == (98, "vapi")
    recorded = StaffAction.objects.get()
    assert (recorded.before["balance_pence"], recorded.after["balance_pence"]) == (1_000, 902)
    assert "61 s" in recorded.after["vapis_record"]
    assert ledger_differences() == []


def test_calls_are_settled_from_vapi_from_the_list(staff, ended, vapis_record):
    confirm(staff, ask_of_several(staff, [ended], SettleFromVapi))
    ended.refresh_from_db()
    assert ended.charged_pence == 98


def test_given_vapi_down_when_it_is_asked_then_its_answer_is_told(staff, ended, monkeypatch):
    def get_call(vapi_call_id):
        raise VapiRequestFailed("Vapi did not answer.")

    monkeypatch.setattr("calls.staff.get_call", get_call)
    assert "Vapi did not answer." in said(ask(staff, ended, SettleFromVapi))
    assert "Vapi did not answer." in said(ask(staff, ended, SettleFromVapi, step="confirm"))
    assert not StaffAction.objects.exists()


# --- What is owed -----------------------------------------------------------------------------


@pytest.fixture
def owing():
    """It owes 98 p, and has 60 p that came by a bonus."""
    organization = OrganizationFactory()
    commit("old", 61, organization_id=organization.pk)
    top_up(organization, 60, credit_type="bonus")
    return organization


@pytest.mark.parametrize(("command", "balance"), [(Recover, 10), (WriteOff, 60)])
def test_what_is_owed_is_recovered_or_written_off_with_a_reason_once(
    staff, owing, command, balance
):
    shown = ask(staff, owing, command, amount_pence="0.50")
    for _ in range(2):  # the second is the button pressed twice
        assert confirm(staff, shown).status_code == 200
    owing.refresh_from_db()
    assert (owing.balance_pence, owing.owed_pence) == (balance, 48)
    entry = CreditTransaction.objects.order_by("sequence").last()
    assert (entry.description, entry.created_by.username) == ("Agreed by phone", "alice")
    assert ledger_differences() == []


@pytest.mark.parametrize(
    ("command", "amount", "says"),
    [
        (Recover, "0.99", "Only 98p is owed"),
        (Recover, "0.61", "61p needed, 60p available"),
        (WriteOff, "0.99", "Only 98p is owed"),
        (WriteOff, "0", "Enter an amount above 0."),
    ],
)
def test_more_than_can_be_is_refused_with_both_figures(staff, owing, command, amount, says):
    for step in ("ask", "confirm"):
        assert says in said(ask(staff, owing, command, amount_pence=amount, step=step))
    owing.refresh_from_db()
    assert (owing.balance_pence, owing.owed_pence) == (60, 98)


def test_organizations_that_owe_are_found(staff, owing):
    other = OrganizationFactory(name="Pays at once")
    url = reverse("admin:wallets_organization_changelist")
    page = said(staff.get(url, {"needs": "owes"}))
    assert owing.name in page
    assert other.name not in page
    assert page_of(owing, Recover) in said(staff.get(change_of(owing)))
    assert page_of(other, Recover) not in said(staff.get(change_of(other)))


def test_an_appointment_is_tied_to_a_call_of_its_own_organization(staff, call):
    theirs = OrganizationFactory()
    add = reverse("admin:calls_appointment_add")
    refused = staff.post(add, {"organization": str(theirs.pk), "call": str(call.pk)})
    assert f"This call is {call.organization}" in said(refused)
    staff.post(add, {"organization": str(call.organization_id), "call": str(call.pk)})
    assert Appointment.objects.get().call == call


def test_the_database_refuses_an_appointment_with_anothers_call(call):
    theirs = OrganizationFactory()
    with (
        pytest.raises(IntegrityError, match="another organization's"),
        transaction.atomic(),
    ):
        Appointment.objects.create(organization=theirs, call=call)
    own = Appointment.objects.create(organization=call.organization, call=call)
    own.organization = theirs
    with pytest.raises(IntegrityError), transaction.atomic():
        own.save()
