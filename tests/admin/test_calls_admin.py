"""What staff decide about calls, and what they see of Vapi's figures."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from calls import reconciliation
from calls.models import Call, UnbilledCall, UpstreamDay
from tests.factories import OrganizationFactory
from tests.wallets.steps import commit, reserve, top_up
from wallets.models import CreditTransaction
from wallets.selectors import ledger_differences

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


def settle_page(call):
    return reverse("admin:calls_call_settle", args=[call.pk])


@pytest.mark.parametrize(
    ("charge", "duration_seconds", "pence"),
    [("reported", "", 2450), ("given", "61", 98), ("nothing", "", 0), ("nothing", "61", 0)],
)
def test_a_call_in_review_is_settled_as_staff_choose(staff, call, charge, duration_seconds, pence):
    page = staff.get(settle_page(call)).content.decode()
    assert "capped at 600 s" in page
    form = {"charge": charge, "duration_seconds": duration_seconds, "reason": "Asked Vapi"}
    done = staff.post(settle_page(call), form, follow=True).content.decode()
    assert f"Settled: {pence}p charged." in done
    again = staff.post(settle_page(call), form, follow=True).content.decode()
    assert "not held for review" in again

    call.refresh_from_db()
    assert (call.charged_pence, call.settled_from) == (pence, "staff")
    assert "by alice: Asked Vapi" in call.review_decision
    assert "by alice: Asked Vapi" in LogEntry.objects.get().change_message
    assert ledger_differences() == []


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"charge": "given", "reason": "why"}, "No such duration is known"),
        ({"charge": "given", "duration_seconds": "-5", "reason": "why"}, "greater than or equal"),
        ({"charge": "nothing"}, "This field is required."),
        ({"charge": "nothing", "reason": "  "}, "This field is required."),
        ({"reason": "why"}, "This field is required."),
        ({"charge": "given", "duration_seconds": "9999999", "reason": "why"}, "duration_seconds"),
    ],
)
def test_a_decision_that_is_not_complete_says_why_and_charges_nothing(staff, call, form, said):
    assert said in staff.post(settle_page(call), form).content.decode()
    call.refresh_from_db()
    assert call.settled_at is None
    assert CreditTransaction.objects.filter(type="call_deduction").count() == 0


def test_staff_who_may_only_look_settle_nothing(client, call):
    user = get_user_model().objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_call"))
    client.force_login(user)
    shown = client.get(reverse("admin:calls_call_change", args=[call.pk]))
    assert shown.status_code == 200
    assert settle_page(call) not in shown.content.decode()
    assert client.get(settle_page(call)).status_code == 403
    form = {"charge": "nothing", "reason": "why"}
    assert client.post(settle_page(call), form).status_code == 403


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
    assert (
        settle_page(call)
        in staff.get(reverse("admin:calls_call_change", args=[call.pk])).content.decode()
    )
    for wanted, found, other in (("review", call, below), ("below_cost", below, call)):
        page = staff.get(LIST, {"attention": wanted}).content.decode()
        assert str(found.pk) in page
        assert str(other.pk) not in page


def test_margin_is_shown_by_day_and_organization(staff, call):
    Call.objects.update(vapi_cost_usd=1)
    page = staff.get(reverse("admin:calls_call_margin")).content.decode()
    assert call.organization.name in page
    assert "79p" in page


def test_days_that_differ_are_found(staff):
    figures = {"vapi_seconds": 60, "our_seconds": 60, "compared_at": timezone.now()}
    UpstreamDay.objects.create(day="2026-03-01", vapi_calls=1, our_calls=1, **figures)
    UpstreamDay.objects.create(day="2026-03-02", vapi_calls=2, our_calls=1, **figures)
    url = reverse("admin:calls_upstreamday_changelist")
    page = staff.get(url, {"comparison": "differs"}).content.decode()
    assert "/2026-03-02/change/" in page
    assert "/2026-03-01/change/" not in page


def test_an_unbilled_call_is_billed_by_an_action(staff, monkeypatch):
    asked = []
    monkeypatch.setattr(reconciliation, "ask_now", lambda ids: asked.extend(ids) or ["x: Settled."])
    UnbilledCall.objects.create(vapi_call_id="x", reason="nobody pays")
    url = reverse("admin:calls_unbilledcall_changelist")
    page = staff.post(url, {"action": "bill", "_selected_action": ["x"]}, follow=True)
    assert asked == ["x"]
    assert "X: Settled." in page.content.decode()


def test_calls_are_settled_from_vapi_by_an_action(staff, monkeypatch):
    asked = []
    monkeypatch.setattr(reconciliation, "ask_now", lambda ids: asked.extend(ids) or ["x: Settled."])
    organization = OrganizationFactory()
    calls = [
        Call.objects.create(
            organization=organization,
            call_id=vapi_call_id,
            vapi_call_id=vapi_call_id,
            announced_by_vapi=True,
            reconcile_at=timezone.now(),
        )
        for vapi_call_id in ("x", "y")
    ]
    url = reverse("admin:calls_call_changelist")
    form = {"action": "settle_from_vapi", "_selected_action": [calls[0].pk]}

    page = staff.post(url, form, follow=True)

    assert asked == ["x"]
    assert "X: Settled." in page.content.decode()


# --- What is owed -----------------------------------------------------------------------------


@pytest.fixture
def owing():
    """It owes 98 p, and has 60 p that came by a bonus."""
    organization = OrganizationFactory()
    commit("old", 61, organization_id=organization.pk)
    top_up(organization, 60, credit_type="bonus")
    return organization


def owed_page(organization, name):
    return reverse(f"admin:wallets_organization_{name}", args=[organization.pk])


@pytest.mark.parametrize(("name", "balance"), [("recover_owed", 10), ("write_off_owed", 60)])
def test_what_is_owed_is_recovered_or_written_off_with_a_reason_once(staff, owing, name, balance):
    form = {"amount_pence": 50, "reason": "Agreed by phone", "idempotency_key": "0" * 32}
    for _ in range(2):  # the second is the button pressed twice
        assert staff.post(owed_page(owing, name), form, follow=True).status_code == 200
    owing.refresh_from_db()
    assert (owing.balance_pence, owing.owed_pence) == (balance, 48)
    entry = CreditTransaction.objects.order_by("sequence").last()
    assert (entry.description, entry.created_by.username) == ("Agreed by phone", "alice")
    assert ledger_differences() == []


@pytest.mark.parametrize(
    ("name", "amount", "said"),
    [
        ("recover_owed", 99, "Only 98p is owed"),
        ("recover_owed", 61, "61p needed, 60p available"),
        ("write_off_owed", 99, "Only 98p is owed"),
        ("write_off_owed", 0, "greater than or equal to 1"),
    ],
)
def test_more_than_can_be_is_refused_with_both_figures(staff, owing, name, amount, said):
    form = {"amount_pence": amount, "reason": "Why", "idempotency_key": "0" * 32}
    assert said in staff.post(owed_page(owing, name), form).content.decode()
    owing.refresh_from_db()
    assert (owing.balance_pence, owing.owed_pence) == (60, 98)


def test_organizations_that_owe_are_found(staff, owing):
    other = OrganizationFactory()
    page = staff.get(
        reverse("admin:wallets_organization_changelist"), {"owes": "something"}
    ).content.decode()
    assert str(owing.pk) in page
    assert str(other.pk) not in page
    assert (
        owed_page(owing, "recover_owed")
        in staff.get(reverse("admin:wallets_organization_change", args=[owing.pk])).content.decode()
    )
