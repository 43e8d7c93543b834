"""The status check: a call ends when its money does, not before, and not much later."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from calls import ends
from calls.models import Call
from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import (
    SECRET,
    START,
    Clock,
    ControlServer,
    EndTasks,
    Vapi,
    after,
    assert_money,
    call_of,
)
from tests.webhooks.vapi_payloads import VapiCall, encoded
from wallets import ledger
from wallets.models import CreditReservation

pytestmark = pytest.mark.django_db

UNKNOWN = {
    "endCall": False,
    "balance_pence": None,
    "effective_balance_pence": None,
    "remaining_seconds": None,
}
STATUS_CHECK = "/api/vapi/webhook/status-check"


@pytest.fixture
def started(vapi: Vapi, clock: Clock) -> Callable[..., VapiCall]:
    """Makes calls that were authorized and started at the start of the test."""

    def start(funded_pence: int, control_url: str | None = None, **organization: Any) -> VapiCall:
        owner = OrganizationFactory(funded_pence=funded_pence, **organization)
        call = VapiCall(number=PhoneNumberFactory(organization=owner), control_url=control_url)
        return begin(vapi, call)

    return start


def begin(vapi: Vapi, call: VapiCall) -> VapiCall:
    assert "assistantId" in vapi.send(call.assistant_request(START))
    vapi.send(call.status("in-progress", START))
    return call


def top_up(call: VapiCall, amount_pence: int) -> None:
    ledger.add_credits(
        organization_id=call.number.organization.pk,
        amount_pence=amount_pence,
        credit_type="topup",
        description="More",
        idempotency_key="more",
    )


# --- What is not known ends no call -----------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"message": {}},
        {"message": {"call": {}}},
        {"message": {"call": {"id": ""}}},
        {"message": {"call": {"id": None}}},
        {"message": {"call": {"id": 7}}},
        {"message": {"durationSeconds": 43_200}},
    ],
)
@pytest.mark.parametrize("names_organization", [True, False])
def test_given_no_call_id_when_checked_then_no_call_is_ended(
    vapi: Vapi, body: Any, names_organization: bool
) -> None:
    headers = {"X-Vapi-Secret": SECRET}
    if names_organization:
        headers["X-Org-Id"] = str(OrganizationFactory().pk)

    response = vapi.post(encoded(body), STATUS_CHECK, **headers)

    assert (response.status_code, response.json()) == (200, UNKNOWN)


@pytest.mark.parametrize("organization_id", [None, uuid.uuid4()])
def test_given_neither_call_nor_organization_known_when_checked_then_no_call_is_ended(
    vapi: Vapi, organization_id: uuid.UUID | None
) -> None:
    assert vapi.check(VapiCall(), 43_200, organization_id) == UNKNOWN


@pytest.mark.parametrize(
    "header", ["nonsense", "1234", " ", "00000000-0000-0000-0000-00000000000x"]
)
def test_given_a_malformed_organization_when_an_unknown_call_is_checked_then_it_is_bad_input(
    vapi: Vapi, header: str
) -> None:
    response = vapi.post(
        VapiCall().status_check(), STATUS_CHECK, **{"X-Vapi-Secret": SECRET, "X-Org-Id": header}
    )

    assert response.status_code == 400
    assert response.json()["code"] == "bad_input"
    assert "X-Org-Id" in response.json()["error"]


def test_given_a_malformed_body_when_checked_then_it_is_bad_input(vapi: Vapi) -> None:
    response = vapi.post(b"{", STATUS_CHECK)

    assert response.status_code == 400
    assert response.json()["code"] == "malformed_body"


def test_given_no_secret_when_checked_then_it_is_refused(
    vapi: Vapi, started: Callable[..., VapiCall]
) -> None:
    call = started(49)

    response = vapi.post(call.status_check(), STATUS_CHECK, **{"X-Vapi-Secret": "wrong"})

    assert response.status_code == 401


def test_given_a_get_when_checked_then_it_is_not_allowed(client: Any) -> None:
    assert client.get(STATUS_CHECK).status_code == 405


# --- A call that is not known, of an organization that is -------------------------------------


@pytest.mark.parametrize(
    ("funded_pence", "elapsed_seconds", "remaining_seconds", "ends"),
    [
        (0, 0, 0, True),
        (48, 0, 0, True),
        (49, 0, 60, False),
        (49, 57, 3, False),
        (49, 58, 2, True),
        (49, 3600, -3540, True),
        (490, 0, 600, False),
    ],
)
def test_given_a_call_without_hold_when_checked_then_what_calls_can_spend_decides(
    vapi: Vapi, funded_pence: int, elapsed_seconds: int, remaining_seconds: int, ends: bool
) -> None:
    owner = OrganizationFactory(funded_pence=funded_pence)

    answer = vapi.check(VapiCall(), elapsed_seconds, owner.pk)

    assert answer["endCall"] is ends
    assert answer["remaining_seconds"] == remaining_seconds
    assert answer["balance_pence"] == answer["effective_balance_pence"] == funded_pence
    assert not Call.objects.exists()


def test_given_a_debt_limit_when_a_call_without_hold_is_checked_then_it_may_be_used(
    vapi: Vapi,
) -> None:
    owner = OrganizationFactory()
    ledger.set_debt_limit(organization_id=owner.pk, debt_limit_pence=98)

    answer = vapi.check(VapiCall(), 0, owner.pk)

    assert (answer["endCall"], answer["remaining_seconds"]) == (False, 120)


def test_given_a_suspended_organization_when_its_unknown_call_is_checked_then_it_ends(
    vapi: Vapi,
) -> None:
    owner = OrganizationFactory(funded_pence=10_000)
    ledger.suspend_organization(organization_id=owner.pk)

    answer = vapi.check(VapiCall(), 0, owner.pk)

    assert (answer["endCall"], answer["message"]) == (True, "The account is suspended.")


@pytest.mark.parametrize("header", ["other", "nobody", "malformed"])
def test_given_a_known_call_when_another_organization_is_named_then_it_is_ignored(
    vapi: Vapi, started: Callable[..., VapiCall], header: str
) -> None:
    call = started(10_000)
    named = {
        "other": str(OrganizationFactory().pk),
        "nobody": str(uuid.uuid4()),
        "malformed": "nonsense",
    }[header]

    answer = vapi.check(call, 0, named)

    assert (answer["endCall"], answer["balance_pence"]) == (False, 10_000)


# --- Seconds, not pence -----------------------------------------------------------------------


@pytest.mark.parametrize(("hold_pence", "seconds"), [(49, 60), (245, 300)])
def test_given_a_hold_and_no_more_when_every_second_is_checked_then_it_ends_two_seconds_early(
    vapi: Vapi,
    clock: Clock,
    started: Callable[..., VapiCall],
    end_tasks: EndTasks,
    hold_pence: int,
    seconds: int,
) -> None:
    call = started(hold_pence)

    for elapsed_seconds in range(seconds - 2):
        clock.at(elapsed_seconds)
        answer = vapi.check(call)
        remaining_seconds = seconds - elapsed_seconds
        assert answer["endCall"] is False, elapsed_seconds
        assert answer["remaining_seconds"] == remaining_seconds
        # The call's own hold is all there is, and it is no reason to end it.
        assert answer["balance_pence"] == hold_pence
        assert answer["effective_balance_pence"] == 0
        warning = f"{remaining_seconds} seconds of balance remain."
        assert answer.get("message") == (warning if remaining_seconds <= 62 else None)
    assert end_tasks == []

    clock.at(seconds - 2)
    answer = vapi.check(call)
    assert (answer["endCall"], answer["message"]) == (True, "The balance is used up.")
    assert answer["remaining_seconds"] == 2
    assert end_tasks == [str(call_of(call).pk)]


@pytest.mark.parametrize(("elapsed_seconds", "ends"), [(57.999, False), (58.0, True)])
def test_given_a_part_of_a_second_when_checked_then_it_does_not_count_yet(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall], elapsed_seconds: float, ends: bool
) -> None:
    call = started(49)
    clock.at(elapsed_seconds)

    assert vapi.check(call)["endCall"] is ends


def test_given_an_end_at_the_lead_when_the_call_is_reported_then_no_increment_is_unpaid(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall]
) -> None:
    call = started(49)
    clock.at(58)
    assert vapi.check(call)["endCall"] is True

    vapi.send(call.report(START, clock.at(60)))

    assert_money(call.number.organization, balance=0)


# --- Raising the hold -------------------------------------------------------------------------


def test_given_money_when_a_long_call_is_checked_each_minute_then_its_hold_stays_ahead(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall], end_tasks: EndTasks
) -> None:
    call = started(10_000)

    for elapsed_seconds in range(0, 3601, 60):
        clock.at(elapsed_seconds)
        answer = vapi.check(call)
        assert answer["endCall"] is False
        assert "message" not in answer
        assert answer["remaining_seconds"] >= 62
        hold = CreditReservation.objects.get()
        assert hold.tariff.affordable_seconds(hold.reserved_pence) >= elapsed_seconds + 62
        assert answer["effective_balance_pence"] == 10_000 - hold.reserved_pence
        assert hold.expires_at > after(elapsed_seconds + 1800)

    assert end_tasks == []
    # 3,600 s, the minute to the next check and the lead are 62 minutes.
    assert_money(call.number.organization, balance=10_000, reserved=62 * 49)


def test_given_the_same_moment_when_checked_twice_then_the_hold_is_raised_once(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall]
) -> None:
    call = started(10_000)
    clock.at(290)

    first, second = vapi.check(call), vapi.check(call)

    assert first == second
    assert_money(call.number.organization, balance=10_000, reserved=6 * 49)


def test_given_a_little_more_money_when_the_hold_is_raised_then_by_whole_increments_only(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall]
) -> None:
    call = started(245)
    top_up(call, 60)
    clock.at(297)

    answer = vapi.check(call)

    assert (answer["endCall"], answer["remaining_seconds"]) == (False, 63)
    assert_money(call.number.organization, balance=305, reserved=294)


def test_given_a_top_up_in_time_when_checked_then_the_call_goes_on(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall]
) -> None:
    call = started(49)
    clock.at(50)
    assert vapi.check(call)["remaining_seconds"] == 10

    top_up(call, 49)

    assert vapi.check(call)["remaining_seconds"] == 70


def seconds_of_ends(vapi: Vapi, clock: Clock, *calls: VapiCall) -> dict[str, int]:
    """When each call was ended, checked every minute and each second before a whole minute."""
    ends: dict[str, int] = {}
    for minute in range(7):
        for elapsed_seconds in [minute * 60, *range(minute * 60 + 55, minute * 60 + 60)]:
            clock.at(elapsed_seconds)
            for call in calls:
                if call.id not in ends and vapi.check(call)["endCall"]:
                    ends[call.id] = elapsed_seconds
    return ends


def test_given_two_calls_on_one_wallet_when_it_is_empty_then_each_ends_at_its_own_hold(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall], end_tasks: EndTasks
) -> None:
    first = started(245 + 98)
    second = begin(vapi, VapiCall(number=first.number))
    wallet = first.number.organization
    assert_money(wallet, balance=343, reserved=343)

    ends = seconds_of_ends(vapi, clock, first, second)

    assert ends == {first.id: 298, second.id: 118}
    assert len(end_tasks) == 2
    clock.at(310)
    vapi.send(first.report(START, after(300)))
    vapi.send(second.report(START, after(120)))
    assert_money(wallet, balance=0)


def test_given_two_calls_and_a_rest_when_both_run_then_the_rest_goes_to_one_and_none_is_unpaid(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall]
) -> None:
    first = started(2 * 245 + 49)
    second = begin(vapi, VapiCall(number=first.number))

    ends = seconds_of_ends(vapi, clock, first, second)

    assert sorted(ends.values()) == [298, 358]
    for call in (first, second):
        vapi.send(call.report(START, after(ends[call.id] + 2)))
    assert_money(first.number.organization, balance=0)


# --- Other reasons to end ---------------------------------------------------------------------


def test_given_a_suspended_organization_when_checked_then_the_call_ends_on_its_hold(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall], end_tasks: EndTasks
) -> None:
    call = started(10_000)
    ledger.suspend_organization(organization_id=call.number.organization.pk)
    clock.at(290)

    answer = vapi.check(call)

    assert (answer["endCall"], answer["message"]) == (True, "The account is suspended.")
    assert answer["remaining_seconds"] == 10
    known = call_of(call)
    # Its money had not ended.
    assert (known.end_ordered_at, known.money_ended_at) == (after(290), None)
    assert len(end_tasks) == 1
    assert_money(call.number.organization, balance=10_000, reserved=245)


@pytest.mark.parametrize("over", ["ended", "settled"])
def test_given_a_call_that_is_over_when_checked_then_it_ends_and_nothing_is_ordered(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall], end_tasks: EndTasks, over: str
) -> None:
    call = started(10_000)
    vapi.send(call.ended(clock.at(10)) if over == "ended" else call.report(START, clock.at(10)))

    answer = vapi.check(call)

    assert (answer["endCall"], answer["message"]) == (True, "This call is over.")
    assert answer["balance_pence"] == (10_000 if over == "ended" else 10_000 - 49)
    assert answer["remaining_seconds"] is None
    assert end_tasks == []
    assert call_of(call).end_ordered_at is None


def test_given_a_hold_that_lapsed_when_checked_then_the_wallet_decides(
    vapi: Vapi, clock: Clock, started: Callable[..., VapiCall]
) -> None:
    call = started(100)
    ledger.release_reservation(call_id=call.id)
    clock.at(100)

    answer = vapi.check(call)

    assert (answer["endCall"], answer["remaining_seconds"]) == (False, 20)
    assert_money(call.number.organization, balance=100)


# --- How long the call has lasted -------------------------------------------------------------


@pytest.mark.parametrize(
    ("known_seconds", "reported", "remaining_seconds"),
    [
        (100, None, 200),
        (100, 50, 200),
        (100, 150, 150),
        (100, 150.5, 149),
        (100, -5, 200),
        (100, -1e300, 200),
        (100, "150", 200),
        (100, True, 200),
        (100, [150], 200),
        (100, {"seconds": 150}, 200),
        (100, 1e300, 300 - 43_200),
        (100, 10**40, 300 - 43_200),
        (50_000, 0, 300 - 43_200),
    ],
)
def test_given_a_reported_duration_when_checked_then_the_longer_counts_within_bounds(
    vapi: Vapi,
    clock: Clock,
    started: Callable[..., VapiCall],
    known_seconds: int,
    reported: Any,
    remaining_seconds: int,
) -> None:
    call = started(245)
    clock.at(known_seconds)

    answer = vapi.check(call, reported)

    assert answer["remaining_seconds"] == remaining_seconds
    assert answer["endCall"] is (remaining_seconds <= 2)


def test_given_a_call_that_did_not_start_when_checked_then_only_its_own_word_counts(
    vapi: Vapi, clock: Clock
) -> None:
    owner = OrganizationFactory(funded_pence=49)
    call = VapiCall(number=PhoneNumberFactory(organization=owner))
    vapi.send(call.assistant_request(START))
    clock.at(500)

    assert vapi.check(call)["remaining_seconds"] == 60
    assert vapi.check(call, 58)["endCall"] is True


def test_given_a_call_id_at_the_top_when_checked_then_it_is_found(
    vapi: Vapi, started: Callable[..., VapiCall]
) -> None:
    call = started(49)

    response = vapi.post({"call": {"id": call.id}}, STATUS_CHECK)

    assert response.json()["remaining_seconds"] == 60


# --- The act ----------------------------------------------------------------------------------


def test_given_a_forced_end_when_all_is_done_then_each_moment_and_the_cost_are_recorded(
    vapi: Vapi,
    clock: Clock,
    started: Callable[..., VapiCall],
    end_tasks: EndTasks,
    control_server: ControlServer,
) -> None:
    call = started(49, control_server.url("live"))
    clock.at(60)

    assert vapi.check(call)["endCall"] is True
    # Asked again, it is sent again; when it was ordered stays.
    clock.at(61)
    assert vapi.check(call)["endCall"] is True
    assert control_server.received == []
    assert end_tasks.run() == 2
    clock.at(70)
    vapi.send(call.report(START, after(64), reason="assistant-ended-call"))

    assert control_server.received == [("/live/control", {"type": "end-call"})]
    known = call_of(call)
    assert known.money_ended_at == after(60)
    assert known.end_ordered_at == after(60)
    assert known.end_sent_at == after(61)
    assert known.ended_at == after(64)
    assert (known.charged_pence, known.uncollected_pence) == (49, 49)
    assert_money(call.number.organization, balance=0, owed=49)


@pytest.mark.parametrize(("elapsed_seconds", "money_ended_at"), [(58, 60), (60, 60), (90, 60)])
def test_given_a_forced_end_when_the_money_ended_then_that_moment_is_recorded(
    vapi: Vapi,
    clock: Clock,
    started: Callable[..., VapiCall],
    elapsed_seconds: int,
    money_ended_at: int,
) -> None:
    call = started(49)
    clock.at(elapsed_seconds)

    vapi.check(call)

    assert call_of(call).money_ended_at == after(money_ended_at)


def test_given_the_order_is_lost_when_the_sweep_comes_then_the_call_is_ended(
    vapi: Vapi,
    clock: Clock,
    started: Callable[..., VapiCall],
    end_tasks: EndTasks,
    control_server: ControlServer,
) -> None:
    call = started(49, control_server.url("live"))
    clock.at(58)
    vapi.check(call)
    end_tasks.clear()

    clock.at(68)
    assert ends.take_overdue() == [call_of(call).pk]


def test_given_an_assistant_only_when_its_web_call_runs_dry_then_it_is_ended(
    vapi: Vapi, clock: Clock, end_tasks: EndTasks
) -> None:
    assistant = AssistantFactory(organization=OrganizationFactory(funded_pence=49))
    call = VapiCall(type="webCall", assistant=assistant)
    clock.at(0)
    vapi.send(call.status("in-progress", START))
    clock.at(58)

    assert vapi.check(call)["endCall"] is True
    assert len(end_tasks) == 1
