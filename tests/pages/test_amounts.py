"""Amounts in pounds are read as people write them, or refused."""

import pytest
from django.core.exceptions import ValidationError

from wallets.pages.forms import PoundsField


@pytest.mark.parametrize(
    ("written", "pence"),
    [
        ("50", 5_000),
        ("12.50", 1_250),
        ("12.5", 1_250),
        (" £1,250 ", 125_000),
        ("£ 1,234,567.89", 123_456_789),
        ("0", 0),
        ("0.01", 1),
        ("007", 700),
    ],
)
def test_an_amount_is_in_pence(written, pence):
    assert PoundsField().clean(written) == pence


@pytest.mark.parametrize(
    "written",
    [
        *("1,50", "12,5", "1,2,3", "1,2345", ",500", "1,250,", "1234,567"),
        *("1e5", "1E2", "0x10", "1_000", "NaN", "Infinity", "\u0665\u0660"),
        *("50.000", "1.234,56", "12.", ".5", "1.2.3", "12.345"),
        *("-5", "+5", "--5", "£", "££5", "5£", "5 0", "fifty", "", "10000000000.01"),
    ],
)
def test_what_is_no_amount_or_may_mean_another_is_refused(written):
    with pytest.raises(ValidationError):
        PoundsField().clean(written)
