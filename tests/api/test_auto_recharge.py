"""The settings of automatic recharge over HTTP."""

import pytest

from tests.wallets.stripe import keep_card

ADDRESS = "/api/billing/wallet/auto-recharge"
BODY = {"enabled": True, "amount_pence": 5_000, "threshold_pence": 1_500}


@pytest.fixture
def card(organization):
    keep_card(organization)


def test_an_owner_sets_them_and_reads_them_back(ask, owner, organization, card):
    answer = ask("POST", ADDRESS, as_user=owner, body=BODY)
    assert answer.status_code == 200
    assert answer.json() == BODY | {"monthly_cap_pence": 50_000}
    assert ask("GET", ADDRESS, as_user=owner).json() == answer.json()
    organization.refresh_from_db()
    assert organization.auto_recharge_enabled


def test_a_viewer_reads_them_and_sets_nothing(ask, viewer, organization, card):
    assert ask("GET", ADDRESS, as_user=viewer).status_code == 200
    assert ask("POST", ADDRESS, as_user=viewer, body=BODY).status_code == 403
    organization.refresh_from_db()
    assert not organization.auto_recharge_enabled


def test_without_a_card_it_says_how_to_have_one_kept(ask, owner):
    answer = ask("POST", ADDRESS, as_user=owner, body=BODY)
    assert answer.status_code == 409
    assert answer.json()["code"] == "no_card_kept"
    assert "top up once" in answer.json()["error"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount_pence": 100}, "amount_pence"),
        ({"amount_pence": "5000"}, "amount_pence"),
        ({"amount_pence": 10**30}, "amount_pence"),
        ({"threshold_pence": -1}, "threshold_pence"),
        ({"threshold_pence": None}, "threshold_pence"),
        ({"monthly_cap_pence": 1}, "monthly_cap_pence"),
        ({"monthly_cap_pence": None}, "monthly_cap_pence"),
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": None}, "enabled"),
    ],
)
def test_what_cannot_be_is_refused_field_by_field(ask, owner, organization, card, changes, field):
    answer = ask("POST", ADDRESS, as_user=owner, body=BODY | changes)
    assert answer.status_code == 400, answer.content
    assert field in answer.json()["fields"]
    organization.refresh_from_db()
    assert not organization.auto_recharge_enabled
