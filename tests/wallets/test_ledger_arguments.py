"""Arguments that no command takes: a ValueError that says what is allowed, and nothing changed."""

import inspect
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from tests.factories import OrganizationFactory
from tests.wallets.invariants import nothing_changes
from tests.wallets.steps import commit, reserve
from wallets import ledger

pytestmark = pytest.mark.django_db

COMMANDS = {
    name: command for name in ledger.__all__ if inspect.isfunction(command := getattr(ledger, name))
}
# Arguments with which each command succeeds; every test below spoils one of them.
GOOD = {
    "add_credits": {
        "amount_pence": 10, "credit_type": "topup", "description": "d", "idempotency_key": "k",
    },
    "adjust_balance": {"change_pence": 10, "reason": "r", "idempotency_key": "k"},
    "check_balance_and_deduct_asset_cost": {
        "cost_pence": 10, "asset_type": "license", "description": "d", "idempotency_key": "k",
    },
    "claw_back": {"amount_pence": 10, "description": "d", "idempotency_key": "k"},
    "cleanup_expired_reservations": {},
    "commit_reserved_credits": {"call_id": "held", "duration_seconds": 10},
    "correct_settlement": {"call_id": "owed call", "duration_seconds": 10},
    "extend_reservation": {"call_id": "held", "cover_seconds": 600},
    "extend_reservations": {
        "extensions": [ledger.Extension(call_id="held", cover_seconds=600)],
    },
    "give_up_call_id": {"call_id": "held"},
    "recover_owed": {"amount_pence": 10, "description": "d", "idempotency_key": "k"},
    "release_reservation": {"call_id": "held"},
    "reserve_call_credits": {"call_id": "new"},
    "resume_organization": {},
    "return_payment": {"amount_pence": 10, "reason": "r", "idempotency_key": "k"},
    "set_debt_limit": {"debt_limit_pence": 10},
    "suspend_organization": {},
    "write_off_owed": {"amount_pence": 10, "reason": "r", "idempotency_key": "k"},
}  # fmt: skip
TAKES_ORGANIZATION = [
    name
    for name, command in COMMANDS.items()
    if "organization_id" in inspect.signature(command).parameters
]

NOT_WHOLE_NUMBERS = [None, True, False, 1.0, 10.5, float("nan"), float("inf"), "10", b"10",
                     Decimal(10), [10], {}, object()]  # fmt: skip
TOO_LARGE = [10**12 + 1, 2**63, 10**30]
NOT_AMOUNTS = [*NOT_WHOLE_NUMBERS, 0, -1, -(10**30), *TOO_LARGE]
NOT_TEXT = [None, "", 5, True, b"bytes", ["x"], {}, object(), "nul\0", "\0", "half \ud83d",
            "\udfff", "x" * 501]  # fmt: skip
NOT_CHOICES = [None, "", "TOPUP", "call_deduction", "adjustment", "clawback", "rental", 1, True,
               ["topup"], {}, b"topup", "topup\0", "\ud800"]  # fmt: skip
NOT_SECONDS = [*NOT_WHOLE_NUMBERS, -1, 7 * 24 * 3600 + 1, 2**63]
NOT_MINUTES = [*NOT_WHOLE_NUMBERS, 0, -1, 12 * 60 + 1, 2**63]
NAIVE = timezone.now().replace(tzinfo=None)
NOT_MOMENTS = [0, True, "2026-01-01T00:00:00Z", 1.5, b"", [], NAIVE, NAIVE.date(),
               timedelta(minutes=5)]  # fmt: skip
NOT_USERS = [0, -1, True, "1", "admin", 1.0, 2**31, 2**70, [1], object()]

BAD = {
    "amount_pence": NOT_AMOUNTS,
    "cost_pence": NOT_AMOUNTS,
    "change_pence": [*NOT_WHOLE_NUMBERS, 0, *TOO_LARGE, *(-large for large in TOO_LARGE)],
    "debt_limit_pence": [*NOT_WHOLE_NUMBERS, -1, *TOO_LARGE],
    "description": NOT_TEXT,
    "reason": NOT_TEXT,
    "idempotency_key": [*NOT_TEXT, "x" * 151],
    "call_id": [*NOT_TEXT, "x" * 201],
    "vapi_call_id": [*(text for text in NOT_TEXT if text is not None), "x" * 201],
    "credit_type": [*NOT_CHOICES, "license", "phone_number"],
    "asset_type": [*NOT_CHOICES, "topup", "refund", "bonus"],
    "duration_seconds": NOT_SECONDS,
    "cover_seconds": NOT_SECONDS,
    "estimated_minutes": NOT_MINUTES,
    "extensions": [
        None,
        "held",
        ["held"],
        [None],
        {},
        1,
        [ledger.Extension(call_id="held", cover_seconds=1)] * 501,
    ],
    "live_until": NOT_MOMENTS,
    "created_by_id": NOT_USERS,
}
SPOILED = [
    (name, argument)
    for name, command in COMMANDS.items()
    for argument in inspect.signature(command).parameters
    if argument != "organization_id"
]


@pytest.fixture
def organization():
    """It has money, a live call, and owes something."""
    organization = OrganizationFactory(recovers_owed_from_topups=False)
    commit("owed call", 61, organization_id=organization.pk)
    ledger.add_credits(
        organization_id=organization.pk,
        amount_pence=1000,
        credit_type="topup",
        description="Top-up",
        idempotency_key="top-up",
    )
    reserve(organization, "held", minutes=1)
    return organization


def arguments_of(name, organization):
    takes_it = name in TAKES_ORGANIZATION
    return GOOD[name] | ({"organization_id": organization.pk} if takes_it else {})


def test_every_command_is_tried():
    assert set(GOOD) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_good_arguments_are_taken(organization, name):
    COMMANDS[name](**arguments_of(name, organization))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_is_a_keyword(name):
    kinds = {parameter.kind for parameter in inspect.signature(COMMANDS[name]).parameters.values()}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(("name", "argument"), SPOILED)
def test_a_bad_argument_is_refused_with_a_sentence(organization, name, argument):
    with nothing_changes():
        for value in BAD[argument]:
            arguments = arguments_of(name, organization) | {argument: value}
            with pytest.raises(ValueError, match=r"^\S.{15,}\.$") as refusal:
                COMMANDS[name](**arguments)
            assert type(refusal.value) is ValueError  # ours, and not one that came up on the way
            str(refusal.value).encode()  # can be shown and logged


@pytest.mark.parametrize("argument", ["call_id", "cover_seconds", "live_until"])
def test_an_extension_refuses_what_extend_reservation_refuses(argument):
    good = {"call_id": "held", "cover_seconds": 600}
    for value in BAD[argument]:
        with pytest.raises(ValueError, match=r"^\S.{15,}\.$"):
            ledger.Extension(**good | {argument: value})


NOT_ORGANIZATIONS = [uuid.UUID(int=0), str(uuid.UUID(int=7)), "", "not an id", "\0", "\ud800",
                     "x" * 10_000, 0, -1, 2**200, True, 1.5, b"bytes", [], {},
                     object()]  # fmt: skip


@pytest.mark.parametrize("name", TAKES_ORGANIZATION)
def test_an_unknown_or_malformed_organization_is_not_found(organization, name):
    with nothing_changes():
        for value in NOT_ORGANIZATIONS:
            arguments = arguments_of(name, organization) | {"organization_id": value}
            with pytest.raises(ledger.OrganizationNotFound, match="There is no organization"):
                COMMANDS[name](**arguments)


@pytest.mark.parametrize(
    "name", [name for name in TAKES_ORGANIZATION if name != "commit_reserved_credits"]
)
def test_no_organization_is_not_found(organization, name):
    with pytest.raises(ledger.OrganizationNotFound), nothing_changes():
        COMMANDS[name](**arguments_of(name, organization) | {"organization_id": None})


@pytest.mark.parametrize("name", TAKES_ORGANIZATION)
def test_an_id_may_be_text(organization, name):
    COMMANDS[name](**arguments_of(name, organization) | {"organization_id": str(organization.pk)})


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        ("add_credits", "amount_pence", 10**12),
        ("adjust_balance", "change_pence", 10**12),
        ("adjust_balance", "change_pence", -951),
        ("claw_back", "amount_pence", 10**12),
        ("set_debt_limit", "debt_limit_pence", 10**12),
        ("set_debt_limit", "debt_limit_pence", 0),
        ("add_credits", "description", "x" * 500),
        ("add_credits", "description", "Zürich 📞 'quoted' \"twice\" %s {} ; --"),
        ("add_credits", "idempotency_key", "x" * 150),
        ("adjust_balance", "idempotency_key", "x" * 150),
        ("reserve_call_credits", "call_id", "x" * 200),
        ("reserve_call_credits", "vapi_call_id", "x" * 200),
        ("reserve_call_credits", "estimated_minutes", 720),
        ("commit_reserved_credits", "duration_seconds", 7 * 24 * 3600),
        ("correct_settlement", "duration_seconds", 7 * 24 * 3600),
        ("correct_settlement", "duration_seconds", 0),
        ("extend_reservation", "cover_seconds", 7 * 24 * 3600),
        ("extend_reservation", "live_until", timezone.now() + timedelta(hours=12)),
    ],
)
def test_the_largest_allowed_is_taken(organization, name, argument, value):
    COMMANDS[name](**arguments_of(name, organization) | {argument: value})


@pytest.mark.parametrize("name", ["reserve_call_credits", "commit_reserved_credits"])
def test_no_new_call_takes_the_name_of_an_id_that_was_given_up(organization, name):
    arguments = arguments_of(name, organization) | {"call_id": f"displaced:{uuid.uuid4()}"}
    with pytest.raises(ValueError, match="does not begin with"), nothing_changes():
        COMMANDS[name](**arguments)


def test_a_hold_cannot_be_renewed_for_longer_than_any_call_lasts(organization):
    with pytest.raises(ValueError, match="live_until"), nothing_changes():
        ledger.extend_reservation(
            call_id="held", cover_seconds=10, live_until=timezone.now() + timedelta(days=8)
        )
