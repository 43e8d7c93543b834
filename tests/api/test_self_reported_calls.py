"""POST reserve-credits and commit-credits: the names of the contract, and what is refused how."""

import pytest

from calls.models import Call
from tests.factories import OrganizationFactory
from tests.wallets.invariants import entries, nothing_changes
from wallets import ledger
from wallets.models import CreditReservation, CreditTransaction

pytestmark = pytest.mark.django_db

RESERVE = "/api/billing/reserve-credits"
COMMIT = "/api/billing/commit-credits"


@pytest.fixture
def reserve(ask, owner):
    return lambda **body: ask("POST", RESERVE, as_user=owner, body=body)


@pytest.fixture
def commit(ask, owner):
    return lambda **body: ask("POST", COMMIT, as_user=owner, body=body)


def test_a_reservation_and_its_replay(reserve):
    first = reserve(callId="call-1", vapiCallId="v", estimatedMinutes=3)

    assert first.status_code == 200
    assert first.json() == {
        "success": True,
        "duplicate": False,
        "reservationId": str(CreditReservation.objects.get().pk),
        "reservedPence": 147,
        "balancePence": 10_000,
        "effectiveBalancePence": 9_853,
        "activeReservationsPence": 147,
    }
    again = reserve(callId="call-1", vapiCallId="v", estimatedMinutes=9)
    assert again.status_code == 200
    assert again.json() == first.json() | {"duplicate": True}


@pytest.mark.parametrize("body", [{}, {"vapiCallId": None}])
def test_minutes_and_vapis_id_may_be_left_out(reserve, settings, body):
    settings.RESERVATION_MINUTES = 7

    assert reserve(callId="call-1", **body).json()["reservedPence"] == 7 * 49


def test_a_settlement_and_its_replay(reserve, commit):
    reserve(callId="call-1")

    first = commit(callId="call-1", durationSeconds=61)

    assert first.status_code == 200
    assert first.json() == {
        "success": True,
        "duplicate": False,
        "transactionId": str(CreditTransaction.objects.get(type="call_deduction").pk),
        "reservedPence": 245,
        "actualCostPence": 98,
        "releasedPence": 147,
        "uncollectedPence": 0,
        "balanceBefore": 10_000,
        "balanceAfter": 9_902,
        "durationSeconds": 61,
    }
    for seconds in (61, 600):
        again = commit(callId="call-1", durationSeconds=seconds)
        assert again.status_code == 200
        assert again.json() == first.json() | {"duplicate": True}


def test_a_call_that_cost_nothing_has_no_transaction(commit):
    assert commit(callId="call-1", durationSeconds=0).json()["transactionId"] is None


def test_more_than_the_wallet_has_is_uncollected(ask, owner, organization):
    answer = ask(
        "POST", COMMIT, as_user=owner, body={"callId": "call-1", "durationSeconds": 60 * 1_000}
    ).json()

    assert (answer["actualCostPence"], answer["uncollectedPence"]) == (49_000, 39_000)
    assert entries(organization)[-1] == ("call_deduction", -10_000, 39_000)


def test_given_no_money_for_one_increment_when_reserved_then_402_with_the_figures(
    ask, owner, organization
):
    ledger.adjust_balance(
        organization_id=organization.pk, change_pence=-9_960, reason="r", idempotency_key="k"
    )

    with nothing_changes():
        answer = ask("POST", RESERVE, as_user=owner, body={"callId": "call-1"})

    assert answer.status_code == 402
    body = answer.json()
    assert "Insufficient balance: 49p needed" in body.pop("error")
    assert body == {
        "code": "insufficient_balance",
        "balancePence": 40,
        "effectiveBalancePence": 40,
        "requiredPence": 49,
    }
    assert not Call.objects.exists()


@pytest.mark.parametrize(("path", "body"), [(RESERVE, {}), (COMMIT, {"durationSeconds": 1})])
def test_given_a_call_of_vapis_when_reserved_or_committed_then_409(
    ask, owner, organization, path, body
):
    Call.objects.create(organization=organization, call_id="x", announced_by_vapi=True)

    with nothing_changes():
        answer = ask("POST", path, as_user=owner, body={"callId": "x"} | body)

    assert answer.status_code == 409
    assert answer.json() == {
        "error": "Vapi announced this call, so that only Vapi's record of it charges it.",
        "code": "settled_by_vapi",
    }


@pytest.mark.parametrize(("path", "body"), [(RESERVE, {}), (COMMIT, {"durationSeconds": 1})])
def test_given_an_id_of_another_organization_then_422_and_nothing_is_revealed(
    ask, owner, path, body
):
    other = OrganizationFactory(funded_pence=1_000, name="Somebody else")
    ledger.reserve_call_credits(organization_id=other.pk, call_id="theirs")

    with nothing_changes():
        answer = ask("POST", path, as_user=owner, body={"callId": "theirs"} | body)

    assert answer.status_code == 422
    assert answer.json() == {
        "error": "This call id cannot be used here; use the id of a call of your own.",
        "code": "idempotency_conflict",
    }


@pytest.mark.parametrize(("path", "body"), [(RESERVE, {}), (COMMIT, {"durationSeconds": 1})])
def test_viewers_may_not_spend(ask, viewer, path, body):
    with nothing_changes():
        answer = ask("POST", path, as_user=viewer, body={"callId": "x"} | body)

    assert (answer.status_code, answer.json()["code"]) == (403, "may_only_read")


def test_given_suspension_when_reserved_then_403_and_when_committed_then_charged(
    reserve, commit, organization
):
    ledger.suspend_organization(organization_id=organization.pk)

    assert reserve(callId="x").json()["code"] == "organization_suspended"
    assert commit(callId="x", durationSeconds=1).status_code == 200


NOT_IDS = [None, "", "  ", 12, 1.5, True, ["x"], {"x": 1}, "nul\0", "x" * 201, "displaced:x"]
NOT_SECONDS = [None, "12", 1.0, 1.5, True, -1, 604_801, 10**30, [1], {}]
NOT_MINUTES = [None, "5", 5.0, False, 0, -1, 721, 10**30, [5]]


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        *((RESERVE, "callId", value) for value in NOT_IDS),
        *((RESERVE, "vapiCallId", value) for value in NOT_IDS if value is not None),
        *((RESERVE, "estimatedMinutes", value) for value in NOT_MINUTES),
        *((COMMIT, "callId", value) for value in NOT_IDS),
        *((COMMIT, "durationSeconds", value) for value in NOT_SECONDS),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_field(ask, owner, path, field, value):
    good = {"callId": "x"} | ({"durationSeconds": 1} if path == COMMIT else {})

    with nothing_changes():
        answer = ask("POST", path, as_user=owner, body=good | {field: value})

    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_input"
    assert list(answer.json()["fields"]) == [field]
    assert not Call.objects.exists()


@pytest.mark.parametrize("path", [RESERVE, COMMIT])
def test_every_field_that_is_wrong_is_named(ask, owner, path):
    body = {"callId": 1, "vapiCallId": 2, "estimatedMinutes": 0, "durationSeconds": -1}

    named = set(ask("POST", path, as_user=owner, body=body).json()["fields"])

    assert named == (
        {"callId", "durationSeconds"}
        if path == COMMIT
        else {"callId", "vapiCallId", "estimatedMinutes"}
    )


@pytest.mark.parametrize(
    ("field", "values"),
    [("estimatedMinutes", [1, 720]), ("durationSeconds", [0, 604_800])],
)
def test_the_smallest_and_the_largest_are_taken(ask, owner, field, values):
    path = RESERVE if field == "estimatedMinutes" else COMMIT
    for number, value in enumerate(values):
        body = {"callId": f"call-{number}", field: value}
        assert ask("POST", path, as_user=owner, body=body).status_code == 200


def test_an_id_is_kept_as_it_was_sent(reserve):
    for call_id in ("call", "CALL", " call", "call ", "x" * 200, "Zürich 📞"):
        assert reserve(callId=call_id, estimatedMinutes=1).json()["duplicate"] is False
        assert CreditReservation.objects.filter(call_id=call_id).exists()
