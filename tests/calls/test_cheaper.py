"""A customer tries to make a call of Vapi's cheaper by what their program announces and settles.

Whatever they send, and whenever: the call costs its payer what it costs without it.
"""

from collections.abc import Callable

import pytest

from calls import self_reported
from calls.models import Call
from calls.self_reported import SettledByVapi
from tests.factories import OrganizationFactory, PhoneNumberFactory
from tests.webhooks.fixtures import Clock, Vapi, after, call_of
from tests.webhooks.vapi_payloads import VapiCall
from wallets import ledger
from wallets.errors import LedgerError
from wallets.models import Organization
from wallets.selectors import ledger_differences

pytestmark = pytest.mark.django_db

LASTS_SECONDS = 301
PRICE_PENCE = 6 * 49

Attack = Callable[[Organization, Organization, str], None]


def reserve(organization: Organization, call_id: str, **changes: object) -> None:
    arguments = {"vapi_call_id": None, "estimated_minutes": 5} | changes
    self_reported.reserve(organization_id=organization.pk, call_id=call_id, **arguments)


def commit(organization: Organization, call_id: str, seconds: int) -> None:
    self_reported.commit(organization_id=organization.pk, call_id=call_id, duration_seconds=seconds)


def try_all(*requests: Callable[[], None]) -> None:
    """Send requests one after the other; some are refused."""
    for request in requests:
        try:
            request()
        except (LedgerError, SettledByVapi):
            continue


# Each gets the payer, a second organization of the same person whose minute costs 1p, and the id.
ATTACKS: dict[str, Attack] = {
    "settle at 0": lambda payer, _, x: try_all(lambda: commit(payer, x, 0)),
    "settle at a second": lambda payer, _, x: try_all(lambda: commit(payer, x, 1)),
    "settle at a week": lambda payer, _, x: try_all(lambda: commit(payer, x, 604_800)),
    "settle twice": lambda payer, _, x: try_all(
        lambda: commit(payer, x, 604_800), lambda: commit(payer, x, 0)
    ),
    "reserve a minute": lambda payer, _, x: try_all(lambda: reserve(payer, x, estimated_minutes=1)),
    "reserve twelve hours": lambda payer, _, x: try_all(
        lambda: reserve(payer, x, estimated_minutes=720)
    ),
    "reserve and settle at 0": lambda payer, _, x: try_all(
        lambda: reserve(payer, x, estimated_minutes=1), lambda: commit(payer, x, 0)
    ),
    "reserve by another id and settle by it": lambda payer, _, x: try_all(
        lambda: reserve(payer, f"mine {x}", vapi_call_id=x), lambda: commit(payer, f"mine {x}", 0)
    ),
    "reserve by another id and settle by Vapi's": lambda payer, _, x: try_all(
        lambda: reserve(payer, f"mine {x}", vapi_call_id=x), lambda: commit(payer, x, 0)
    ),
    "say that it is another call of Vapi's": lambda payer, _, x: try_all(
        lambda: reserve(payer, x, vapi_call_id="another"),
        lambda: commit(payer, "another", 0),
        lambda: commit(payer, x, 0),
    ),
    "two ids for one call": lambda payer, _, x: try_all(
        lambda: reserve(payer, f"mine {x}", vapi_call_id=x),
        lambda: reserve(payer, f"mine too {x}", vapi_call_id=x),
        lambda: commit(payer, f"mine {x}", 0),
        lambda: commit(payer, f"mine too {x}", 0),
    ),
    "an id in capitals, and with spaces": lambda payer, _, x: try_all(
        lambda: commit(payer, x.upper(), 0),
        lambda: commit(payer, f" {x}", 0),
        lambda: commit(payer, f"{x} ", 0),
    ),
    "claim it for the cheap one": lambda _, cheap, x: try_all(lambda: reserve(cheap, x)),
    "claim it for the cheap one by another id": lambda _, cheap, x: try_all(
        lambda: reserve(cheap, f"mine {x}", vapi_call_id=x), lambda: commit(cheap, f"mine {x}", 0)
    ),
    "settle it for the cheap one": lambda _, cheap, x: try_all(lambda: commit(cheap, x, 301)),
    "claim and settle it for both": lambda payer, cheap, x: try_all(
        lambda: reserve(cheap, x),
        lambda: commit(cheap, x, 1),
        lambda: reserve(payer, x),
        lambda: commit(payer, x, 1),
    ),
}
# When, and whether Vapi asks for the call or only reports its status.
MOMENTS = [
    *((moment, True) for moment in ("before", "asked", "live", "ended", "reported")),
    *((moment, False) for moment in ("before", "live")),
]


def play(
    vapi: Vapi, clock: Clock, call: VapiCall, attack_at: Callable[[str], None], *, asks: bool
) -> None:
    """A call of 301 s as Vapi reports it, with something done at each moment of it."""
    attack_at("before")
    if asks:
        vapi.send(call.assistant_request(clock.at(0)))
    else:
        vapi.send(call.status("queued", clock.at(0)))
    attack_at("asked")
    vapi.send(call.status("in-progress", clock.at(1)))
    for second in (60, 120):
        clock.at(second)
        vapi.check(call)
    attack_at("live")
    for second in (180, 240, 300):
        clock.at(second)
        vapi.check(call)
    vapi.send(call.ended(clock.at(302)))
    attack_at("ended")
    clock.at(307)
    vapi.send(call.report(after(1), after(1 + LASTS_SECONDS), cost=0.5))
    attack_at("reported")


@pytest.fixture
def payer() -> Organization:
    return OrganizationFactory(funded_pence=10_000)


@pytest.fixture
def cheap() -> Organization:
    return OrganizationFactory(funded_pence=10_000, rate_pence_per_minute=1)


def cost_pence(call: VapiCall, payer: Organization) -> int:
    known = call_of(call)
    assert known.organization == payer
    assert known.settled_from == Call.SettledFrom.VAPI
    assert ledger_differences() == []
    return known.charged_pence + known.uncollected_pence


@pytest.mark.parametrize(("moment", "asks"), MOMENTS)
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_use_of_the_api_makes_a_call_of_vapis_cheaper(
    vapi: Vapi, clock: Clock, payer: Organization, cheap: Organization, attack, moment, asks
) -> None:
    clock.at(0)
    call = VapiCall(number=PhoneNumberFactory(organization=payer))

    play(
        vapi,
        clock,
        call,
        lambda now: attack(payer, cheap, call.id) if now == moment else None,
        asks=asks,
    )

    assert cost_pence(call, payer) == PRICE_PENCE
    payer.refresh_from_db()
    # Nor does it come back by another way: what it says of other calls is charged besides.
    assert payer.total_spent_pence + payer.owed_pence >= PRICE_PENCE
    assert payer.reserved_pence in (0, *(49 * minutes for minutes in (1, 5, 200)))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_control_an_attack_leaves_a_call_or_a_hold_when_vapi_says_nothing(
    payer: Organization, cheap: Organization, attack: Attack
) -> None:
    attack(payer, cheap, "a call")

    assert Call.objects.exists()


@pytest.mark.parametrize("funded_pence", [49, 98, 200])
@pytest.mark.parametrize("seconds", [0, 1, 604_800])
def test_given_too_little_money_when_settled_beforehand_then_the_rest_is_owed_all_the_same(
    vapi: Vapi, clock: Clock, funded_pence: int, seconds: int
) -> None:
    payer = OrganizationFactory(funded_pence=funded_pence)
    call = VapiCall(number=PhoneNumberFactory(organization=payer))
    commit(payer, call.id, seconds)
    clock.at(400)

    vapi.send(call.report(after(0), after(301)))

    assert cost_pence(call, payer) == PRICE_PENCE
    payer.refresh_from_db()
    assert payer.balance_pence == 0
    assert payer.owed_pence == PRICE_PENCE - funded_pence


@pytest.mark.parametrize("first", [0, 1])
def test_given_one_reservation_for_two_calls_of_vapis_when_reported_then_both_are_charged(
    vapi: Vapi, clock: Clock, payer: Organization, first: int
) -> None:
    number = PhoneNumberFactory(organization=payer)
    calls = [VapiCall(number=number), VapiCall(number=number)]
    reserve(payer, calls[0].id, vapi_call_id=calls[1].id)
    calls = [calls[first], calls[1 - first]]

    for call in calls:
        vapi.send(call.assistant_request(clock.at(0)))
        vapi.send(call.status("in-progress", clock.at(1)))
    clock.at(400)
    for call in calls:
        vapi.send(call.report(after(1), after(1 + LASTS_SECONDS)))

    assert [cost_pence(call, payer) for call in calls] == [PRICE_PENCE] * 2
    payer.refresh_from_db()
    assert (payer.total_spent_pence, payer.reserved_pence) == (2 * PRICE_PENCE, 0)


def test_given_a_minute_reserved_when_the_call_is_let_in_then_its_hold_is_as_of_any_call(
    vapi: Vapi, clock: Clock, payer: Organization
) -> None:
    call = VapiCall(number=PhoneNumberFactory(organization=payer))
    reserve(payer, call.id, estimated_minutes=1)

    answer = vapi.send(call.assistant_request(clock.at(0)))

    payer.refresh_from_db()
    assert payer.reserved_pence == 245
    # 204 minutes, less the lead, as without it.
    assert answer["assistantOverrides"]["maxDurationSeconds"] == 204 * 60 - 2
    vapi.send(call.status("in-progress", clock.at(1)))
    clock.at(300)
    assert vapi.check(call)["endCall"] is False
    payer.refresh_from_db()
    assert payer.reserved_pence == 7 * 49


@pytest.mark.parametrize("how", ["settled at 0", "settled", "released", "expired"])
def test_given_a_call_that_is_over_when_vapis_id_is_sent_for_it_then_it_is_refused(
    vapi: Vapi, clock: Clock, how: str
) -> None:
    """Its tariff may be an old one, and its charge that of a call long ago."""
    payer = OrganizationFactory(funded_pence=10_000, rate_pence_per_minute=10)
    call = VapiCall(number=PhoneNumberFactory(organization=payer))
    clock.at(-86_400)
    if how.startswith("settled"):
        commit(payer, "kept", 0 if how == "settled at 0" else 10_800)
    else:
        self_reported.reserve(organization_id=payer.pk, call_id="kept", estimated_minutes=1)
        clock.at(-3_600)
        if how == "released":
            ledger.release_reservation(call_id="kept")
        else:
            assert ledger.cleanup_expired_reservations() == 1
    payer.refresh_from_db()
    spent_before_pence = payer.total_spent_pence
    payer.rate_pence_per_minute = 98
    payer.save(update_fields=["rate_pence_per_minute"])

    clock.at(0)
    with pytest.raises(ledger.IdempotencyConflict, match="new"):
        self_reported.reserve(
            organization_id=payer.pk, call_id="kept", vapi_call_id=call.id, estimated_minutes=5
        )
    vapi.send(call.status("in-progress", clock.at(1)))
    clock.at(310)
    vapi.send(call.report(after(1), after(302)))

    assert cost_pence(call, payer) == 6 * 98
    payer.refresh_from_db()
    assert payer.total_spent_pence == spent_before_pence + 6 * 98


def test_given_a_debt_written_off_when_its_call_is_corrected_then_other_calls_debt_stays(
    vapi: Vapi, clock: Clock
) -> None:
    payer = OrganizationFactory()
    number = PhoneNumberFactory(organization=payer)
    overstated, other = VapiCall(number=number), VapiCall(number=number)
    commit(payer, overstated.id, 604_800)
    payer.refresh_from_db()
    ledger.write_off_owed(
        organization_id=payer.pk,
        amount_pence=payer.owed_pence,
        reason="A mistake",
        idempotency_key="written off",
    )
    clock.at(700)
    vapi.send(other.report(after(0), after(600)))

    vapi.send(overstated.report(after(690), after(700)))

    payer.refresh_from_db()
    assert payer.owed_pence == 490
    assert "left owed" in call_of(overstated).attention
    assert ledger_differences() == []


def test_given_a_call_of_vapis_without_hold_when_a_customers_id_is_sent_then_it_stays_vapis(
    vapi: Vapi, clock: Clock, payer: Organization
) -> None:
    call = VapiCall(number=PhoneNumberFactory(organization=payer))
    vapi.send(call.status("scheduled", clock.at(0)))
    for _ in range(2):
        with pytest.raises(self_reported.SettledByVapi):
            self_reported.reserve(
                organization_id=payer.pk,
                call_id="mine",
                vapi_call_id=call.id,
                estimated_minutes=5,
            )
    vapi.send(call.status("in-progress", clock.at(1)))
    with pytest.raises(self_reported.SettledByVapi):
        self_reported.commit(organization_id=payer.pk, call_id="mine", duration_seconds=301)
    clock.at(310)
    vapi.send(call.report(after(1), after(1 + LASTS_SECONDS)))
    payer.refresh_from_db()
    assert payer.total_spent_pence == PRICE_PENCE
