"""What must be true of orders once nothing of theirs is at work any more."""

from telephony.models import NumberOrder, PhoneNumber
from tests.telephony.fake_providers import FakeProviders
from tests.wallets.invariants import assert_ledger_intact, entries


def assert_all_or_nothing(organization, fake: FakeProviders) -> None:
    """Each order is one number, charged once, or one refund; and the providers have no other."""
    orders = list(NumberOrder.objects.filter(organization=organization))
    assert {order.status for order in orders} <= {"active", "refunded"}, orders
    bought = [order for order in orders if order.status == "active"]
    money = [entry for entry in entries(organization) if entry[0] != "topup"]
    assert sorted(money) == sorted(
        [("phone_provisioning", -order.price_pence, 0) for order in orders]
        + [("refund", order.price_pence, 0) for order in orders if order.status == "refunded"]
    )
    numbers = PhoneNumber.objects.filter(order__in=orders)
    assert numbers.count() == len(bought)
    keys = {order.provider_key for order in orders}
    assert sorted(sid for sid, each in fake.twilio.items() if each["friendly_name"] in keys) == (
        sorted(number.twilio_sid for number in numbers)
    )
    assert sorted(vapi_id for vapi_id, each in fake.vapi.items() if each["name"] in keys) == (
        sorted(number.vapi_phone_number_id for number in numbers)
    )
    assert_ledger_intact()
