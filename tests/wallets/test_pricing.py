"""Seconds to pence and back: exact, monotone, and each other's inverse."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallets.pricing import Tariff, connected_seconds, usd_to_pence

tariffs = st.builds(
    Tariff,
    rate_pence_per_minute=st.integers(1, 5_000),
    billing_increment_seconds=st.one_of(st.sampled_from([1, 6, 30, 60]), st.integers(1, 3_600)),
)
durations = st.integers(0, 7 * 24 * 3600)
amounts = st.integers(0, 10**13)
STANDARD = Tariff(rate_pence_per_minute=49, billing_increment_seconds=60)


@given(tariff=tariffs, seconds=durations)
def test_price_is_the_exact_amount_rounded_up_once(tariff, seconds):
    increments = math.ceil(Fraction(seconds, tariff.billing_increment_seconds))
    minutes = Fraction(increments * tariff.billing_increment_seconds, 60)
    assert tariff.price(seconds) == math.ceil(minutes * tariff.rate_pence_per_minute)
    assert type(tariff.price(seconds)) is int


@given(tariff=tariffs, pence=amounts)
def test_affordable_seconds_is_the_longest_duration_that_pence_pay_for(tariff, pence):
    seconds = tariff.affordable_seconds(pence)
    assert tariff.price(seconds) <= pence < tariff.price(seconds + 1)


@given(tariff=tariffs, seconds=durations)
def test_the_price_of_a_call_affords_the_whole_increments_that_it_was_billed(tariff, seconds):
    increment = tariff.billing_increment_seconds
    billed = math.ceil(Fraction(seconds, increment)) * increment
    assert tariff.affordable_seconds(tariff.price(seconds)) >= billed


@given(tariff=tariffs, one=durations, other=durations)
def test_a_longer_call_never_costs_less(tariff, one, other):
    shorter, longer = sorted((one, other))
    assert tariff.price(shorter) <= tariff.price(longer)


@given(tariff=tariffs, one=amounts, other=amounts)
def test_more_pence_never_afford_less(tariff, one, other):
    fewer, more = sorted((one, other))
    assert tariff.affordable_seconds(fewer) <= tariff.affordable_seconds(more)


@given(tariff=tariffs, pence=amounts)
def test_the_largest_hold_is_whole_increments_and_one_more_increment_is_too_much(tariff, pence):
    hold = tariff.largest_hold(pence)
    seconds = tariff.affordable_seconds(pence)
    assert hold <= pence
    assert hold == tariff.price(seconds)
    assert seconds % tariff.billing_increment_seconds == 0


@given(tariff=tariffs)
def test_nothing_costs_nothing_and_affords_nothing(tariff):
    assert tariff.price(0) == 0
    assert tariff.affordable_seconds(0) == 0
    assert tariff.affordable_seconds(-1_000) == 0
    assert tariff.largest_hold(-1_000) == 0
    assert tariff.price(1) > 0


@pytest.mark.parametrize(
    ("seconds", "pence"), [(0, 0), (1, 49), (59, 49), (60, 49), (61, 98), (300, 245), (301, 294)]
)
def test_a_started_minute_is_a_whole_minute_at_the_standard_tariff(seconds, pence):
    assert STANDARD.price(seconds) == pence


@pytest.mark.parametrize(
    ("pence", "seconds"), [(0, 0), (1, 0), (48, 0), (49, 60), (97, 60), (98, 120), (245, 300)]
)
def test_a_hold_pays_for_seconds_and_pence_are_never_compared_with_them(pence, seconds):
    assert STANDARD.affordable_seconds(pence) == seconds


def test_a_penny_is_rounded_up_once_for_the_call_and_not_for_each_increment():
    by_the_second = Tariff(rate_pence_per_minute=49, billing_increment_seconds=1)
    assert by_the_second.price(1) == 1
    assert by_the_second.price(60) == 49  # not 60: 60 × 0.8167 p, rounded once
    assert by_the_second.affordable_seconds(1) == 1
    assert by_the_second.affordable_seconds(48) == 58


@pytest.mark.parametrize(("rate", "increment"), [(0, 60), (49, 0), (-1, 60), (49, -1)])
def test_a_tariff_that_is_not_above_zero_is_refused(rate, increment):
    with pytest.raises(ValueError, match="above 0"):
        Tariff(rate_pence_per_minute=rate, billing_increment_seconds=increment)


@given(tariff=tariffs, seconds=st.integers(max_value=-1))
def test_a_negative_duration_is_refused(tariff, seconds):
    with pytest.raises(ValueError, match="cannot last"):
        tariff.price(seconds)


STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [(1, 1), (499, 1), (500, 1), (1_000, 1), (1_499, 1), (1_500, 2), (2_499, 2), (2_500, 3)],
)
def test_a_connected_call_is_rounded_half_up_and_lasts_at_least_a_second(milliseconds, seconds):
    ended_at = STARTED_AT + timedelta(milliseconds=milliseconds)
    assert connected_seconds(STARTED_AT, ended_at) == seconds


@given(microseconds=st.integers(1, 50_000 * 10**6))
def test_connected_seconds_are_exact_to_the_microsecond(microseconds):
    exact = Fraction(microseconds, 10**6)
    ended_at = STARTED_AT + timedelta(microseconds=microseconds)
    assert connected_seconds(STARTED_AT, ended_at) == max(math.floor(exact + Fraction(1, 2)), 1)


@pytest.mark.parametrize("milliseconds", [0, -1, -90_000])
def test_a_call_that_ends_before_it_starts_did_not_connect(milliseconds):
    with pytest.raises(ValueError, match="ends after it starts"):
        connected_seconds(STARTED_AT, STARTED_AT + timedelta(milliseconds=milliseconds))


@pytest.mark.parametrize(
    ("amount_usd", "pence"),
    [("0", 0), ("1", 79), ("0.25", 20), ("0.006329", 0), ("0.00633", 1), ("12.345678", 975)],
)
def test_dollars_become_whole_pence_once_rounded_half_up(amount_usd, pence):
    assert usd_to_pence(Decimal(amount_usd), Decimal("0.79")) == pence


def test_half_a_penny_is_a_whole_one():
    assert usd_to_pence(Decimal("0.01"), Decimal("0.5")) == 1
