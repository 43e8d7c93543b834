"""The ledger's rules once more, as plain Python over dictionaries: what the commands should do.

It knows no database, no locks and no entries, and shares no code with the product. Each method
returns the figures to expect, or the name of the refusal.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction


def price(seconds: int, tariff: tuple[int, int]) -> int:
    rate, increment = tariff
    billed = math.ceil(Fraction(seconds, increment)) * increment
    return math.ceil(Fraction(billed * rate, 60))


def down_to_increments(pence: int, tariff: tuple[int, int]) -> int:
    """The price of the most whole increments that `pence` pay for."""
    rate, increment = tariff
    return price(max(pence * 60 // (rate * increment), 0) * increment, tariff)


@dataclass
class Wallet:
    tariff: tuple[int, int]
    recovers: bool = True
    balance: int = 0
    owed: int = 0
    limit: int = 0
    suspended: bool = False
    reductions: int = 0  # recoveries and write-offs so far
    keys: dict = field(default_factory=dict)  # (operation, key) → (details, figures)

    def reserved(self, calls) -> int:
        return sum(call.hold for call in calls if call.wallet is self and call.status == "active")


@dataclass
class Call:
    wallet: Wallet
    call_id: str
    vapi_call_id: str | None
    tariff: tuple[int, int]
    hold: int
    status: str
    expires: float
    settlement: dict | None = None
    correction: dict | None = None
    reductions_before: int = 0


class ReferenceLedger:
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.now = 0.0  # minutes

    def free(self, wallet: Wallet) -> int:
        return wallet.balance - wallet.reserved(self.calls)

    def find(self, call_id: str) -> Call | None:
        return self.find_by(vapi=call_id) or self.find_by(own=call_id)

    def find_by(self, *, vapi: str | None = None, own: str | None = None) -> Call | None:
        for call in self.calls:
            if (vapi and call.vapi_call_id == vapi) or (own and call.call_id == own):
                return call
        return None

    # --- calls ---

    def reserve(self, wallet, call_id, vapi_call_id, minutes):
        ids = {call_id, vapi_call_id or call_id}
        named = [call for call in self.calls if {call.call_id, call.vapi_call_id} & ids]
        if any(call.wallet is not wallet for call in named):
            return "IdempotencyConflict"
        if named:
            meant = self.find_by(vapi=vapi_call_id) or self.find_by(vapi=call_id)
            meant = meant or self.find_by(own=call_id) or self.find_by(own=vapi_call_id)
            if len(named) == 1 and meant.vapi_call_id is None and vapi_call_id:
                if meant.status == "active":
                    meant.vapi_call_id = vapi_call_id
                elif vapi_call_id != meant.call_id:
                    return "IdempotencyConflict"
            return {"reserved_pence": meant.hold, "active": meant.status == "active"}
        if wallet.suspended:
            return "OrganizationSuspended"
        spendable = self.free(wallet) + wallet.limit
        hold = price(minutes * 60, wallet.tariff)
        if hold > spendable:
            hold = down_to_increments(spendable, wallet.tariff)
        if hold == 0:
            return "InsufficientBalance"
        self.calls.append(
            Call(wallet, call_id, vapi_call_id, wallet.tariff, hold, "active", self.now + 30)
        )
        return {"reserved_pence": hold}

    def extend(self, call_id, seconds):
        call = self.find(call_id)
        if call is None:
            return "ReservationNotFound"
        if call.status == "active":
            possible = call.hold + self.free(call.wallet) + call.wallet.limit
            wanted = price(seconds, call.tariff)
            if wanted > possible:
                wanted = down_to_increments(possible, call.tariff)
            if call.wallet.suspended and wanted > call.hold:
                return "OrganizationSuspended"
            call.hold = max(call.hold, wanted)
            call.expires = max(call.expires, self.now + 30)
        return {"reserved_pence": call.hold, "active": call.status == "active"}

    def release(self, call_id):
        call = self.find(call_id)
        if call is None:
            return "ReservationNotFound"
        if call.status == "active":
            call.status = "released"
        if call.status == "committed":
            return {"released_pence": call.settlement["released_pence"]}
        return {"released_pence": call.hold}

    def expire(self):
        overdue = [c for c in self.calls if c.status == "active" and c.expires < self.now]
        for call in overdue:
            call.status = "expired"
        return len(overdue)

    def commit(self, call_id, seconds, wallet):
        call = self.find(call_id)
        if call is None and wallet is None:
            return "ReservationNotFound"
        if call is not None and wallet is not None and call.wallet is not wallet:
            return "IdempotencyConflict"
        if call is None:
            call = Call(wallet, call_id, None, wallet.tariff, 0, "active", self.now + 30)
            self.calls.append(call)
        if call.settlement is None:
            wallet = call.wallet
            held = call.hold if call.status == "active" else 0
            cost = price(seconds, call.tariff)
            charged = min(cost, held + self.free(wallet) + wallet.limit)
            if call.status == "active":
                call.status = "committed"
            wallet.balance -= charged
            wallet.owed += cost - charged
            call.reductions_before = wallet.reductions
            call.settlement = {
                "reserved_pence": held,
                "actual_cost_pence": cost,
                "uncollected_pence": cost - charged,
                "released_pence": max(held - charged, 0),
                "duration_seconds": seconds,
            }
        return call.settlement

    def correct(self, wallet, call_id, seconds):
        call = self.find(call_id)
        if call is None:
            return "ReservationNotFound"
        if call.wallet is not wallet:
            return "IdempotencyConflict"
        if call.settlement is None:
            return "CallNotSettled"
        if call.correction is None:
            cost, owed = (call.settlement[f"{x}_pence"] for x in ("actual_cost", "uncollected"))
            taken = cost - owed
            change = price(seconds, call.tariff) - cost
            unclear = 0
            if change > 0:
                paid = min(change, self.free(wallet) + wallet.limit)
                more_owed = change - paid
            else:
                less_owed = min(-change, owed)
                # Once anything was recovered or written off, what is owed may be other calls'.
                reduced_since = taken + owed and wallet.reductions > call.reductions_before
                more_owed = 0 if reduced_since else -less_owed
                unclear = less_owed + more_owed
                paid = change + less_owed
            wallet.owed += more_owed
            wallet.balance -= paid
            call.correction = {
                "settled_seconds": call.settlement["duration_seconds"],
                "corrected_seconds": seconds,
                "charged_pence": taken + paid,
                "uncollected_pence": owed + more_owed,
                "unclear_pence": unclear,
            }
        return call.correction

    def give_up(self, wallet, call_id):
        call = self.find(call_id)
        if call is None:
            return "ReservationNotFound"
        if call.wallet is not wallet:
            return "IdempotencyConflict"
        call.call_id = None
        if call.vapi_call_id == call_id:
            call.vapi_call_id = None
        held = 0
        if call.status == "active" and call.vapi_call_id is None:
            held = call.hold
            call.status = "released"
        seconds = call.settlement["duration_seconds"] if call.settlement else None
        return {"released_pence": held, "settled_seconds": seconds}

    # --- money ---

    def once(self, wallet, operation, key, details, change):
        """`change` decides and acts, unless this key did already."""
        first = wallet.keys.get((operation, key))
        if first is not None:
            return first[1] if first[0] == details else "IdempotencyConflict"
        before = wallet.balance
        figures = change()
        if isinstance(figures, str):
            return figures
        figures = {"balance_before_pence": before, "balance_after_pence": wallet.balance} | figures
        wallet.keys[operation, key] = (details, figures)
        return figures

    def buy(self, wallet, pence, kind, key):
        def change():
            if wallet.suspended:
                return "OrganizationSuspended"
            return self.debit(wallet, pence)

        return self.once(wallet, "asset", key, (pence, kind), change)

    def debit(self, wallet, pence):
        if self.free(wallet) < pence:
            return "InsufficientBalance"
        wallet.balance -= pence
        return {}

    def credit(self, wallet, pence, kind, key):
        def change():
            wallet.balance += pence
            figures = {"amount_pence": pence, "balance_after_pence": wallet.balance}
            if kind == "topup" and wallet.recovers:
                paid = max(min(wallet.owed, self.free(wallet)), 0)
                wallet.owed -= paid
                wallet.balance -= paid
            return figures

        return self.once(wallet, "credit", key, (pence, kind), change)

    def adjust(self, wallet, pence, key):
        def change():
            if pence < 0:
                return self.debit(wallet, -pence)
            wallet.balance += pence
            return {}

        return self.once(wallet, "adjustment", key, pence, change)

    def claw_back(self, wallet, pence, key):
        def change():
            taken = min(pence, self.free(wallet) + wallet.limit)
            wallet.balance -= taken
            wallet.owed += pence - taken
            wallet.suspended = True
            return {"amount_pence": taken, "owed_change_pence": pence - taken}

        return self.once(wallet, "clawback", key, pence, change)

    def reduce_owed(self, wallet, pence, key, *, pays):
        def change():
            if pence > wallet.owed:
                return "MoreThanOwed"
            if pays and self.free(wallet) < pence:
                return "InsufficientBalance"
            wallet.owed -= pence
            wallet.reductions += 1
            wallet.balance -= pence if pays else 0
            return {"owed_change_pence": -pence}

        return self.once(wallet, "recovery" if pays else "write_off", key, pence, change)

    def set_limit(self, wallet, pence):
        if self.free(wallet) < -pence:
            return "DebtLimitInUse"
        wallet.limit = pence
        return None
