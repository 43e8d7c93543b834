"""Automatic recharges: when one is started, when none is, and what becomes of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.factories import OrganizationFactory, TopUpFactory
from tests.wallets.steps import buy, reserve
from tests.wallets.stripe import Stripe, keep_card, payment_of, stripe
from wallets.models import Alert, Organization, PaymentProfile, TopUp
from wallets.payments import asking, recharge, stripe_client, topups
from wallets.payments.facts import Failure
from wallets.payments.recharge import Guard
from wallets.payments.recharge_settings import NoCardKept, SettingsNotAllowed, configure
from wallets.tasks import recharge_wallet

__all__ = ["stripe"]

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
DECLINE = stripe_client.CardDeclined("card_declined", "pi_declined", "Your card was declined.")


class Clock:
    def __init__(self, traveller):
        self._traveller = traveller

    def at(self, **since_start):
        self._traveller.move_to(START + timedelta(**since_start))


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as traveller:
        yield Clock(traveller)


@pytest.fixture
def low(clock):
    """An organization below its threshold of 1,000p, that recharges by 5,000p up to 12,000p."""
    return recharging(funded_pence=500)


def recharging(**fields):
    organization = OrganizationFactory(
        **{
            "auto_recharge_enabled": True,
            "auto_recharge_amount_pence": 5_000,
            "auto_recharge_threshold_pence": 1_000,
            "auto_recharge_monthly_cap_pence": 12_000,
            **fields,
        }
    )
    keep_card(organization)
    return organization


def raising(error):
    def answer(intent):
        raise error

    return answer


def balance_of(organization):
    return Organization.objects.get(pk=organization.pk).balance_pence


def profile_of(organization):
    return PaymentProfile.objects.get(pk=organization.pk)


def alerts():
    return [alert.kind for alert in Alert.objects.order_by("created_at", "kind")]


def pay(topup):
    """Stripe's webhook arrives."""
    topup.refresh_from_db()
    return topups.credit(payment_of(topup))


# --- It is started, and credited when Stripe says so --------------------------------------------


def test_given_a_low_wallet_then_its_card_is_charged_and_nothing_credited_before_the_webhook(
    low, stripe: Stripe
):
    assert recharge.recharge(low.pk) is None

    [intent] = stripe.intents
    topup = TopUp.objects.get()
    assert (intent.amount_pence, intent.topup_id) == (5_000, str(topup.pk))
    assert (intent.customer_id, intent.payment_method_id) == (f"cus_{low.pk}", f"pm_{low.pk}")
    assert (topup.status, topup.origin) == ("pending", "auto_recharge")
    assert topup.stripe_payment_intent_id == intent.id
    assert balance_of(low) == 500

    pay(topup)
    pay(topup)

    assert balance_of(low) == 5_500
    assert alerts() == ["topup_receipt"]


def test_the_task_that_a_commit_sends_recharges(low, stripe: Stripe):
    recharge_wallet(str(low.pk))
    assert len(stripe.intents) == 1


@pytest.mark.parametrize(
    ("guard", "fields"),
    [
        (Guard.OFF, {"auto_recharge_enabled": False}),
        (Guard.SUSPENDED, {"status": "suspended"}),
        (Guard.ENOUGH, {"auto_recharge_threshold_pence": 500}),
        (Guard.MONTHLY_CAP, {"auto_recharge_monthly_cap_pence": 4_999}),
    ],
)
def test_given_a_guard_then_nothing_is_asked_of_stripe(low, stripe: Stripe, guard, fields):
    Organization.objects.filter(pk=low.pk).update(**fields)

    assert recharge.recharge(low.pk) == guard
    assert recharge.recharge_low_wallets() == 0
    assert stripe.intents == []
    assert not TopUp.objects.exists()


def test_given_no_card_then_nothing_is_asked_of_stripe(clock, stripe: Stripe):
    organization = OrganizationFactory(auto_recharge_enabled=True)
    assert recharge.recharge(organization.pk) == Guard.NO_CARD
    PaymentProfile.objects.create(organization=organization)
    assert recharge.recharge(organization.pk) == Guard.NO_CARD
    assert recharge.recharge_low_wallets() == 0


def test_money_that_live_calls_hold_does_not_count(clock, stripe: Stripe):
    organization = recharging(funded_pence=1_100)
    assert recharge.recharge(organization.pk) == Guard.ENOUGH
    reserve(organization)
    assert recharge.recharge(organization.pk) is None


def test_a_payment_that_takes_days_counts_and_a_page_that_nobody_paid_on_does_not(
    low, stripe: Stripe
):
    coming = TopUpFactory(organization=low, amount_pence=500, status="processing")
    assert recharge.recharge(low.pk) == Guard.ENOUGH
    assert recharge._low_wallets() == []
    TopUp.objects.filter(pk=coming.pk).update(status="pending")
    assert recharge.recharge(low.pk) is None


# --- One at a time, not too often, not too much -------------------------------------------------


def test_one_is_in_flight_at_a_time(low, stripe: Stripe, clock):
    assert recharge.recharge(low.pk) is None
    clock.at(hours=1)
    assert recharge.recharge(low.pk) == Guard.IN_FLIGHT
    assert recharge.recharge_low_wallets() == 0
    assert len(stripe.intents) == 1


def test_the_database_refuses_a_second_one_in_flight(low):
    TopUpFactory(organization=low, origin="auto_recharge")
    with pytest.raises(IntegrityError, match="topups_one_recharge_in_flight"):
        TopUpFactory(organization=low, origin="auto_recharge", status="processing")


def test_after_one_there_is_a_pause(low, stripe: Stripe, clock):
    recharge.recharge(low.pk)
    pay(TopUp.objects.get())
    buy(low, 5_000)
    assert recharge.recharge(low.pk) == Guard.TOO_SOON
    assert recharge.recharge_low_wallets() == 0

    clock.at(minutes=5)
    assert recharge.recharge_low_wallets() == 1


def test_the_months_limit_holds_is_told_once_and_ends_with_the_month(low, stripe: Stripe, clock):
    for hours in (0, 1):
        clock.at(hours=hours)
        assert recharge.recharge(low.pk) is None
        pay(TopUp.objects.order_by("-created_at")[0])
        buy(low, 5_000)
    clock.at(hours=2)
    assert recharge.recharge(low.pk) == Guard.MONTHLY_CAP
    clock.at(hours=3)
    assert recharge.recharge_low_wallets() == 0
    recharge.recharge(low.pk)
    assert alerts().count("recharge_failed") == 1
    assert "The limit" in Alert.objects.get(kind="recharge_failed").context["reason"]

    clock.at(days=21, hours=11, minutes=59)
    assert recharge.recharge_low_wallets() == 0
    clock.at(days=21, hours=12)
    assert timezone.now() == datetime(2026, 4, 1, tzinfo=UTC)
    assert recharge.recharge_low_wallets() == 1


def test_one_that_failed_does_not_count_against_the_months_limit(low, stripe: Stripe, clock):
    stripe.answers = raising(DECLINE)
    for hours in (0, 2):
        clock.at(hours=hours)
        assert recharge.recharge(low.pk) is None
    stripe.answers = lambda intent: intent
    clock.at(hours=9)
    assert recharge.recharge(low.pk) is None


# --- Declined -----------------------------------------------------------------------------------


def test_given_declines_then_the_pauses_grow_and_the_third_turns_it_off(low, stripe: Stripe, clock):
    stripe.answers = raising(DECLINE)
    tried = []
    for minutes in range(0, 24 * 60, 10):
        clock.at(minutes=minutes)
        if recharge.recharge(low.pk) is None:
            tried.append(minutes)

    assert tried == [0, 60, 60 + 360]
    assert not Organization.objects.get(pk=low.pk).auto_recharge_enabled
    assert alerts() == ["recharge_failed", "recharge_failed", "recharge_off"]
    assert {topup.failure for topup in TopUp.objects.all()} == {"Your card was declined."}
    assert balance_of(low) == 500


def test_a_success_forgets_the_declines(low, stripe: Stripe, clock):
    stripe.answers = raising(DECLINE)
    recharge.recharge(low.pk)
    stripe.answers = lambda intent: intent
    clock.at(hours=1)
    recharge.recharge(low.pk)
    pay(TopUp.objects.get(status="pending"))
    assert profile_of(low).declines_in_a_row == 0


def test_a_decline_that_the_webhook_tells_too_is_counted_once(low, stripe: Stripe):
    stripe.answers = raising(DECLINE)
    recharge.recharge(low.pk)
    topups.failed(
        Failure(
            topup_id=str(TopUp.objects.get().pk),
            payment_intent_id="pi_declined",
            code="card_declined",
            message="Your card was declined.",
            is_final=False,
        )
    )
    assert profile_of(low).declines_in_a_row == 1
    assert alerts() == ["recharge_failed"]


def test_given_a_bank_that_wants_the_cardholder_then_a_link_is_sent_and_the_payment_given_up(
    low, stripe: Stripe, settings
):
    stripe.answers = raising(
        stripe_client.CardDeclined("authentication_required", "pi_challenged", "Authenticate.")
    )
    recharge.recharge(low.pk)

    assert stripe.cancelled == ["pi_challenged"]
    alert = Alert.objects.get()
    assert alert.kind == "recharge_needs_authentication"
    assert alert.context["url"] == f"{settings.SITE_URL}/wallet/top-up/?amount_pence=5000"
    assert profile_of(low).declines_in_a_row == 1


def test_given_a_definite_refusal_then_it_is_told_in_stripes_words(low, stripe: Stripe):
    stripe.answers = raising(stripe_client.PaymentRefused("resource_missing", "No such card."))
    recharge.recharge(low.pk)
    topup = TopUp.objects.get()
    assert (topup.status, topup.failure_code) == ("failed", "resource_missing")
    assert topup.failure == "No such card."


def test_given_stripe_out_of_reach_then_the_card_is_not_blamed_and_it_is_tried_later(
    low, stripe: Stripe, clock
):
    stripe.answers = raising(stripe_client.PaymentUnavailable("Stripe was not reached."))
    recharge.recharge(low.pk)
    assert TopUp.objects.get().status == "failed"
    assert profile_of(low).declines_in_a_row == 0
    assert alerts() == []

    stripe.answers = lambda intent: intent
    clock.at(minutes=14)
    assert recharge.recharge_low_wallets() == 0
    clock.at(minutes=15)
    assert recharge.recharge_low_wallets() == 1


# --- Unknown outcomes ---------------------------------------------------------------------------


UNKNOWN = stripe_client.PaymentOutcomeUnknown("Stripe did not answer: ReadTimeout.")


def test_given_no_answer_then_stripe_is_asked_before_anything_else_is_tried(
    low, stripe: Stripe, clock
):
    stripe.answers = raising(UNKNOWN)
    recharge.recharge(low.pk)
    stripe.answers = lambda intent: intent
    clock.at(minutes=1)
    assert asking.ask_about_topups() == 0
    assert recharge.recharge(low.pk) == Guard.IN_FLIGHT

    clock.at(minutes=2)
    assert asking.ask_about_topups() == 1

    assert len(stripe.intents) == 1
    assert TopUp.objects.get().status == "paid"
    assert balance_of(low) == 5_500


def test_given_no_answer_and_a_decline_when_asked_then_it_is_one_decline(
    low, stripe: Stripe, clock
):
    stripe.answers = raising(UNKNOWN)
    recharge.recharge(low.pk)
    stripe.intents[:] = [
        replace(
            stripe.intents[0],
            status="requires_payment_method",
            failure_code="card_declined",
            failure="Your card was declined.",
        )
    ]
    clock.at(minutes=2)
    asking.ask_about_topups()

    assert TopUp.objects.get().failure_code == "card_declined"
    assert profile_of(low).declines_in_a_row == 1


def test_given_no_answer_and_a_challenge_when_asked_then_the_payment_is_given_up(
    low, stripe: Stripe, clock
):
    stripe.answers = raising(UNKNOWN)
    recharge.recharge(low.pk)
    [intent] = stripe.intents
    stripe.intents[:] = [replace(intent, status="requires_action")]
    clock.at(minutes=2)
    asking.ask_about_topups()

    assert stripe.cancelled == [intent.id]
    assert alerts() == ["recharge_needs_authentication"]


def test_given_a_process_that_died_before_it_asked_then_it_is_given_up_after_a_while(
    low, stripe: Stripe, clock
):
    def die(**_):
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stripe_client, "charge_off_session", die)
        with pytest.raises(SystemExit):
            recharge.recharge(low.pk)
    for minutes in range(2, 11):
        clock.at(minutes=minutes)
        asking.ask_about_topups()
        assert recharge.recharge(low.pk) == Guard.IN_FLIGHT
    clock.at(minutes=17)
    asking.ask_about_topups()

    assert TopUp.objects.get().failure_code == "not_started"
    assert profile_of(low).declines_in_a_row == 0
    assert recharge.recharge_low_wallets() == 1


def test_given_a_webhook_that_was_lost_then_the_payment_is_credited_when_asked(
    low, stripe: Stripe, clock
):
    recharge.recharge(low.pk)
    clock.at(minutes=2)
    asking.ask_about_topups()
    assert balance_of(low) == 5_500


# --- The sweep ----------------------------------------------------------------------------------


def test_the_sweep_looks_in_one_statement_however_many_wallets_there_are(clock, stripe: Stripe):
    def statements():
        with CaptureQueriesContext(connection) as captured:
            recharge._low_wallets()
        return len(captured)

    recharging(funded_pence=500)
    assert statements() == 1
    for _ in range(10):
        recharging(funded_pence=500)
        recharging(funded_pence=5_000)
    assert statements() == 1
    assert len(recharge._low_wallets()) == 11


# --- Whatever happens ---------------------------------------------------------------------------


steps = st.lists(
    st.tuples(
        st.sampled_from(["spend", "decline", "unknown", "pay", "ask", "turn on"]),
        st.integers(0, 60 * 24 * 3),
    ),
    max_size=25,
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_no_history_breaks_a_guard(steps):
    """Never two in flight, never sooner than the pause, never above the month's limit."""
    stripe = Stripe()
    with (
        transaction.atomic(),
        pytest.MonkeyPatch.context() as patch,
        time_machine.travel(START, tick=False) as moment,
    ):
        patch.setattr(stripe_client, "charge_off_session", stripe.charge)
        patch.setattr(stripe_client, "list_payment_intents", stripe.listed)
        patch.setattr(stripe_client, "retrieve_payment_intent", stripe.retrieve)
        patch.setattr(stripe_client, "cancel_payment_intent", stripe.cancelled.append)
        organization = recharging(funded_pence=2_000)
        now = START
        for step, minutes in steps:
            now += timedelta(minutes=minutes)
            moment.move_to(now)
            stripe.answers = {
                "decline": raising(DECLINE),
                "unknown": raising(UNKNOWN),
            }.get(step, lambda intent: intent)
            if step == "spend":
                left = Organization.objects.get(pk=organization.pk).effective_balance_pence
                if left:
                    buy(organization, left)
            elif step == "pay":
                for topup in TopUp.objects.filter(status="pending").exclude(
                    stripe_payment_intent_id=None
                ):
                    pay(topup)
            elif step == "ask":
                asking.ask_about_topups()
            elif step == "turn on":
                configure(
                    organization_id=organization.pk,
                    enabled=True,
                    amount_pence=5_000,
                    threshold_pence=1_000,
                )
            recharge.recharge(organization.pk)
            recharge.recharge_low_wallets()
        _assert_guards_held(organization)
        # Another history begins in the same database.
        transaction.set_rollback(True)


def _assert_guards_held(organization):
    recharges = list(TopUp.objects.filter(organization=organization).order_by("created_at"))
    assert sum(each.status in TopUp.IN_FLIGHT for each in recharges) <= 1
    for earlier, later in pairwise(recharges):
        assert later.created_at - earlier.created_at >= recharge.COOLDOWN
        # The one before was over.
        assert earlier.finished_at is not None
        assert earlier.finished_at <= later.created_at
    by_month = {}
    for each in recharges:
        if each.status != "failed":
            month = (each.created_at.year, each.created_at.month)
            by_month[month] = by_month.get(month, 0) + each.amount_pence
    assert all(paid <= 12_000 for paid in by_month.values())


# --- Settings -----------------------------------------------------------------------------------


def configured(organization, **changes):
    return configure(
        **{
            "organization_id": organization.pk,
            "enabled": True,
            "amount_pence": 5_000,
            "threshold_pence": 1_000,
            "monthly_cap_pence": 20_000,
            **changes,
        }
    )


def test_given_settings_then_they_are_kept_and_a_low_wallet_is_recharged_at_once(
    low, django_capture_on_commit_callbacks, monkeypatch
):
    sent = []
    monkeypatch.setattr(
        "celery.app.base.Celery.send_task",
        lambda _app, name, args=(), **_: sent.append((name, args)),
    )
    with django_capture_on_commit_callbacks(execute=True):
        configured(low, amount_pence=7_500, threshold_pence=0, monthly_cap_pence=None)

    low.refresh_from_db()
    assert low.auto_recharge_amount_pence == 7_500
    assert low.auto_recharge_threshold_pence == 0
    assert low.auto_recharge_monthly_cap_pence == 12_000
    assert sent == [("wallets.tasks.recharge_wallet", [str(low.pk)])]


def test_given_no_card_when_turned_on_then_it_is_refused_and_off_is_not(clock):
    organization = OrganizationFactory()
    with pytest.raises(NoCardKept, match="top up once"):
        configured(organization)
    configured(organization, enabled=False)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("amount_pence", {"amount_pence": 2_499}),
        ("amount_pence", {"amount_pence": 1_000_001, "monthly_cap_pence": 2_000_000}),
        ("threshold_pence", {"threshold_pence": -1}),
        ("threshold_pence", {"threshold_pence": 1_000_001}),
        ("monthly_cap_pence", {"monthly_cap_pence": 4_999}),
        ("monthly_cap_pence", {"monthly_cap_pence": 10_000_001}),
    ],
)
def test_amounts_that_cannot_be_are_refused_and_nothing_is_changed(low, name, changes):
    with pytest.raises(SettingsNotAllowed) as refused:
        configured(low, **changes)
    assert list(refused.value.problems) == [name]
    low.refresh_from_db()
    assert low.auto_recharge_monthly_cap_pence == 12_000


def test_turned_on_again_after_declines_it_begins_anew(low, stripe: Stripe, clock):
    stripe.answers = raising(DECLINE)
    for hours in (0, 1, 7):
        clock.at(hours=hours)
        recharge.recharge(low.pk)
    assert not Organization.objects.get(pk=low.pk).auto_recharge_enabled

    clock.at(hours=8)
    configured(low)

    stripe.answers = lambda intent: intent
    assert recharge.recharge(low.pk) is None
    assert profile_of(low).declines_in_a_row == 0


def test_saved_again_as_they_were_they_do_not_get_round_the_pause_after_a_decline(
    low, stripe: Stripe, clock
):
    stripe.answers = raising(DECLINE)
    for minutes in range(0, 60, 10):
        clock.at(minutes=minutes)
        configured(low)
        recharge.recharge(low.pk)

    assert TopUp.objects.count() == 1
    assert profile_of(low).declines_in_a_row == 1


def test_a_raised_limit_ends_the_rest_until_next_month(low, stripe: Stripe, clock):
    Organization.objects.filter(pk=low.pk).update(auto_recharge_monthly_cap_pence=5_000)
    recharge.recharge(low.pk)
    pay(TopUp.objects.get())
    buy(low, 5_000)
    clock.at(hours=1)
    assert recharge.recharge(low.pk) == Guard.MONTHLY_CAP
    configured(low, monthly_cap_pence=5_000)
    assert recharge.recharge(low.pk) == Guard.MONTHLY_CAP

    configured(low, monthly_cap_pence=10_000)

    assert recharge.recharge(low.pk) is None


def test_a_process_that_was_stopped_for_minutes_asks_no_more(
    low, stripe: Stripe, clock, monkeypatch
):
    begin = recharge._begin

    def begin_and_stop(organization_id):
        attempt = begin(organization_id)
        clock.at(minutes=3)
        return attempt

    monkeypatch.setattr(recharge, "_begin", begin_and_stop)
    recharge.recharge(low.pk)

    assert stripe.intents == []
    assert TopUp.objects.get().failure_code == "not_started"


def test_an_amount_that_fits_what_is_left_of_the_month_ends_the_rest(low, stripe: Stripe, clock):
    Organization.objects.filter(pk=low.pk).update(auto_recharge_monthly_cap_pence=8_000)
    recharge.recharge(low.pk)
    pay(TopUp.objects.get())
    buy(low, 5_000)
    clock.at(hours=1)
    assert recharge.recharge(low.pk) == Guard.MONTHLY_CAP

    configured(low, amount_pence=2_500, monthly_cap_pence=None)

    assert recharge.recharge_low_wallets() == 1


def test_a_limit_that_is_raised_after_a_decline_ends_the_rest_of_the_month(
    low, stripe: Stripe, clock
):
    Organization.objects.filter(pk=low.pk).update(auto_recharge_monthly_cap_pence=10_000)
    recharge.recharge(low.pk)
    pay(TopUp.objects.get())
    buy(low, 5_000)
    clock.at(hours=1)
    stripe.answers = raising(DECLINE)
    recharge.recharge(low.pk)
    stripe.answers = lambda intent: intent
    configured(low, monthly_cap_pence=5_000)
    clock.at(hours=3)
    assert recharge.recharge(low.pk) == Guard.MONTHLY_CAP

    configured(low, monthly_cap_pence=20_000)

    assert recharge.recharge(low.pk) is None


def test_a_limit_that_is_reached_keeps_the_sweep_from_no_other_wallet(
    low, stripe: Stripe, clock, monkeypatch
):
    Organization.objects.filter(pk=low.pk).update(auto_recharge_monthly_cap_pence=4_999)
    other = recharging(funded_pence=500)
    monkeypatch.setattr(recharge, "WALLETS_PER_SWEEP", 1)

    assert recharge.recharge_low_wallets() == 1

    assert TopUp.objects.get().organization == other


def test_without_a_limit_of_its_own_a_large_amount_raises_the_one_that_was_set(low):
    configured(low, amount_pence=60_000, monthly_cap_pence=None)

    low.refresh_from_db()
    assert low.auto_recharge_monthly_cap_pence == 60_000
    configured(low, amount_pence=5_000, monthly_cap_pence=None)
    low.refresh_from_db()
    assert low.auto_recharge_monthly_cap_pence == 60_000


def test_given_a_payment_that_stripe_does_not_know_any_more_then_it_is_given_up_and_staff_see_it(
    low, stripe: Stripe, clock, monkeypatch
):
    def gone(_intent):
        raise stripe_client.PaymentRefused("resource_missing", "No such payment_intent")

    recharge.recharge(low.pk)
    monkeypatch.setattr(stripe_client, "retrieve_payment_intent", gone)
    clock.at(minutes=30)
    asking.ask_about_topups()
    assert TopUp.objects.get().status == "pending"

    clock.at(minutes=90)
    asking.ask_about_topups()

    topup = TopUp.objects.get()
    assert (topup.status, topup.failure_code) == ("failed", "not_at_stripe")
    assert "credit it by hand" in topup.attention
    # It was no fault of the card's, and the wallet is recharged again.
    assert profile_of(low).declines_in_a_row == 0
    assert recharge.recharge(low.pk) is None
