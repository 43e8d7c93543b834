"""Calls that a customer's program announces and settles, and what Vapi's messages make of them."""

from collections.abc import Callable
from typing import Any

import pytest

from calls import self_reported
from calls.models import Call
from calls.self_reported import SettledByVapi
from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.wallets.invariants import nothing_changes
from tests.webhooks.fixtures import (
    START,
    Clock,
    ControlServer,
    EndTasks,
    Vapi,
    after,
    assert_money,
    call_of,
)
from tests.webhooks.vapi_payloads import VapiCall
from wallets import ledger
from wallets.models import CreditReservation, Organization
from wallets.results import Reservation, Settlement
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization() -> Organization:
    return OrganizationFactory(funded_pence=10_000)


@pytest.fixture
def other() -> Organization:
    return OrganizationFactory(funded_pence=10_000)


@pytest.fixture
def call(organization: Organization) -> VapiCall:
    return VapiCall(number=PhoneNumberFactory(organization=organization))


def reserve(organization: Organization, call_id: str, **changes: Any) -> Reservation:
    arguments = {"vapi_call_id": None, "estimated_minutes": 5} | changes
    return self_reported.reserve(organization_id=organization.pk, call_id=call_id, **arguments)


def commit(organization: Organization, call_id: str, seconds: int) -> Settlement:
    return self_reported.commit(
        organization_id=organization.pk, call_id=call_id, duration_seconds=seconds
    )


# --- Without Vapi -----------------------------------------------------------------------------


def test_given_a_new_id_when_reserved_then_there_is_a_call_with_the_ids_as_they_were_sent(
    organization: Organization,
) -> None:
    reserve(organization, " My Call ", vapi_call_id="v")

    call = Call.objects.get()
    assert (call.call_id, call.vapi_call_id, call.organization) == (" My Call ", "v", organization)
    assert (call.announced_by_vapi, call.state) == (False, "live")
    assert CreditReservation.objects.get().call_id == " My Call "
    assert_money(organization, balance=10_000, reserved=245)


def test_given_a_hold_when_committed_then_the_call_has_ended_and_says_who_settled_it(
    organization: Organization, clock: Clock
) -> None:
    reserve(organization, "a")
    now = clock.at(100)

    commit(organization, "a", 61)

    call = Call.objects.get()
    assert (call.settled_from, call.settled_at, call.ended_at) == ("customer", now, now)
    assert (call.duration_seconds, call.charged_pence, call.uncollected_pence) == (61, 98, 0)
    assert call.state == "settled"
    assert_money(organization, balance=10_000 - 98)


def test_given_a_call_that_a_scheduler_checks_when_committed_then_it_is_watched_no_more(
    vapi: Vapi, clock: Clock, organization: Organization
) -> None:
    reserve(organization, "a")
    assert vapi.check(VapiCall(id="a"), 30)["endCall"] is False

    commit(organization, "a", 61)

    assert Call.objects.get().check_at is None
    assert_money(organization, balance=10_000 - 98)


def test_given_no_reservation_when_committed_then_the_call_is_charged_directly(
    organization: Organization,
) -> None:
    assert commit(organization, "a", 61).reserved_pence == 0

    assert Call.objects.get().charged_pence == 98
    assert_money(organization, balance=10_000 - 98)


@pytest.mark.parametrize("seconds", [61, 0, 6_000])
def test_given_a_settled_call_when_committed_or_reserved_again_then_nothing_changes(
    organization: Organization, seconds: int
) -> None:
    first = commit(organization, "a", 61)
    before = Call.objects.values().get()

    with nothing_changes():
        again = commit(organization, "a", seconds)
        reserved = reserve(organization, "a")

    assert again.duplicate
    assert (again.transaction_id, again.duration_seconds) == (first.transaction_id, 61)
    assert (reserved.duplicate, reserved.active) == (True, False)
    assert Call.objects.values().get() == before


def test_given_too_little_money_when_reserved_then_there_is_no_call() -> None:
    poor = OrganizationFactory(funded_pence=48)

    with pytest.raises(ledger.InsufficientBalance), nothing_changes():
        reserve(poor, "a")

    assert not Call.objects.exists()


def test_given_suspension_when_reserved_then_refused_and_when_committed_then_charged(
    organization: Organization,
) -> None:
    reserve(organization, "held")
    ledger.suspend_organization(organization_id=organization.pk)

    with pytest.raises(ledger.OrganizationSuspended):
        reserve(organization, "new")
    commit(organization, "held", 60)

    assert not Call.objects.filter(call_id="new").exists()
    assert_money(organization, balance=10_000 - 49)


def test_given_vapis_id_later_when_reserved_again_then_it_is_learned(
    organization: Organization,
) -> None:
    first = reserve(organization, "a")

    again = reserve(organization, "a", vapi_call_id="v")

    assert (again.duplicate, again.reservation_id) == (True, first.reservation_id)
    assert Call.objects.get().vapi_call_id == CreditReservation.objects.get().vapi_call_id == "v"
    assert reserve(organization, "v").reservation_id == first.reservation_id


def test_given_a_settled_call_when_vapis_id_comes_then_it_is_refused(
    organization: Organization,
) -> None:
    commit(organization, "a", 1)

    with pytest.raises(ledger.IdempotencyConflict, match="is settled"), nothing_changes():
        reserve(organization, "a", vapi_call_id="v")

    assert Call.objects.get().vapi_call_id is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"call_id": "a", "vapi_call_id": "v"}, {"call_id": "b", "vapi_call_id": "v"}),
        ({"call_id": "a", "vapi_call_id": "v"}, {"call_id": "a", "vapi_call_id": "w"}),
        ({"call_id": "v"}, {"call_id": "b", "vapi_call_id": "v"}),
    ],
)
def test_given_ids_that_do_not_fit_when_reserved_then_refused(
    organization: Organization, first: dict[str, str], second: dict[str, str]
) -> None:
    reserve(organization, **first)

    with pytest.raises(ledger.IdempotencyConflict), nothing_changes():
        reserve(organization, **second)


def test_given_the_ids_of_two_calls_when_reserved_then_refused(organization: Organization) -> None:
    reserve(organization, "a")
    reserve(organization, "b")

    with pytest.raises(ledger.IdempotencyConflict, match="two calls"), nothing_changes():
        reserve(organization, "a", vapi_call_id="b")


@pytest.mark.parametrize(
    "use",
    [
        lambda other: reserve(other, "a"),
        lambda other: reserve(other, "v"),
        lambda other: reserve(other, "b", vapi_call_id="v"),
        lambda other: reserve(other, "b", vapi_call_id="a"),
        lambda other: commit(other, "a", 61),
        lambda other: commit(other, "v", 61),
    ],
)
@pytest.mark.parametrize("by_program", [True, False])
def test_given_an_id_of_another_organization_when_used_then_refused_and_nothing_is_revealed(
    organization: Organization, other: Organization, use: Callable, by_program: bool
) -> None:
    if by_program:
        reserve(organization, "a", vapi_call_id="v")
    else:
        ledger.reserve_call_credits(organization_id=organization.pk, call_id="a", vapi_call_id="v")

    with pytest.raises(ledger.IdempotencyConflict) as refusal, nothing_changes():
        use(other)

    assert str(refusal.value) == (
        "This call id cannot be used here; use the id of a call of your own."
    )
    assert not Call.objects.filter(organization=other).exists()


# --- Vapi announced it ------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["asked", "live", "ended", "reported"])
def test_given_a_call_of_vapis_when_committed_then_refused_whatever_its_state(
    vapi: Vapi, clock: Clock, organization: Organization, call: VapiCall, stage: str
) -> None:
    clock.at(100)
    for name, message in {
        "asked": call.assistant_request(after(99)),
        "live": call.status("in-progress", after(90)),
        "ended": call.ended(after(98)),
        "reported": call.report(after(90), after(98)),
    }.items():
        vapi.send(message)
        if name == stage:
            break

    with pytest.raises(SettledByVapi, match="only Vapi's record"), nothing_changes():
        commit(organization, call.id, 0)


def test_given_a_call_of_vapis_with_a_hold_when_reserved_then_it_is_a_duplicate(
    vapi: Vapi, clock: Clock, organization: Organization, call: VapiCall
) -> None:
    vapi.send(call.assistant_request(START))

    with nothing_changes():
        reserved = reserve(organization, call.id, vapi_call_id=call.id, estimated_minutes=60)

    assert (reserved.duplicate, reserved.reserved_pence) == (True, 245)


def test_given_a_call_of_vapis_without_a_hold_when_reserved_then_refused(
    vapi: Vapi, clock: Clock
) -> None:
    poor = OrganizationFactory()
    call = VapiCall(number=PhoneNumberFactory(organization=poor))
    vapi.send(call.assistant_request(START))
    ledger.add_credits(
        organization_id=poor.pk,
        amount_pence=1_000,
        credit_type="topup",
        description="Top-up",
        idempotency_key="late",
    )

    with pytest.raises(SettledByVapi), nothing_changes():
        reserve(poor, "mine", vapi_call_id=call.id)
    # That it means Vapi's call is kept.
    with pytest.raises(SettledByVapi), nothing_changes():
        commit(poor, "mine", 60)


def test_given_a_call_of_vapis_when_reserved_by_an_id_of_ones_own_then_that_does_not_settle_it(
    vapi: Vapi, clock: Clock, organization: Organization, call: VapiCall
) -> None:
    """Whether the program or Vapi comes first: the call is never charged twice."""
    vapi.send(call.assistant_request(START))
    first = reserve(organization, "mine", vapi_call_id=call.id)
    assert first.duplicate

    assert reserve(organization, "mine").reservation_id == first.reservation_id
    with pytest.raises(SettledByVapi), nothing_changes():
        commit(organization, "mine", 61)
    with pytest.raises(ledger.IdempotencyConflict), nothing_changes():
        reserve(organization, "mine too", vapi_call_id=call.id)
    clock.at(100)
    vapi.send(call.report(after(1), after(62)))
    assert_money(organization, balance=10_000 - 98)


# --- Announced by the program, then by Vapi ---------------------------------------------------


@pytest.mark.parametrize("ids", [{"call_id": "mine"}, {}], ids=["own id", "Vapi's id"])
def test_given_a_claim_when_vapi_announces_the_call_then_it_is_one_call_with_one_hold(
    vapi: Vapi, clock: Clock, organization: Organization, call: VapiCall, ids: dict[str, str]
) -> None:
    reserved = reserve(organization, **{"call_id": call.id, "vapi_call_id": call.id} | ids)

    assert "assistantId" in vapi.send(call.assistant_request(START))

    known = Call.objects.get()
    assert known.call_id == ids.get("call_id", call.id)
    assert (known.vapi_call_id, known.announced_by_vapi) == (call.id, True)
    assert (known.phone_number, known.type) == (call.number, "inboundPhoneCall")
    assert known.attention == ""
    assert CreditReservation.objects.get().pk == reserved.reservation_id
    assert_money(organization, balance=10_000, reserved=245)
    vapi.send(call.status("in-progress", clock.at(1)))
    clock.at(100)
    vapi.send(call.report(after(1), after(62)))
    assert_money(organization, balance=10_000 - 98)


@pytest.mark.parametrize(
    ("settled_seconds", "lasted_seconds", "pence"),
    [(60, 600, 490), (600, 60, 49), (0, 61, 98), (60, 60, 49), (59, 60, 49), (61, 0, 0)],
)
def test_given_a_call_settled_by_the_program_when_vapi_reports_it_then_vapis_duration_is_charged(
    vapi: Vapi,
    clock: Clock,
    organization: Organization,
    call: VapiCall,
    settled_seconds: int,
    lasted_seconds: int,
    pence: int,
) -> None:
    commit(organization, call.id, settled_seconds)
    clock.at(700)

    vapi.send(call.report(after(1), after(1 + lasted_seconds), cost=0.25))

    known = call_of(call)
    assert (known.settled_from, known.duration_seconds) == ("vapi", lasted_seconds)
    assert (known.charged_pence, known.uncollected_pence) == (pence, 0)
    assert known.state == "settled"
    said = (
        f"Settled before at {settled_seconds} s, and corrected to the {lasted_seconds} s of "
        "Vapi's report."
    )
    assert known.attention == ("" if settled_seconds == lasted_seconds else said)
    report = WebhookEvent.objects.get(type="end-of-call-report")
    assert report.outcome == f"Settled: {lasted_seconds} s, {pence}p."
    assert_money(organization, balance=10_000 - pence)


def test_given_a_call_settled_by_the_program_when_it_never_connected_then_all_is_given_back(
    vapi: Vapi, clock: Clock, organization: Organization, call: VapiCall
) -> None:
    commit(organization, call.id, 120)
    clock.at(100)

    vapi.send(call.report(after(1), after(31), reason="customer-did-not-answer"))

    known = call_of(call)
    assert (known.charged_pence, known.not_charged_because) == (0, "Never connected")
    assert_money(organization, balance=10_000)


def test_given_a_corrected_call_when_a_second_report_differs_then_nothing_changes(
    vapi: Vapi, clock: Clock, organization: Organization, call: VapiCall
) -> None:
    commit(organization, call.id, 60)
    clock.at(700)
    vapi.send(call.report(after(1), after(601)))

    with nothing_changes():
        vapi.send(call.report(after(1), after(31)))

    assert "Settled at 600 s; a later report says 30 s." in call_of(call).attention


def test_given_what_was_owed_and_is_owed_no_more_when_it_was_shorter_then_staff_decide(
    vapi: Vapi, clock: Clock
) -> None:
    owner = OrganizationFactory(funded_pence=100)
    call = VapiCall(number=PhoneNumberFactory(organization=owner))
    commit(owner, call.id, 300)  # 145 of 245 p owed
    ledger.write_off_owed(
        organization_id=owner.pk, amount_pence=145, reason="Given up", idempotency_key="k"
    )
    clock.at(400)

    vapi.send(call.report(after(1), after(61)))

    assert (
        "145p too much had been left owed, and has been recovered or written off since: refund "
        "what was recovered." in call_of(call).attention
    )
    assert_money(owner, balance=51)


def test_given_a_report_that_says_no_duration_when_settled_before_then_vapi_is_asked(
    vapi: Vapi, clock: Clock, organization: Organization, call: VapiCall
) -> None:
    commit(organization, call.id, 60)

    vapi.send(call.report())

    known = call_of(call)
    assert (known.settled_from, known.charged_pence) == ("customer", 49)
    # Vapi is asked for its own record.
    assert known.reconcile_at is not None
    assert_money(organization, balance=10_000 - 49)


# --- Settled by the program, and alive by Vapi ------------------------------------------------


@pytest.mark.parametrize("status", ["queued", "ringing", "in-progress"])
@pytest.mark.parametrize("seconds", [0, 60])
def test_given_a_settled_call_when_vapi_shows_it_alive_then_it_gets_no_hold_and_is_ended(
    vapi: Vapi,
    clock: Clock,
    organization: Organization,
    call: VapiCall,
    control_server: ControlServer,
    end_tasks: EndTasks,
    status: str,
    seconds: int,
) -> None:
    commit(organization, call.id, seconds)
    call.control_url = control_server.url("settled")

    vapi.send(call.status(status, clock.at(1)))
    end_tasks.run()

    assert control_server.received == [("/settled/control", {"type": "end-call"})]
    known = call_of(call)
    assert known.end_ordered_at == known.end_sent_at == after(1)
    assert known.attention == "The customer's program settled this call while Vapi shows it alive."
    assert known.state == "live"
    assert_money(organization, balance=10_000 - (49 if seconds else 0))
    assert vapi.check(call)["endCall"] is True
    vapi.send(call.ended(clock.at(3)))
    clock.at(8)
    vapi.send(call.report(after(1), after(3)))
    known = call_of(call)
    assert (known.state, known.control_url_encrypted) == ("settled", "")
    assert_money(organization, balance=10_000 - 49)


def test_given_a_settled_call_when_vapi_asks_for_it_then_the_caller_hears_a_refusal(
    vapi: Vapi, clock: Clock, organization: Organization, call: VapiCall
) -> None:
    commit(organization, call.id, 0)

    assert "error" in vapi.send(call.assistant_request(START))

    assert WebhookEvent.objects.get().outcome.startswith("Refused: ")
    assert call_of(call).authorization == "refused"
    assert_money(organization, balance=10_000)


def test_given_a_claim_whose_hold_lapsed_when_vapi_shows_the_call_alive_then_it_is_ended(
    vapi: Vapi, clock: Clock, organization: Organization, call: VapiCall
) -> None:
    clock.at(0)
    reserve(organization, call.id)
    clock.at(1_801)
    assert ledger.cleanup_expired_reservations() == 1

    vapi.send(call.status("in-progress", after(1_801)))

    assert WebhookEvent.objects.get().outcome.startswith("Refused, and ended: ")
    assert call_of(call).end_ordered_at == after(1_801)
    clock.at(1_900)
    vapi.send(call.report(after(1_801), after(1_862)))
    assert_money(organization, balance=10_000 - 98)


def test_given_a_settled_call_when_a_scheduler_checks_it_then_it_ends(
    vapi: Vapi, organization: Organization, call: VapiCall
) -> None:
    commit(organization, call.id, 60)

    assert vapi.check(call, 30)["endCall"] is True


# --- Claimed by another organization than Vapi's facts name -----------------------------------


@pytest.mark.parametrize("ids", [{"call_id": "mine"}, {}], ids=["own id", "Vapi's id"])
@pytest.mark.parametrize(
    "announce",
    [
        lambda vapi, call: vapi.send(call.assistant_request(START)),
        lambda vapi, call: vapi.send(call.status("in-progress", START)),
    ],
    ids=["asks", "is live"],
)
def test_given_a_claim_of_another_organization_when_announced_then_vapis_facts_decide_who_pays(
    vapi: Vapi,
    clock: Clock,
    organization: Organization,
    other: Organization,
    call: VapiCall,
    ids: dict[str, str],
    announce: Callable,
) -> None:
    claim = reserve(other, **{"call_id": call.id, "vapi_call_id": call.id} | ids)

    announce(vapi, call)

    known = call_of(call)
    assert (known.organization, known.authorization) == (organization, "authorized")
    assert known.attention == f"{other} had claimed the id of this call, and gave it up."
    assert_money(organization, balance=10_000, reserved=245)
    assert_money(other, balance=10_000)
    displaced = Call.objects.get(organization=other)
    name = f"displaced:{claim.reservation_id}"
    assert (displaced.call_id, displaced.vapi_call_id, displaced.state) == (name, None, "ended")
    assert displaced.attention == f"Its id {call.id} is that of another call of Vapi's."
    for use in (lambda: reserve(other, call.id), lambda: commit(other, call.id, 1)):
        with pytest.raises(ledger.IdempotencyConflict), nothing_changes():
            use()


def test_given_a_claim_that_was_settled_when_displaced_then_its_charge_stays_and_staff_are_told(
    vapi: Vapi, clock: Clock, organization: Organization, other: Organization, call: VapiCall
) -> None:
    commit(other, call.id, 61)
    clock.at(400)

    vapi.send(call.report(after(1), after(301)))

    assert call_of(call).charged_pence == 245
    assert_money(organization, balance=10_000 - 245)
    assert_money(other, balance=10_000 - 98)
    assert Call.objects.get(organization=other).attention == (
        f"Its id {call.id} is that of another call of Vapi's. The 98p charged for it stay charged."
    )


def test_given_a_claim_in_the_ledger_alone_when_announced_then_it_gives_the_id_up_too(
    vapi: Vapi, clock: Clock, organization: Organization, other: Organization, call: VapiCall
) -> None:
    ledger.reserve_call_credits(organization_id=other.pk, call_id=call.id)

    vapi.send(call.status("in-progress", START))

    assert call_of(call).organization == organization
    assert_money(organization, balance=10_000, reserved=245)
    assert_money(other, balance=10_000)


@pytest.mark.parametrize("by_program", [True, False])
def test_given_facts_that_name_nobody_when_announced_then_the_organization_that_claimed_it_pays(
    vapi: Vapi, clock: Clock, other: Organization, by_program: bool
) -> None:
    call = VapiCall(type="webCall", assistant=AssistantFactory.build(organization=None))
    if by_program:
        reserve(other, call.id)
    else:
        ledger.reserve_call_credits(organization_id=other.pk, call_id=call.id)

    vapi.send(call.status("in-progress", START))
    clock.at(100)
    vapi.send(call.report(after(0), after(61)))

    assert (call_of(call).organization, call_of(call).settled_from) == (other, "vapi")
    assert_money(other, balance=10_000 - 98)


def test_given_facts_that_come_late_when_they_name_another_then_that_one_pays_for_all_of_it(
    vapi: Vapi, clock: Clock, organization: Organization, other: Organization, call: VapiCall
) -> None:
    reserve(other, call.id)
    number, call.number = call.number, None
    vapi.send(call.status("in-progress", START))
    assert call_of(call).organization == other

    call.number = number
    clock.at(100)
    vapi.send(call.report(after(0), after(61)))

    assert call_of(call).organization == organization
    assert_money(organization, balance=10_000 - 98)
    assert_money(other, balance=10_000)
    [displaced] = Call.objects.filter(organization=other)
    assert (displaced.check_at, displaced.reconcile_at) == (None, None)


def test_given_a_call_settled_by_vapi_when_late_facts_name_another_then_it_stays_settled(
    vapi: Vapi, clock: Clock, organization: Organization, other: Organization, call: VapiCall
) -> None:
    reserve(other, call.id)
    number, call.number = call.number, None
    clock.at(100)
    vapi.send(call.report(after(0), after(61)))

    call.number = number
    vapi.send(call.report(after(0), after(61), cost=0.1))

    known = call_of(call)
    assert (known.organization, known.phone_number, known.charged_pence) == (other, None, 98)
    assert_money(organization, balance=10_000)
    assert_money(other, balance=10_000 - 98)
