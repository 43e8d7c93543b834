"""The addresses of Stripe's API, as far as voxbilling asks them.

Operations that faults can hit are named after what they do: `customers.create`, `refunds.list`.
"""

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from voxbilling.stack.sandbox.faults import Faults
from voxbilling.stack.sandbox.stripe.checkout import SESSION_FIELDS, Checkout
from voxbilling.stack.sandbox.stripe.desk import Desk, Work
from voxbilling.stack.sandbox.stripe.errors import Refused, failure
from voxbilling.stack.sandbox.stripe.forms import Params
from voxbilling.stack.sandbox.stripe.intents import CONFIRM_FIELDS, CREATE_FIELDS, Intents
from voxbilling.stack.sandbox.stripe.objects import Object, Objects
from voxbilling.stack.sandbox.stripe.payments import Payments
from voxbilling.stack.sandbox.stripe.reversals import Reversals
from voxbilling.stack.sandbox.stripe.webhooks import Webhooks

_PAGE = ("limit", "starting_after", "created")


def routes(
    objects: Objects,
    webhooks: Webhooks,
    payments: Payments,
    checkout: Checkout,
    reversals: Reversals,
    faults: Faults,
) -> list[Route]:
    desk, intents = Desk(objects), Intents(objects, payments)

    async def create_customer(_request: Request, params: Params) -> Object:
        fields = {name: params.text(name) for name in ("email", "name", "description", "phone")}
        customer = objects.add("customer", {**fields, "metadata": params.metadata()})
        webhooks.tell("customer.created", customer)
        return _shown(customer, params)

    async def list_payment_methods(request: Request, params: Params) -> Object:
        customer = request.path_params.get("id") or params.needed("customer")
        objects.get("customer", customer, param="customer")
        return _listed("payment_method", request, params, customer=customer)

    async def detach(request: Request, params: Params) -> Object:
        method = objects.get("payment_method", request.path_params["id"])
        if method["customer"] is None:
            raise Refused(
                400,
                "The payment method is not attached to a customer, so detachment is impossible.",
            )
        webhooks.tell("payment_method.detached", method)
        method["customer"] = None
        objects.changed()
        return _shown(method, params)

    async def create_session(_request: Request, params: Params) -> Object:
        return _shown(checkout.create(params), params)

    async def get_session(request: Request, params: Params) -> Object:
        return _shown(checkout.find(request.path_params["id"]), params)

    async def list_sessions(request: Request, params: Params) -> Object:
        checkout.bring_up_to_date()
        return _listed("checkout.session", request, params)

    async def expire_session(request: Request, params: Params) -> Object:
        session = checkout.find(request.path_params["id"])
        checkout.expire(session)
        return _shown(session, params)

    async def create_refund(_request: Request, params: Params) -> Object:
        if params.text("payment_intent") is None:
            charge = objects.get("charge", params.needed("charge"), param="charge")
            charge = reversals.charge_of(charge["payment_intent"])
        else:
            charge = reversals.charge_of(params.needed("payment_intent"))
        refund = reversals.refund(
            charge,
            params.whole("amount"),
            metadata=params.metadata(),
            reason=params.text("reason"),
        )
        return _shown(refund, params)

    async def list_events(request: Request, params: Params) -> Object:
        types = params.texts("types") or ([params.needed("type")] if "type" in params else None)
        delivered = params.truth("delivery_success")

        def is_asked_for(event: Object) -> bool:
            was_delivered = event["pending_webhooks"] == 0
            return (types is None or event["type"] in types) and delivered in {None, was_delivered}

        return objects.listed("event", params, url=_url(request), keep=is_asked_for)

    def get(kind: str) -> Work:
        async def work(request: Request, params: Params) -> Object:
            return _shown(objects.get(kind, request.path_params["id"]), params)

        return work

    def list_(kind: str) -> Work:
        async def work(request: Request, params: Params) -> Object:
            return _listed(kind, request, params)

        return work

    def _shown(found: Object, params: Params) -> Object:
        return objects.shown(found, params.texts("expand"))

    def _listed(kind: str, request: Request, params: Params, **wanted: Any) -> Object:
        names = {"customer", "payment_intent", "charge", "status", "type"}
        wanted |= {name: params.needed(name) for name in names if name in params}
        return objects.listed(
            kind,
            params,
            url=_url(request),
            keep=lambda each: all(each.get(name) == value for name, value in wanted.items()),
        )

    def route(method: str, path: str, name: str, work: Work, fields: Iterable[str] = ()) -> Route:
        can_fail = faults.can_hit("stripe", name, failure=failure)
        return Route(f"/v1/{path}", can_fail(desk.answering(work, fields)), methods=[method])

    customer = ("email", "name", "description", "phone", "metadata")
    refund = ("payment_intent", "charge", "amount", "metadata", "reason")
    session = SESSION_FIELDS
    of_payment = ("payment_intent", "charge", *_PAGE)
    return [
        route("POST", "customers", "customers.create", create_customer, customer),
        route("GET", "customers/{id}", "customers.retrieve", get("customer")),
        route(
            *("GET", "customers/{id}/payment_methods", "customers.payment_methods"),
            *(list_payment_methods, ("type", *_PAGE)),
        ),
        route(
            *("GET", "payment_methods", "payment_methods.list"),
            *(list_payment_methods, ("customer", "type", *_PAGE)),
        ),
        route("GET", "payment_methods/{id}", "payment_methods.retrieve", get("payment_method")),
        route("POST", "payment_methods/{id}/detach", "payment_methods.detach", detach),
        route("POST", "checkout/sessions", "sessions.create", create_session, session),
        route(
            *("GET", "checkout/sessions", "sessions.list", list_sessions),
            ("customer", "payment_intent", "status", *_PAGE),
        ),
        route("GET", "checkout/sessions/{id}", "sessions.retrieve", get_session),
        route("POST", "checkout/sessions/{id}/expire", "sessions.expire", expire_session),
        route("POST", "payment_intents", "payment_intents.create", intents.create, CREATE_FIELDS),
        route(
            *("GET", "payment_intents", "payment_intents.list"),
            *(list_("payment_intent"), ("customer", *_PAGE)),
        ),
        route("GET", "payment_intents/{id}", "payment_intents.retrieve", get("payment_intent")),
        route(
            *("POST", "payment_intents/{id}/confirm", "payment_intents.confirm"),
            *(intents.confirm, CONFIRM_FIELDS),
        ),
        route(
            *("POST", "payment_intents/{id}/cancel", "payment_intents.cancel"),
            *(intents.cancel, ("cancellation_reason",)),
        ),
        route("GET", "charges/{id}", "charges.retrieve", get("charge")),
        route("POST", "refunds", "refunds.create", create_refund, refund),
        route("GET", "refunds", "refunds.list", list_("refund"), of_payment),
        route("GET", "refunds/{id}", "refunds.retrieve", get("refund")),
        route("GET", "disputes", "disputes.list", list_("dispute"), of_payment),
        route("GET", "disputes/{id}", "disputes.retrieve", get("dispute")),
        route(
            *("GET", "events", "events.list", list_events),
            ("type", "types", "delivery_success", *_PAGE),
        ),
        route("GET", "events/{id}", "events.retrieve", get("event")),
    ]


def _url(request: Request) -> str:
    """The path as Stripe's root has it, wherever the sandbox is mounted."""
    return request.url.path.removeprefix(request.scope.get("root_path", ""))
