"""POST /api/billing/wallet/topup."""

import pytest

from tests.factories import MembershipFactory, OrganizationFactory
from tests.wallets.steps import suspend
from wallets.models import TopUp
from wallets.payments import topups

pytestmark = pytest.mark.django_db
TOPUP = "/api/billing/wallet/topup"


def test_given_an_owner_when_asked_then_the_answer_is_a_page_to_pay_on(
    ask, owner, organization, fake_stripe
):
    answer = ask("POST", TOPUP, as_user=owner, body={"amount_pence": 5_000, "save_card": True})

    assert answer.status_code == 200
    topup = TopUp.objects.get()
    assert answer.json() == {
        "url": f"https://checkout.stripe.com/c/pay/{topup.stripe_checkout_session_id}"
    }
    assert (topup.organization, topup.requested_by, topup.saves_card) == (
        organization,
        owner,
        True,
    )
    organization.refresh_from_db()
    assert organization.balance_pence == 10_000


def test_given_no_word_about_the_card_when_asked_then_it_is_not_kept(ask, owner, fake_stripe):
    ask("POST", TOPUP, as_user=owner, body={"amount_pence": 2_500})

    assert not TopUp.objects.get().saves_card


@pytest.mark.parametrize(
    "body",
    [
        {"amount_pence": 2_499},
        {"amount_pence": 1_000_001},
        {"amount_pence": 0},
        {"amount_pence": -5_000},
        {"amount_pence": 50.5},
        {"amount_pence": "many"},
        {"amount_pence": None},
        {},
    ],
)
def test_given_an_amount_that_is_not_allowed_when_asked_then_the_field_is_named(
    ask, owner, fake_stripe, body
):
    answer = ask("POST", TOPUP, as_user=owner, body=body)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_input")
    assert list(answer.json()["fields"]) == ["amount_pence"]
    assert not TopUp.objects.exists()
    assert fake_stripe.asked == []


def test_given_an_amount_under_the_minimum_when_asked_then_the_sentence_has_it(
    ask, owner, fake_stripe
):
    answer = ask("POST", TOPUP, as_user=owner, body={"amount_pence": 100})

    assert "from £25.00 to £10,000.00" in answer.json()["error"]


def test_given_somebody_who_may_only_look_when_asked_then_it_is_refused(ask, viewer, fake_stripe):
    answer = ask("POST", TOPUP, as_user=viewer, body={"amount_pence": 5_000})

    assert (answer.status_code, answer.json()["code"]) == (403, "may_only_read")
    assert not TopUp.objects.exists()


def test_given_somebody_elses_wallet_when_asked_then_it_is_refused(ask, owner, fake_stripe):
    other = OrganizationFactory()

    answer = ask("POST", TOPUP, as_user=owner, organization=other, body={"amount_pence": 5_000})

    assert answer.status_code == 403
    assert not TopUp.objects.exists()


def test_given_a_suspended_organization_when_asked_then_it_may_pay_what_it_owes(
    ask, owner, organization, fake_stripe
):
    suspend(organization)

    assert ask("POST", TOPUP, as_user=owner, body={"amount_pence": 5_000}).status_code == 200


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_given_a_stripe_that_does_not_work_when_asked_then_it_can_be_tried_again(
    ask, owner, fake_stripe, status
):
    fake_stripe.fail("checkout/sessions", status, type="api_error", message="secret detail")

    answer = ask("POST", TOPUP, as_user=owner, body={"amount_pence": 5_000})

    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert answer.headers["Retry-After"]
    assert "secret detail" not in answer.content.decode()
    assert TopUp.objects.get().status == "failed"


def test_given_several_organizations_when_asked_then_the_named_one_is_topped_up(
    ask, owner, fake_stripe
):
    other = MembershipFactory(user=owner).organization

    ask("POST", TOPUP, as_user=owner, organization=other, body={"amount_pence": 5_000})

    assert TopUp.objects.get().organization == other


def test_given_as_many_open_pages_as_may_be_when_asked_then_it_is_refused_with_a_sentence(
    ask, owner, fake_stripe, monkeypatch
):
    monkeypatch.setattr(topups, "MAX_OPEN_CHECKOUTS", 1)
    ask("POST", TOPUP, as_user=owner, body={"amount_pence": 5_000})

    answer = ask("POST", TOPUP, as_user=owner, body={"amount_pence": 5_000})

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_open_topups")
    assert answer.json()["error"].startswith("1 top-ups wait for their payment already")
    assert TopUp.objects.count() == 1
