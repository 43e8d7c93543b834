"""The end-of-call-report: what is charged, what is not, and what staff must look at."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from calls.models import Call
from tests.factories import AssistantFactory, OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import START, Clock, Vapi, after, assert_money, call_of
from tests.webhooks.vapi_payloads import VapiCall
from wallets import ledger
from wallets.models import CreditReservation, CreditTransaction
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db

FUNDED = 10_000


def authorized(vapi: Vapi, *, max_duration_seconds: int = 43_200, **organization: Any) -> VapiCall:
    """An inbound call that was let in at the start."""
    owner = OrganizationFactory(**{"funded_pence": FUNDED, **organization})
    assistant = AssistantFactory(organization=owner, max_duration_seconds=max_duration_seconds)
    call = VapiCall(number=PhoneNumberFactory(organization=owner, assistant=assistant))
    assert "assistantId" in vapi.send(call.assistant_request(START))
    return call


def charges() -> list[int]:
    entries = CreditTransaction.objects.filter(type="call_deduction")
    return list(entries.order_by("sequence").values_list("amount_pence", flat=True))


def assert_unsettled(call: VapiCall, sentence: str) -> None:
    """Nothing was charged, the hold still waits, and staff have to decide and can read why."""
    known = call_of(call)
    assert (known.settled_at, known.charged_pence, known.uncollected_pence) == (None, None, None)
    assert sentence in known.attention
    assert sentence in known.review_reason
    assert known.reconcile_at is None
    assert charges() == []
    assert_money(call.number.organization, balance=FUNDED, reserved=245)


# --- To the penny -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lasted_seconds", "rate_pence", "increment_seconds", "seconds", "pence"),
    [
        # Per minute begun.
        (0.001, 49, 60, 1, 49),
        (0.499, 49, 60, 1, 49),
        (1, 49, 60, 1, 49),
        (59.499, 49, 60, 59, 49),
        (60, 49, 60, 60, 49),
        # Half a second up, and one second over is a minute more.
        (60.499, 49, 60, 60, 49),
        (60.5, 49, 60, 61, 98),
        (61, 49, 60, 61, 98),
        (154.456, 49, 60, 154, 147),
        (3600, 49, 60, 3600, 60 * 49),
        # By the second, rounded up to a whole penny once.
        (0.2, 49, 1, 1, 1),
        (1, 49, 1, 1, 1),
        (2, 49, 1, 2, 2),
        (60, 49, 1, 60, 49),
        (61, 49, 1, 61, 50),
        (600.4, 49, 1, 600, 490),
        # Every six seconds.
        (6, 35, 6, 6, 4),
        (7, 35, 6, 7, 7),
        (90, 35, 6, 90, 53),
        (600, 1, 1, 600, 10),
        (601, 1, 1, 601, 11),
        (30, 1, 60, 30, 1),
    ],
)
def test_given_a_duration_and_a_tariff_when_reported_then_the_charge_is_right_to_the_penny(
    vapi: Vapi,
    clock: Clock,
    lasted_seconds: float,
    rate_pence: int,
    increment_seconds: int,
    seconds: int,
    pence: int,
) -> None:
    call = authorized(
        vapi, rate_pence_per_minute=rate_pence, billing_increment_seconds=increment_seconds
    )
    clock.at(4000)

    assert vapi.send(call.report(after(4), after(4 + lasted_seconds), cost=0.2317)) == {}

    known = call_of(call)
    assert (known.duration_seconds, known.charged_pence, known.uncollected_pence) == (
        seconds,
        pence,
        0,
    )
    assert (known.started_at, known.ended_at) == (after(4), after(4 + lasted_seconds))
    assert known.settled_at == after(4000)
    assert known.vapi_cost_usd == Decimal("0.2317")
    assert known.not_charged_because == known.attention == ""
    assert charges() == [pence]
    assert_money(call.number.organization, balance=FUNDED - pence)


def test_given_equal_dates_when_reported_then_the_call_is_settled_at_nothing(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)

    vapi.send(call.report(clock.at(4), after(4)))

    known = call_of(call)
    assert (known.duration_seconds, known.charged_pence, known.uncollected_pence) == (0, 0, 0)
    assert known.settled_at is not None
    assert charges() == []
    assert_money(call.number.organization, balance=FUNDED)


def test_given_a_wallet_that_cannot_pay_all_when_reported_then_the_rest_is_owed(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi, funded_pence=100)
    clock.at(160)

    vapi.send(call.report(START, after(154)))

    known = call_of(call)
    assert (known.charged_pence, known.uncollected_pence) == (100, 47)
    assert charges() == [100]
    assert_money(call.number.organization, balance=0, owed=47)


def test_given_money_that_another_call_holds_when_one_runs_over_then_it_is_not_taken(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi, funded_pence=98, max_duration_seconds=600)
    ledger.add_credits(
        organization_id=call.number.organization.pk,
        amount_pence=49,
        credit_type="topup",
        description="More",
        idempotency_key="more",
    )
    other = VapiCall(number=call.number)
    assert "assistantId" in vapi.send(other.assistant_request(START))
    clock.at(200)

    vapi.send(call.report(START, after(180)))

    assert_money(call.number.organization, balance=49, reserved=49, owed=49)


def test_given_a_cost_in_dollars_when_reported_then_it_is_kept_exactly(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    clock.at(70)

    vapi.send(call.report(START, after(60), costBreakdown={"total": "0.123457"}))

    assert call_of(call).vapi_cost_usd == Decimal("0.123457")


# --- Not charged ------------------------------------------------------------------------------

NEVER_CONNECTED = [
    "assistant-request-failed",
    "call-start-error-neither-assistant-nor-server-set",
    "call.start.error-get-customer",
    "call.ringing.sip-inbound-caller-hungup-before-call-connect",
    "assistant-not-found",
    "assistant-not-valid",
    "scheduled-call-deleted",
    "call-deleted",
    "customer-busy",
    "customer-did-not-answer",
    "customer-did-not-give-microphone-permission",
    "assistant-join-timed-out",
    "twilio-failed-to-connect-call",
    "twilio-reported-customer-misdialed",
    "vonage-failed-to-connect-call",
    "vonage-rejected",
    "phone-call-provider-bypass-enabled-but-no-call-received",
    "call.in-progress.error-sip-outbound-call-failed-to-connect",
    "call.in-progress.error-vapifault-transport-never-connected",
]


@pytest.mark.parametrize("reason", NEVER_CONNECTED)
def test_given_a_call_that_never_connected_when_reported_then_its_hold_is_given_back(
    vapi: Vapi, clock: Clock, reason: str
) -> None:
    call = authorized(vapi)
    clock.at(70)

    vapi.send(call.report(START, after(60), reason=reason, cost=0.01))

    known = call_of(call)
    assert (known.charged_pence, known.not_charged_because) == (0, "Never connected")
    assert (known.duration_seconds, known.ended_reason) == (60, reason)
    assert known.vapi_cost_usd == Decimal("0.01")
    assert charges() == []
    assert_money(call.number.organization, balance=FUNDED)


def test_given_a_call_that_never_connected_when_its_report_has_no_dates_then_it_is_settled(
    vapi: Vapi,
) -> None:
    call = authorized(vapi)

    vapi.send(call.report(reason="customer-did-not-answer"))

    known = call_of(call)
    assert (known.charged_pence, known.attention) == (0, "")
    assert_money(call.number.organization, balance=FUNDED)


@pytest.mark.parametrize("reason", ["call.in-progress.error-vapifault-x", "worker-shutdown"])
@pytest.mark.parametrize(("waived", "pence"), [(True, 0), (False, 49)])
def test_given_vapis_own_fault_when_reported_then_the_setting_decides(
    vapi: Vapi, clock: Clock, settings: Any, reason: str, waived: bool, pence: int
) -> None:
    settings.WAIVE_VAPI_FAULTS = waived
    call = authorized(vapi)
    clock.at(70)

    vapi.send(call.report(START, after(60), reason=reason))

    known = call_of(call)
    assert known.charged_pence == pence
    assert known.not_charged_because == ("Vapi's own fault" if waived else "")
    assert_money(call.number.organization, balance=FUNDED - pence)


@pytest.mark.parametrize(("charged", "pence"), [(True, 49), (False, 0)])
def test_given_a_voicemail_when_reported_then_the_organizations_switch_decides(
    vapi: Vapi, clock: Clock, charged: bool, pence: int
) -> None:
    call = authorized(vapi, charges_voicemail=charged)
    clock.at(70)

    vapi.send(call.report(START, after(60), reason="voicemail"))

    known = call_of(call)
    assert known.charged_pence == pence
    assert known.not_charged_because == ("" if charged else "Reached voicemail")
    assert_money(call.number.organization, balance=FUNDED - pence)


@pytest.mark.parametrize(
    "reason",
    [
        None,
        "customer-ended-call",
        "assistant-ended-call",
        "exceeded-max-duration",
        "silence-timed-out",
        "call.in-progress.error-providerfault-openai-llm-failed",
        "a-reason-of-next-year",
    ],
)
def test_given_any_other_reason_when_reported_then_the_call_is_charged(
    vapi: Vapi, clock: Clock, reason: str | None
) -> None:
    call = authorized(vapi)
    clock.at(70)

    vapi.send(call.report(START, after(60), reason=reason))

    assert charges() == [49]


def test_given_the_reason_came_with_the_status_only_when_reported_then_it_counts(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    vapi.send(call.ended(clock.at(30), "customer-did-not-answer"))

    vapi.send(call.report(START, after(30), reason=None))

    known = call_of(call)
    assert (known.charged_pence, known.ended_reason) == (0, "customer-did-not-answer")


# --- Without dates ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("durations", "seconds", "pence"),
    [
        ({"durationSeconds": 154.456}, 154, 147),
        ({"durationSeconds": 60.5}, 61, 98),
        ({"durationSeconds": 0.2}, 1, 49),
        ({"durationMs": 154_456}, 154, 147),
        ({"durationMs": 60_500}, 61, 98),
        ({"durationMinutes": 2.5743}, 154, 147),
        ({"durationSeconds": 60, "durationMs": 1, "durationMinutes": 9}, 60, 49),
        ({"durationSeconds": "soon", "durationMs": 61_000}, 61, 98),
        ({"durationSeconds": -5, "durationMinutes": 1}, 60, 49),
    ],
)
def test_given_no_dates_when_reported_then_the_stated_duration_is_charged(
    vapi: Vapi, clock: Clock, durations: dict[str, Any], seconds: int, pence: int
) -> None:
    call = authorized(vapi)
    clock.at(200)

    vapi.send(call.report(**durations))

    known = call_of(call)
    assert (known.duration_seconds, known.charged_pence) == (seconds, pence)
    assert known.ended_at == after(200)
    assert_money(call.number.organization, balance=FUNDED - pence)


@pytest.mark.parametrize("only", ["started", "ended"])
def test_given_one_date_only_when_reported_then_the_stated_duration_is_charged(
    vapi: Vapi, clock: Clock, only: str
) -> None:
    call = authorized(vapi)
    clock.at(200)
    dates = (START, None) if only == "started" else (None, after(61))

    vapi.send(call.report(*dates, durationSeconds=61))

    assert call_of(call).charged_pence == 98


def test_given_dates_and_another_duration_when_reported_then_the_dates_are_the_truth(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    clock.at(200)

    vapi.send(call.report(START, after(60), durationSeconds=6000, durationMinutes=100))

    assert charges() == [49]


@pytest.mark.parametrize("started", ["soon", "2026-03-02", None])
def test_given_neither_dates_nor_duration_when_reported_then_vapi_is_asked_at_once(
    vapi: Vapi, clock: Clock, started: str | None
) -> None:
    call = authorized(vapi)
    clock.at(200)

    assert vapi.send(call.report(started, after(60))) == {}

    known = call_of(call)
    assert (known.settled_at, known.review_reason, known.attention) == (None, "", "")
    assert (known.ended_at, known.reconcile_at) == (after(60), after(200))
    assert charges() == []
    assert_money(call.number.organization, balance=FUNDED, reserved=245)
    assert "Not settled" in WebhookEvent.objects.get(type="end-of-call-report").outcome


def test_given_an_unsettled_call_when_a_better_report_comes_then_it_is_charged(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    clock.at(200)
    vapi.send(call.report())

    vapi.send(call.report(START, after(60)))

    assert charges() == [49]
    assert_money(call.number.organization, balance=FUNDED - 49)


# --- Not to be believed -----------------------------------------------------------------------


def test_given_an_end_before_the_start_when_reported_then_it_is_shown_and_not_charged(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    clock.at(200)

    vapi.send(call.report(after(60), START, durationSeconds=60))

    assert_unsettled(call, "ended before it started")
    # A duration that nobody reported is not shown as one.
    assert call_of(call).duration_seconds is None


def test_given_an_end_in_the_future_when_reported_then_it_is_shown_and_not_charged(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)

    vapi.send(call.report(clock.at(200), after(200 + 3600)))

    assert_unsettled(call, "in the future")


def test_given_a_clock_that_is_off_a_little_when_reported_then_the_call_is_charged(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    clock.at(0)

    vapi.send(call.report(START, after(60)))

    assert charges() == [49]


@pytest.mark.parametrize(
    ("lasted_seconds", "believed"), [(600, True), (720, True), (721, False), (86_400, False)]
)
def test_given_more_than_the_cap_when_reported_then_it_is_shown_and_not_charged(
    vapi: Vapi, clock: Clock, lasted_seconds: int, believed: bool
) -> None:
    call = authorized(vapi, max_duration_seconds=600)
    clock.at(90_000)

    vapi.send(call.report(START, after(lasted_seconds)))

    if believed:
        assert charges() == [-(-lasted_seconds // 60) * 49]
    else:
        assert_unsettled(call, f"lasted {lasted_seconds} s, but it was capped at 600 s")
        assert call_of(call).duration_seconds == lasted_seconds


def test_given_dates_years_apart_when_reported_then_it_is_shown_and_not_charged(
    vapi: Vapi,
) -> None:
    call = authorized(vapi)

    vapi.send(call.report("2001-01-01T00:00:00Z", "2026-03-02T10:00:00Z"))

    assert_unsettled(call, "capped")


# --- In any state of the call -----------------------------------------------------------------


def test_given_a_call_that_nobody_announced_when_reported_then_it_is_charged(
    vapi: Vapi, clock: Clock
) -> None:
    number = PhoneNumberFactory(organization=OrganizationFactory(funded_pence=FUNDED))
    call = VapiCall(number=number)
    clock.at(70)

    vapi.send(call.report(START, after(61), cost=0.1))

    known = call_of(call)
    assert (known.charged_pence, known.vapi_cost_usd) == (98, Decimal("0.1"))
    assert_money(number.organization, balance=FUNDED - 98)


def test_given_a_report_of_nobodys_call_when_it_comes_then_it_is_kept_as_unusable(
    vapi: Vapi,
) -> None:
    call = VapiCall(number=PhoneNumberFactory.build(organization=None, assistant=None))

    assert vapi.send(call.report(START, after(61))) == {}

    assert not Call.objects.exists()
    assert WebhookEvent.objects.get().status == WebhookEvent.Status.UNUSABLE


@pytest.mark.parametrize("closed_by", ["expiry", "release"])
def test_given_a_hold_that_is_gone_when_reported_then_the_call_is_still_charged(
    vapi: Vapi, clock: Clock, closed_by: str
) -> None:
    call = authorized(vapi)
    clock.at(1801)
    if closed_by == "expiry":
        assert ledger.cleanup_expired_reservations() == 1
    else:
        ledger.release_reservation(call_id=call.id)
    assert_money(call.number.organization, balance=FUNDED)

    vapi.send(call.report(START, after(61)))

    assert call_of(call).charged_pence == 98
    assert_money(call.number.organization, balance=FUNDED - 98)
    assert CreditReservation.objects.get().status in {"expired", "released"}


def test_given_a_suspended_organization_when_reported_then_the_call_is_charged(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    ledger.suspend_organization(organization_id=call.number.organization.pk)
    clock.at(70)

    vapi.send(call.report(START, after(60)))

    assert charges() == [49]


def test_given_a_settled_call_when_the_same_report_comes_again_then_nothing_changes(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    clock.at(70)
    vapi.send(call.report(START, after(60)))
    before = Call.objects.values().get()

    clock.at(80)
    vapi.send(call.report(START, after(60)))
    vapi.send(call.report(START, after(60), analysis={"summary": "different bytes"}))

    assert Call.objects.values().get() == before
    assert charges() == [49]


@pytest.mark.parametrize("second_seconds", [0, 30, 61, 6000])
def test_given_a_settled_call_when_another_duration_comes_then_staff_see_both_and_nothing_else(
    vapi: Vapi, clock: Clock, second_seconds: int
) -> None:
    call = authorized(vapi)
    clock.at(7000)
    vapi.send(call.report(START, after(60), cost=0.1))
    before = Call.objects.values().get()

    vapi.send(call.report(START, after(second_seconds), cost=9))

    changed = Call.objects.values().get()
    assert changed.pop("attention") == (f"Settled at 60 s; a later report says {second_seconds} s.")
    before.pop("attention")
    assert changed == before
    assert_money(call.number.organization, balance=FUNDED - 49)


def test_given_a_waived_call_when_another_duration_comes_then_nothing_is_charged(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    clock.at(70)
    vapi.send(call.report(START, after(20), reason="customer-did-not-answer"))

    vapi.send(call.report(START, after(60), reason="customer-ended-call"))

    assert charges() == []
    assert "20 s" in call_of(call).attention
    assert "60 s" in call_of(call).attention


@pytest.mark.parametrize("fields", [{}, {"endedReason": "customer-ended-call"}])
def test_given_a_message_without_call_when_it_comes_then_it_is_kept_and_harms_nothing(
    vapi: Vapi, fields: dict[str, Any]
) -> None:
    call = authorized(vapi)
    messages = [
        call.status("in-progress", START, **fields),
        call.ended(START),
        call.report(START, after(60)),
    ]

    for message in messages:
        del message["message"]["call"]
        assert vapi.send(message) == {}

    unusable = WebhookEvent.objects.filter(status=WebhookEvent.Status.UNUSABLE)
    assert unusable.count() == 3
    assert all("no call id" in event.outcome for event in unusable)
    assert_money(call.number.organization, balance=FUNDED, reserved=245)


def test_given_dates_in_another_zone_when_reported_then_the_moments_count(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    clock.at(200)

    vapi.send(call.report("2026-03-02T11:00:00+01:00", "2026-03-02T10:01:01Z"))

    assert charges() == [98]


def test_given_dates_in_the_embedded_call_when_reported_then_they_are_not_believed(
    vapi: Vapi, clock: Clock
) -> None:
    call = authorized(vapi)
    clock.at(200)
    message = call.report(START, after(60))
    message["message"]["call"] |= {
        "startedAt": START.isoformat(),
        "endedAt": (START + timedelta(hours=5)).isoformat(),
    }

    vapi.send(message)

    assert charges() == [49]
    assert isinstance(call_of(call).ended_at, datetime)
