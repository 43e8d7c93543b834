import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from telephony.models import Assistant
from telephony.selectors import find_assistant, find_phone_number
from tests.factories import AssistantFactory, PhoneNumberFactory

pytestmark = pytest.mark.django_db


def test_given_numbers_when_looked_for_then_vapis_id_comes_before_the_digits() -> None:
    by_id, by_digits = PhoneNumberFactory(), PhoneNumberFactory()

    def found(vapi_phone_number_id: str | None, number: str | None) -> object:
        return find_phone_number(vapi_phone_number_id=vapi_phone_number_id, number=number)

    assert found(by_id.vapi_phone_number_id, None) == by_id
    assert found(None, by_digits.number) == by_digits
    assert found(by_id.vapi_phone_number_id, by_digits.number) == by_id
    assert found("unknown", by_digits.number) == by_digits
    assert found(by_id.vapi_phone_number_id, "+442079460123") == by_id
    assert found("unknown", "+442079460123") is None


@pytest.mark.parametrize("nothing", [None, ""])
def test_given_a_number_without_vapi_id_when_nothing_is_looked_for_then_it_is_not_found(
    nothing: str | None,
) -> None:
    PhoneNumberFactory(vapi_phone_number_id=None)

    assert find_phone_number(vapi_phone_number_id=nothing, number=nothing) is None


def test_given_an_assistant_when_looked_for_then_only_by_its_own_id() -> None:
    assistant = AssistantFactory()

    assert find_assistant(assistant.vapi_assistant_id) == assistant
    assert find_assistant("unknown") is None
    assert find_assistant("") is None
    assert find_assistant(None) is None


@pytest.mark.parametrize("seconds", [0, 9, 43_201])
def test_given_a_limit_that_vapi_refuses_when_saved_then_the_database_refuses_it(
    seconds: int,
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        AssistantFactory(max_duration_seconds=seconds)
    assert not Assistant.objects.exists()


@pytest.mark.parametrize("number", ["020 7946 0123", "+0442079460123", "+44", "+44207946012345678"])
def test_given_digits_that_are_no_number_when_validated_then_a_sentence_says_so(
    number: str,
) -> None:
    with pytest.raises(ValidationError, match="number"):
        PhoneNumberFactory.build(number=number, organization=None, assistant=None).clean_fields()
