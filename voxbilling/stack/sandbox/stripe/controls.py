"""What happens at Stripe without voxbilling's doing, by request: POST with JSON, below
`/stripe/sandbox`.

    /settings {"webhooks": "deliver" | "hold" | "lose", "times": 2, "delay_seconds": 5,
               "card_seconds": 1, "debit_seconds": 20, "refunds_begin_as": "pending"}
        How events are sent and how often each, how long the bank takes, and what new refunds are.
        Only what is named changes; GET shows all.
    /cards {"customer", "number"}                           a card that the customer let us keep
    /payments/{payment intent}/succeed, …/fail              how a bank debit ends
    /refunds {"payment_intent", "amount"}                   from the dashboard
    /refunds/{refund}/complete, …/fail                      what becomes of it later
    /disputes {"payment_intent", "amount", "reason", "inquiry": true}
    /disputes/{dispute}/win, …/lose, …/escalate             an inquiry escalates to a dispute
    /webhooks/release {"times": 2, "shuffle_by": 7}         send what is held; shuffled by a seed
    /webhooks/{event}/send {"delay_seconds": 5}             once more, whatever became of it
    GET /webhooks                                           each event, and what became of it
"""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voxbilling.stack.sandbox.bodies import json_of
from voxbilling.stack.sandbox.stripe import cards
from voxbilling.stack.sandbox.stripe.errors import Refused
from voxbilling.stack.sandbox.stripe.objects import Object, Objects
from voxbilling.stack.sandbox.stripe.payments import Payments
from voxbilling.stack.sandbox.stripe.reversals import Reversals
from voxbilling.stack.sandbox.stripe.webhooks import MODES, Webhooks

_MOST_TIMES = 20
_MOST_SECONDS = 86_400
_LARGEST = 1_000_000_000
Control = Callable[[Request, "_Asked"], Awaitable[Object]]


class _Asked:
    """What a control was sent; Refused if it cannot be meant so."""

    def __init__(self, body: Any, known: frozenset[str]) -> None:
        if not isinstance(body, dict) or body.keys() - known:
            raise Refused(400, f"Send a JSON object of {', '.join(sorted(known)) or 'nothing'}.")
        self._body: dict[str, Any] = body

    def text(self, name: str, default: str | None = None) -> str:
        value = self._body.get(name, default)
        if not isinstance(value, str):
            raise Refused(400, f"{name} must be a text.")
        return value

    def one_of(self, name: str, choices: frozenset[str], default: str) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise Refused(400, f"{name} must be one of {', '.join(sorted(choices))}.")
        return value

    def whole(self, name: str, default: int | None, most: int = _LARGEST) -> int | None:
        value = self._body.get(name, default)
        if value is not None and (type(value) is not int or not 0 <= value <= most):
            raise Refused(400, f"{name} must be a whole number from 0 to {most}.")
        return value

    def times(self, default: int) -> int:
        return self.whole("times", default, _MOST_TIMES) or 0

    def seconds(self, name: str, default: float) -> float:
        value = self._body.get(name, default)
        if type(value) not in {int, float} or not 0 <= value <= _MOST_SECONDS:
            raise Refused(400, f"{name} must be a number from 0 to {_MOST_SECONDS}.")
        return float(value)

    def truth(self, name: str) -> bool:
        value = self._body.get(name, False)
        if type(value) is not bool:
            raise Refused(400, f"{name} must be true or false.")
        return value


def routes(
    objects: Objects, webhooks: Webhooks, payments: Payments, reversals: Reversals
) -> list[Route]:
    def settings() -> Object:
        return {
            "webhooks": webhooks.manner.mode,
            "times": webhooks.manner.times,
            "delay_seconds": webhooks.manner.delay_seconds,
            "card_seconds": payments.bank.card_seconds,
            "debit_seconds": payments.bank.debit_seconds,
            "refunds_begin_as": reversals.refunds_begin_as,
        }

    async def set_(_request: Request, asked: _Asked) -> Object:
        manner, bank = webhooks.manner, payments.bank
        mode = asked.one_of("webhooks", MODES, manner.mode)
        times = asked.times(manner.times)
        delay_seconds = asked.seconds("delay_seconds", manner.delay_seconds)
        card_seconds = asked.seconds("card_seconds", bank.card_seconds)
        debit_seconds = asked.seconds("debit_seconds", bank.debit_seconds)
        reversals.refunds_begin_as = asked.one_of(
            "refunds_begin_as", frozenset({"succeeded", "pending"}), reversals.refunds_begin_as
        )
        manner.mode, manner.times, manner.delay_seconds = mode, times, delay_seconds
        bank.card_seconds, bank.debit_seconds = card_seconds, debit_seconds
        return settings()

    async def show_settings(_request: Request) -> Response:
        return JSONResponse(settings())

    async def add_card(_request: Request, asked: _Asked) -> Object:
        customer = objects.get("customer", asked.text("customer"))
        method = cards.make(objects, asked.text("number"), cards.CARD)
        if method is None:
            raise Refused(400, "There is no such card.")
        payments.keep_method(method, customer["id"], may_be_charged=True)
        return objects.shown(method)

    async def settle(request: Request, _asked: _Asked) -> Object:
        intent = objects.get("payment_intent", request.path_params["id"])
        payments.settle_debit(intent, succeeded=request.path_params["act"] == "succeed")
        return objects.shown(intent)

    async def refund(_request: Request, asked: _Asked) -> Object:
        charge = reversals.charge_of(asked.text("payment_intent"))
        amount = asked.whole("amount", None)
        return objects.shown(reversals.refund(charge, amount, metadata={}, reason=None))

    async def end_refund(request: Request, _asked: _Asked) -> Object:
        refund = objects.get("refund", request.path_params["id"])
        end = {"complete": reversals.complete, "fail": reversals.fail}
        end[request.path_params["act"]](refund)
        return objects.shown(refund)

    async def dispute(_request: Request, asked: _Asked) -> Object:
        opened = reversals.dispute(
            reversals.charge_of(asked.text("payment_intent")),
            asked.whole("amount", None),
            reason=asked.text("reason", "fraudulent"),
            is_inquiry=asked.truth("inquiry"),
        )
        return objects.shown(opened)

    async def end_dispute(request: Request, _asked: _Asked) -> Object:
        found = objects.get("dispute", request.path_params["id"])
        if request.path_params["act"] == "escalate":
            reversals.escalate(found)
        else:
            reversals.close(found, won=request.path_params["act"] == "win")
        return objects.shown(found)

    async def release(_request: Request, asked: _Asked) -> Object:
        sent = webhooks.release(times=asked.times(1), shuffle_by=asked.whole("shuffle_by", None))
        return {"sent": [event["id"] for event in sent]}

    async def send(request: Request, asked: _Asked) -> Object:
        event = objects.get("event", request.path_params["id"])
        webhooks.send(event, asked.seconds("delay_seconds", 0))
        return {"sent": [event["id"]]}

    async def show_webhooks(_request: Request) -> Response:
        events = [
            {
                "id": event["id"],
                "type": event["type"],
                "about": event["data"]["object"]["id"],
                "is_held": event["_is_held"],
                "was_delivered": event["pending_webhooks"] == 0,
                "attempts": event["_attempts"],
            }
            for event in objects.newest_first("event")
        ]
        return JSONResponse({"on_their_way": webhooks.on_their_way, "events": events[::-1]})

    def route(path: str, control: Control, *fields: str) -> Route:
        return Route(f"/sandbox/{path}", _answering(control, frozenset(fields)), methods=["POST"])

    return [
        route("settings", set_, *settings()),
        Route("/sandbox/settings", show_settings, methods=["GET"]),
        route("cards", add_card, "customer", "number"),
        route("payments/{id}/{act:str}", settle),
        route("refunds", refund, "payment_intent", "amount"),
        route("refunds/{id}/{act}", end_refund),
        route("disputes", dispute, "payment_intent", "amount", "reason", "inquiry"),
        route("disputes/{id}/{act}", end_dispute),
        route("webhooks/release", release, "times", "shuffle_by"),
        route("webhooks/{id}/send", send, "delay_seconds"),
        Route("/sandbox/webhooks", show_webhooks, methods=["GET"]),
    ]


def _answering(control: Control, fields: frozenset[str]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        try:
            body = await json_of(request) if await request.body() else {}
            return JSONResponse(await control(request, _Asked(body, fields)))
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, status_code=refused.status)
        except ValueError:
            return JSONResponse({"error": "The body is no JSON."}, status_code=400)

    return answer
