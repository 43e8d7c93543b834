"""Calls that Vapi says nothing more about: it is asked, and its record settles them."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from django.db import IntegrityError, transaction

from calls import lifecycle, live, reconciliation, self_reported
from calls.models import Call
from calls.secrets import decrypt_control_url
from telephony.vapi_calls import VapiBusy
from tests.calls.vapi_api import DOWN, VapiApi
from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.wallets.steps import commit, reserve
from tests.webhooks.fixtures import (
    START,
    Clock,
    EndTasks,
    Vapi,
    after,
    assert_money,
    call_of,
)
from tests.webhooks.vapi_payloads import VapiCall
from wallets import ledger
from wallets.models import CreditReservation, Organization

pytestmark = pytest.mark.django_db

FUNDED = 10_000


@pytest.fixture
def inbound(vapi: Vapi, clock: Clock):
    """Makes inbound calls that were let in at the start of the test, and started unless told."""

    def make(started: bool = True, cap: int = 600, funded: int = FUNDED) -> VapiCall:
        organization = OrganizationFactory(funded_pence=funded)
        assistant = AssistantFactory(organization=organization, max_duration_seconds=cap)
        call = VapiCall(number=PhoneNumberFactory(organization=organization, assistant=assistant))
        clock.at(0)
        assert "assistantId" in vapi.send(call.assistant_request(START))
        if started:
            vapi.send(call.status("in-progress", START))
        return call

    return make


def seconds_until_asked(call: VapiCall) -> float:
    moment = call_of(call).reconcile_at
    assert moment is not None
    return (moment - START).total_seconds()


def sweep(clock: Clock, seconds: float) -> int:
    clock.at(seconds)
    return reconciliation.settle_missing_reports()


def wallet_of(call: VapiCall) -> Organization:
    assert call.number is not None
    return call.number.organization


# --- Settled from Vapi's record ---------------------------------------------------------------


def test_given_an_end_and_no_report_when_vapi_is_asked_then_its_record_is_charged(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound()
    vapi.send(call.ended(clock.at(61)))
    vapi_api.shows_ended(call, START, after(61), reason="assistant-ended-call")

    assert sweep(clock, 120) == 0
    assert sweep(clock, 121) == 1

    known = call_of(call)
    assert (known.settled_from, known.charged_pence, known.duration_seconds) == ("vapi", 98, 61)
    assert known.ended_reason == "assistant-ended-call"
    assert (known.vapi_cost_usd, known.vapi_cost_pence) == (Decimal("0.11"), 9)
    assert known.reconcile_at is None
    assert_money(wallet_of(call), balance=FUNDED - 98)


def test_given_a_record_that_settled_a_call_when_its_report_comes_late_then_nothing_is_charged(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound()
    vapi.send(call.ended(clock.at(61)))
    vapi_api.shows_ended(call, START, after(61))
    sweep(clock, 121)

    vapi.send(call.report(START, after(61)))
    vapi.send(call.report(START, after(300)))

    assert "a later report says 300 s" in call_of(call).attention
    assert_money(wallet_of(call), balance=FUNDED - 98)


def test_given_a_report_without_a_duration_when_vapi_is_asked_then_its_record_is_charged(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound()
    clock.at(61)
    vapi.send(call.report())
    vapi_api.shows_ended(call, START, after(61))
    assert sweep(clock, 61) == 1
    assert_money(wallet_of(call), balance=FUNDED - 98)


def test_given_an_end_without_a_start_when_vapi_is_asked_then_nothing_is_charged(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound(started=False)
    vapi_api.shows_ended(call, None, after(20), reason="customer-did-not-answer")
    assert sweep(clock, 120) == 1
    known = call_of(call)
    assert (known.settled_from, known.charged_pence) == ("vapi", 0)
    assert known.ended_reason == "customer-did-not-answer"
    assert known.not_charged_because == "Never connected"
    assert_money(wallet_of(call), balance=FUNDED)


def test_given_a_call_seen_live_when_its_record_has_no_start_then_staff_decide(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound()
    vapi.send(call.ended(clock.at(61)))
    vapi_api.shows_ended(call, None, after(61))
    sweep(clock, 121)
    known = call_of(call)
    assert "never connected by the report" in known.review_reason
    assert known.settled_at is None
    assert_money(wallet_of(call), balance=FUNDED, reserved=245)


def test_given_a_call_that_the_customer_settled_when_vapi_is_asked_then_it_is_corrected(
    vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    organization = OrganizationFactory(funded_pence=FUNDED)
    call = VapiCall(number=PhoneNumberFactory(organization=organization))
    clock.at(0)
    self_reported.reserve(organization_id=organization.pk, call_id=call.id, estimated_minutes=1)
    self_reported.commit(organization_id=organization.pk, call_id=call.id, duration_seconds=0)
    vapi.send(call.status("in-progress", START))
    vapi.send(call.ended(clock.at(61)))
    vapi_api.shows_ended(call, START, after(61))

    sweep(clock, 121)

    assert call_of(call).settled_from == "vapi"
    assert_money(organization, balance=FUNDED - 98)


# --- Still live -------------------------------------------------------------------------------


def test_given_a_silent_call_when_vapi_shows_it_live_then_its_start_and_address_are_learned(
    inbound, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound(started=False)
    call.control_url = "https://control.example/secret"
    vapi_api.shows(call, "in-progress", started_at=after(5))

    assert sweep(clock, 119) == 0
    assert sweep(clock, 120) == 1

    known = call_of(call)
    assert known.started_at == after(5)
    assert decrypt_control_url(known.control_url_encrypted) == call.control_url
    assert known.check_at is not None
    # Live now, it is watched by the sweep of live calls; Vapi is asked when its cap is over.
    assert seconds_until_asked(call) == 5 + 600 + 30
    assert live.watch() == 0


def test_given_a_call_that_rings_on_when_vapi_is_asked_then_it_is_asked_ever_less_often(
    inbound, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound(started=False)
    vapi_api.shows(call, "ringing")
    asked_at = []
    for _ in range(8):
        asked_at.append(seconds_until_asked(call))
        assert sweep(clock, asked_at[-1]) == 1
    pauses = [(later - sooner) / 60 for sooner, later in pairwise(asked_at)]
    assert pauses == [2, 2, 4, 8, 15, 15, 15]
    # Its hold was renewed meanwhile.
    assert CreditReservation.objects.get().expires_at == after(asked_at[-1]) + timedelta(minutes=30)


def test_given_a_message_when_one_comes_then_the_pauses_begin_anew(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound(started=False)
    vapi_api.shows(call, "ringing")
    for second in (120, 240, 360):
        sweep(clock, second)
    vapi.send(call.status("ringing", clock.at(400)))
    assert (call_of(call).reconcile_attempts, seconds_until_asked(call)) == (0, 520)


def test_given_a_web_call_whose_start_was_lost_when_vapi_shows_it_then_it_is_ended_without_money(
    vapi: Vapi,
    clock: Clock,
    vapi_api: VapiApi,
    control_server,
    end_tasks: EndTasks,
    django_capture_on_commit_callbacks,
) -> None:
    organization = OrganizationFactory()
    call = VapiCall(assistant=AssistantFactory(organization=organization), type="webCall")
    call.control_url = control_server.url(call.id)
    clock.at(0)
    vapi_api.shows(call, "in-progress", started_at=START)

    with django_capture_on_commit_callbacks(execute=True):
        reconciliation.apply(vapi_api.records[call.id])
    end_tasks.run()

    known = call_of(call)
    assert known.authorization == Call.Authorization.REFUSED
    assert [body["type"] for _, body in control_server.received] == ["end-call"]
    assert (known.end_sent_at, known.reconcile_at) == (START, after(15))


def test_given_an_order_to_end_that_showed_no_effect_when_vapi_is_asked_then_it_is_ended_again(
    inbound,
    vapi: Vapi,
    clock: Clock,
    vapi_api: VapiApi,
    control_server,
    end_tasks: EndTasks,
    django_capture_on_commit_callbacks,
) -> None:
    call = inbound(funded=49)
    call.control_url = control_server.url(call.id)
    vapi.send(call.status("in-progress", START))
    vapi_api.shows(call, "in-progress", started_at=START)
    clock.at(58)
    live.watch()
    assert seconds_until_asked(call) == 58 + 15

    with django_capture_on_commit_callbacks(execute=True):
        assert sweep(clock, 73) == 1
    end_tasks.run()
    assert [body["type"] for _, body in control_server.received] == ["end-call"] * 2
    # Not every 15 seconds for ever.
    assert seconds_until_asked(call) == 73 + 60

    vapi_api.shows_ended(call, START, after(75))
    sweep(clock, 133)
    assert_money(wallet_of(call), balance=0, owed=49)


def test_given_an_order_to_end_that_vapi_refuses_when_it_is_asked_then_the_call_is_settled(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi, control_server
) -> None:
    call = inbound(funded=49)
    call.control_url = control_server.url(call.id)
    vapi.send(call.status("in-progress", START))
    # It had ended already, and no message told of it.
    vapi_api.shows_ended(call, START, after(30))
    control_server.answers = [404]
    clock.at(58)
    live.watch()
    assert call_of(call).end_sent_at is None
    assert sweep(clock, 73) == 1
    assert_money(wallet_of(call), balance=0)
    assert call_of(call).end_retry_at is None


def test_given_both_last_messages_lost_when_the_cap_is_over_then_the_call_is_settled(
    inbound, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound(cap=600)
    vapi_api.shows_ended(call, START, after(600), reason="exceeded-max-duration")
    assert sweep(clock, 629) == 0
    assert sweep(clock, 630) == 1
    assert_money(wallet_of(call), balance=FUNDED - 490)


# --- Vapi does not answer ---------------------------------------------------------------------


def test_given_vapi_down_when_it_is_asked_then_nothing_is_lost_and_it_is_asked_again(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound()
    vapi.send(call.ended(clock.at(61)))
    vapi_api.fails_with = DOWN
    assert sweep(clock, 121) == 1
    assert seconds_until_asked(call) == 121 + 60
    # Nobody else asks meanwhile.
    Call.objects.update(reconcile_at=after(121))
    assert sweep(clock, 150) == 0

    vapi_api.fails_with = None
    vapi_api.shows_ended(call, START, after(61))
    assert sweep(clock, 181) == 1
    assert_money(wallet_of(call), balance=FUNDED - 98)


def test_given_hours_without_vapi_when_it_answers_again_then_it_has_all_its_attempts(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    """Not asked is not answered: a call does not go to staff for Vapi's being down."""
    call = inbound()
    vapi.send(call.ended(clock.at(61)))
    vapi_api.fails_with = DOWN
    for minutes in range(2, 180, 5):
        sweep(clock, 60 * minutes)
    known = call_of(call)
    assert known.reconcile_attempts == 0
    assert "Vapi could not be asked about it" in known.attention

    # Its record lags behind, and shows no end yet.
    vapi_api.fails_with = None
    vapi_api.shows(call, "in-progress", started_at=START)
    sweep(clock, 60 * 190)

    assert call_of(call).review_reason == ""


def test_given_a_busy_vapi_when_it_is_asked_then_the_sweep_stops_for_as_long_as_it_wants(
    inbound, clock: Clock, vapi_api: VapiApi
) -> None:
    for _ in range(12):
        inbound(started=False)
    vapi_api.fails_with = VapiBusy(retry_after_seconds=90)
    assert sweep(clock, 120) == reconciliation.ASKED_AT_ONCE
    assert sweep(clock, 209) == 0
    vapi_api.fails_with = None
    assert sweep(clock, 210) == 12


def test_given_more_calls_than_one_sweep_may_ask_about_when_swept_then_the_rest_has_the_next(
    inbound, clock: Clock, vapi_api: VapiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "BATCHES_PER_SWEEP", 2)
    calls = [inbound(started=False) for _ in range(13)]
    for call in calls:
        vapi_api.shows_ended(call, None, START)
    assert [sweep(clock, 120) for _ in range(3)] == [10, 3, 0]
    assert sorted(vapi_api.asked) == sorted(call.id for call in calls)


def test_given_an_answer_that_breaks_when_it_is_taken_in_then_the_others_are_settled(
    inbound, clock: Clock, vapi_api: VapiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [inbound() for _ in range(3)]
    for call in calls:
        vapi_api.shows_ended(call, START, after(60))
    settle = lifecycle.settle

    def break_one(reference, **facts):
        if reference.vapi_call_id == calls[1].id:
            raise RuntimeError
        return settle(reference, **facts)

    monkeypatch.setattr(lifecycle, "settle", break_one)
    assert sweep(clock, 630) == 3
    assert [call_of(call).charged_pence for call in calls] == [49, None, 49]
    # Crashed in between, it is due again.
    monkeypatch.setattr(lifecycle, "settle", settle)
    assert sweep(clock, 630 + 60) == 1
    assert call_of(calls[1]).charged_pence == 49


def test_given_an_end_that_vapis_record_does_not_show_when_asked_for_an_hour_then_staff_decide(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound()
    vapi.send(call.ended(clock.at(61)))
    vapi_api.shows(call, "in-progress", started_at=START)
    for _ in range(reconciliation.MOST_USELESS_ANSWERS):
        assert call_of(call).review_reason == ""
        assert sweep(clock, seconds_until_asked(call)) == 1
    known = call_of(call)
    assert "Vapi's record shows it in-progress" in known.review_reason
    assert known.reconcile_at is None


# --- Vapi knows no such call ------------------------------------------------------------------


def test_given_a_call_unknown_to_vapi_when_its_hold_has_lapsed_then_staff_are_told(
    inbound, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound(started=False)
    assert sweep(clock, 120) == 1
    assert "knows no call by this id" in call_of(call).attention
    assert_money(wallet_of(call), balance=FUNDED, reserved=245)
    assert not call_of(call).is_over

    clock.at(1801)
    assert reconciliation.expire_holds() == 1
    assert_money(wallet_of(call), balance=FUNDED)
    assert sweep(clock, 1900) == 1

    known = call_of(call)
    assert "its hold is gone" in known.review_reason
    assert known.is_over


def test_given_a_call_that_vapi_first_did_not_know_when_it_does_then_it_is_settled_from_it(
    inbound, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound(started=False)
    sweep(clock, 120)
    vapi_api.shows_ended(call, START, after(61))
    sweep(clock, seconds_until_asked(call))
    known = call_of(call)
    assert (known.charged_pence, known.unknown_to_vapi_at) == (98, None)


# --- Holds ------------------------------------------------------------------------------------


def test_given_a_hold_near_its_expiry_when_vapi_is_down_then_it_is_kept_and_asked_about(
    inbound, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound(started=False)
    vapi_api.fails_with = DOWN
    for second in range(0, 4000, 60):
        clock.at(second)
        assert reconciliation.expire_holds() == 0
        reconciliation.settle_missing_reports()
    assert_money(wallet_of(call), balance=FUNDED, reserved=245)

    vapi_api.fails_with = None
    vapi_api.shows_ended(call, START, after(61))
    sweep(clock, 5000)
    assert_money(wallet_of(call), balance=FUNDED - 98)


def test_control_without_asking_the_hold_of_a_call_would_lapse(
    inbound, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound(started=False)
    clock.at(1801)
    assert ledger.cleanup_expired_reservations() == 1
    assert_money(wallet_of(call), balance=FUNDED)


def test_given_a_hold_near_its_expiry_when_swept_then_vapi_is_asked_before_it_expires(
    inbound, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound(started=False)
    Call.objects.update(reconcile_at=after(9000))
    clock.at(1450)
    reconciliation.expire_holds()
    assert seconds_until_asked(call) == 9000
    clock.at(1510)
    reconciliation.expire_holds()
    assert seconds_until_asked(call) == 1510


def test_given_a_hold_that_no_call_of_vapis_has_when_it_expires_then_it_is_given_back(
    clock: Clock, vapi_api: VapiApi
) -> None:
    clock.at(0)
    organization = OrganizationFactory(funded_pence=FUNDED)
    reserve(organization, "customer-call")
    clock.at(1801)
    assert reconciliation.expire_holds() == 1
    assert_money(organization, balance=FUNDED)


def test_given_holds_in_more_than_one_batch_when_swept_then_each_is_kept_or_given_back(
    inbound, clock: Clock, vapi_api: VapiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.at(0)
    organization = OrganizationFactory(funded_pence=FUNDED)
    for number in range(4):
        reserve(organization, f"customer-{number}", minutes=1)
    calls = [inbound(started=False) for _ in range(4)]
    whole = reconciliation.holds_expiring
    monkeypatch.setattr(reconciliation, "holds_expiring", lambda **where: whole(**where, limit=3))
    clock.at(1801)
    assert reconciliation.expire_holds() == 4
    assert_money(organization, balance=FUNDED)
    for call in calls:
        assert_money(wallet_of(call), balance=FUNDED, reserved=245)


# --- What the database refuses ----------------------------------------------------------------


def test_the_database_refuses_a_call_that_nobody_would_ask_about(inbound) -> None:
    call = call_of(inbound())
    with (
        pytest.raises(IntegrityError, match="calls_asked_about_until_settled"),
        transaction.atomic(),
    ):
        Call.objects.filter(pk=call.pk).update(reconcile_at=None)


def test_the_database_refuses_to_ask_about_a_settled_call(
    inbound, vapi: Vapi, clock: Clock
) -> None:
    call = inbound()
    vapi.send(call.report(START, clock.at(60)))
    assert call_of(call).reconcile_at is None
    with (
        pytest.raises(IntegrityError, match="calls_asked_about_until_settled"),
        transaction.atomic(),
    ):
        Call.objects.update(reconcile_at=START)


def test_the_database_refuses_a_review_of_a_live_call(inbound) -> None:
    inbound()
    with pytest.raises(IntegrityError, match="calls_reviewed_when_ended"), transaction.atomic():
        Call.objects.update(review_reason="because", reconcile_at=None)


def test_a_call_settled_by_the_ledger_alone_is_settled_once_when_vapi_is_asked(
    inbound, vapi: Vapi, clock: Clock, vapi_api: VapiApi
) -> None:
    call = inbound()
    vapi.send(call.ended(clock.at(61)))
    commit(call.id, 61)
    vapi_api.shows_ended(call, START, after(61))
    sweep(clock, 121)
    assert call_of(call).charged_pence == 98
    assert_money(wallet_of(call), balance=FUNDED - 98)
