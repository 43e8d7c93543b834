"""Staff look at payments, and refund them in two steps."""

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from tests.factories import OrganizationFactory, TopUpFactory, UserFactory
from tests.wallets.fake_stripe import fake_stripe
from wallets.models import Refund
from wallets.payments import topups
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


@pytest.fixture
def page(topup):
    return reverse("admin:wallets_topup_refund", args=[topup.pk])


def first_step(admin_client, page, amount_pence):
    return admin_client.post(
        page,
        {
            "amount_pence": amount_pence,
            "reason": "Asked for",
            "refund_id": admin_client.get(page).context["form"]["refund_id"].value(),
        },
    )


def confirmed(admin_client, page, shown):
    return admin_client.post(page, {**shown.context["form"].data.dict(), "confirmed": "yes"})


def test_given_a_refund_when_it_is_asked_for_then_before_and_after_are_shown_and_nothing_is_done(
    admin_client, page, topup
):
    shown = first_step(admin_client, page, 2_000)

    text = shown.content.decode()
    for figure in ("5000p", "3000p", "2000p", "Asked for", "Refund it"):
        assert figure in text
    assert not Refund.objects.exists()


def test_given_what_was_shown_when_it_is_confirmed_twice_then_it_is_refunded_once(
    admin_client, admin_user, page, topup, fake_stripe
):
    shown = first_step(admin_client, page, 2_000)

    first = confirmed(admin_client, page, shown)
    confirmed(admin_client, page, shown)

    refund = Refund.objects.get()
    assert first.url == reverse("admin:wallets_refund_change", args=[refund.pk])
    assert (refund.status, refund.reason, refund.requested_by) == (
        "accepted",
        "Asked for",
        admin_user,
    )
    topup.organization.refresh_from_db()
    assert topup.organization.balance_pence == 3_000
    assert ledger_differences() == []


def test_given_more_than_was_paid_when_it_is_confirmed_then_both_figures_are_told(
    admin_client, page, topup
):
    answer = confirmed(admin_client, page, first_step(admin_client, page, 5_001))

    assert "5001p cannot be refunded: 5000p" in answer.content.decode()
    assert not Refund.objects.exists()


def test_given_staff_without_the_permission_when_they_ask_then_they_may_not(client, page, topup):
    staff = UserFactory(is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_topup"))
    client.force_login(staff)

    shown = client.get(reverse("admin:wallets_topup_change", args=[topup.pk]))
    assert page not in shown.content.decode()
    assert client.get(page).status_code == 403
    assert client.post(page, {"amount_pence": 1, "reason": "x"}).status_code == 403

    staff.user_permissions.add(Permission.objects.get(codename="add_refund"))
    assert client.get(page).status_code == 200


@pytest.mark.parametrize("model", ["topup", "refund", "dispute"])
def test_given_payments_when_staff_look_then_they_see_them_and_can_change_nothing(
    admin_client, admin_user, page, topup, model
):
    confirmed(admin_client, page, first_step(admin_client, page, 2_000))

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
