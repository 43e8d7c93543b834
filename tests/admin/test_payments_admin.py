"""Staff look at payments, and refund them in two steps."""

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from tests.admin.steps import ask, change_of, confirm, do, page_of, said
from tests.factories import OrganizationFactory, TopUpFactory, UserFactory
from tests.wallets.fake_stripe import fake_stripe
from wallets.models import Refund, StaffAction
from wallets.payments import topups
from wallets.payments.admin import GiveBack
from wallets.payments.facts import Payment
from wallets.selectors import ledger_differences

__all__ = ["fake_stripe"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def topup(fake_stripe):
    topup = TopUpFactory(organization=OrganizationFactory(name="Acme"), amount_pence=5_000)
    topups.credit(
        Payment(
            topup_id=str(topup.pk), payment_intent_id="pi_1", amount_pence=5_000, currency="gbp"
        )
    )
    topup.refresh_from_db()
    return topup


def test_given_a_refund_when_it_is_asked_for_then_before_and_after_are_shown_and_nothing_is_done(
    admin_client, topup, fake_stripe
):
    shown = ask(admin_client, topup, GiveBack, amount_pence="20")

    for figure in ("£50.00", "£30.00", "Agreed by phone", "Refund it"):
        assert figure in said(shown)
    assert not Refund.objects.exists()
    assert fake_stripe.refunds == []


def test_given_what_was_shown_when_it_is_confirmed_twice_then_it_is_refunded_once(
    admin_client, admin_user, topup
):
    shown = ask(admin_client, topup, GiveBack, amount_pence="20")

    first = confirm(admin_client, shown)
    again = confirm(admin_client, shown)

    assert "Stripe: on its way to the customer." in said(first)
    assert "not done again" in said(again)
    refund = Refund.objects.get()
    assert (refund.status, refund.reason, refund.requested_by) == (
        "accepted",
        "Agreed by phone",
        admin_user,
    )
    topup.organization.refresh_from_db()
    assert topup.organization.balance_pence == 3_000
    recorded = StaffAction.objects.get()
    assert (recorded.before["balance_pence"], recorded.after["balance_pence"]) == (5_000, 3_000)
    assert ledger_differences() == []


def test_given_more_than_was_paid_when_it_is_asked_for_then_both_figures_are_told(
    admin_client, topup
):
    for step in ("ask", "confirm"):
        answer = ask(admin_client, topup, GiveBack, amount_pence="50.01", step=step)
        assert "5001p cannot be refunded: 5000p" in said(answer)
    assert not Refund.objects.exists()


def test_given_staff_without_the_permission_when_they_ask_then_they_may_not(client, topup):
    staff = UserFactory(is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_topup"))
    client.force_login(staff)

    assert page_of(topup, GiveBack) not in said(client.get(change_of(topup)))
    assert client.get(page_of(topup, GiveBack)).status_code == 403
    for step in ("ask", "confirm"):
        assert ask(client, topup, GiveBack, amount_pence="1", step=step).status_code == 403

    staff.user_permissions.add(Permission.objects.get(codename="add_refund"))
    assert client.get(page_of(topup, GiveBack)).status_code == 200


@pytest.mark.parametrize("model", ["topup", "refund", "dispute"])
def test_given_payments_when_staff_look_then_they_see_them_and_can_change_nothing(
    admin_client, topup, model
):
    do(admin_client, topup, GiveBack, amount_pence="20")

    for address in (
        reverse(f"admin:wallets_{model}_changelist"),
        reverse(f"admin:wallets_{model}_changelist") + "?q=Acme",
    ):
        assert admin_client.get(address).status_code == 200
    assert admin_client.get(reverse(f"admin:wallets_{model}_add")).status_code == 403
    if model != "dispute":
        row = topup if model == "topup" else Refund.objects.get()
        change = reverse(f"admin:wallets_{model}_change", args=[row.pk])
        assert admin_client.get(change).status_code == 200
        assert admin_client.post(change, {"amount_pence": 1}).status_code == 403


def test_given_topups_to_look_at_when_filtered_then_only_those_are_shown(admin_client, topup):
    wrong = TopUpFactory(amount_pence=7_777, attention="Look here.")

    shown = admin_client.get(
        reverse("admin:wallets_topup_changelist"), {"attention": "yes"}
    ).content.decode()

    assert "Look here." in shown
    assert str(wrong.pk) in shown
    assert str(topup.pk) not in shown
