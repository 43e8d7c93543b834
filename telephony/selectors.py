"""Finding numbers and assistants by what Vapi calls them."""

from telephony.models import Assistant, PhoneNumber


def find_phone_number(
    *, vapi_phone_number_id: str | None, number: str | None
) -> PhoneNumber | None:
    """The number with this Vapi id; failing that, the one in use with these digits.

    A released number is found by its Vapi id alone, for reports that come late: its digits may be
    somebody else's by now.
    """
    numbers = PhoneNumber.objects.select_related("assistant")
    found = None
    if vapi_phone_number_id:
        found = numbers.filter(vapi_phone_number_id=vapi_phone_number_id).first()
    if found is None and number:
        found = numbers.filter(number=number, released_at=None).first()
    return found


def find_assistant(vapi_assistant_id: str | None) -> Assistant | None:
    if not vapi_assistant_id:
        return None
    return Assistant.objects.filter(vapi_assistant_id=vapi_assistant_id).first()
