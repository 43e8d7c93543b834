"""The pages on which people pay: Checkout, and the bank that wants to see the card's holder."""

from html import escape
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from voxbilling.stack.sandbox.stripe import cards
from voxbilling.stack.sandbox.stripe.checkout import Checkout
from voxbilling.stack.sandbox.stripe.errors import Refused
from voxbilling.stack.sandbox.stripe.objects import Object, Objects
from voxbilling.stack.sandbox.stripe.payments import Payments

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 sans-serif; max-width: 28rem; margin: 2rem auto; padding: 0 1rem }}
input, button {{ font: inherit; padding: .4rem; width: 100%; box-sizing: border-box }}
button {{ margin: .5rem 0 }}
[role=alert] {{ color: #a00000 }}
</style>
<p><small>Sandbox: no real card, no real money.</small></p>
<h1>{title}</h1>
{content}
</html>
"""
_CARD_FORM = """<form method="post">
<label for="card_number">Card number</label>
<input id="card_number" name="card_number" inputmode="numeric" autocomplete="off" required>
<button>Pay {amount}</button>
</form>
"""
_BANK_FORM = """<form method="post">
<label for="account_number">Account number, for bank debit</label>
<input id="account_number" name="account_number" inputmode="numeric" autocomplete="off" required>
<button>Pay {amount} by bank debit</button>
</form>
"""
_NUMBERS = """<details><summary>Numbers for testing</summary>
<p>4242 4242 4242 4242 pays, 4000 0000 0000 0002 is declined, 4000 0027 6000 3184 asks to
authenticate. Account 00012345 pays after a while, 22222227 fails after a while.</p></details>
"""
_CONSENT = (
    "<p>By paying, you let the seller keep this way of paying, and charge it for future payments "
    "that you agreed to with them.</p>"
)


def routes(objects: Objects, payments: Payments, checkout: Checkout) -> list[Route]:
    async def show(request: Request) -> Response:
        try:
            session = checkout.find(request.path_params["id"])
        except Refused as refused:
            return _page("Not found", f"<p>{escape(str(refused))}</p>", status=404)
        return _session_page(session, _last_error(session))

    async def pay(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        try:
            session = checkout.find(request.path_params["id"])
            method = _method(form, session["payment_method_types"])
            if method is None:
                return _session_page(session, "Your card number is invalid.", status=402)
            await checkout.pay(session, method)
        except Refused as refused:
            return _page("Not paid", f"<p role=alert>{escape(str(refused))}</p>", status=409)
        return _onward(session) or _session_page(session, _last_error(session), status=402)

    async def show_authentication(request: Request) -> Response:
        try:
            intent = objects.get("payment_intent", request.path_params["id"])
        except Refused as refused:
            return _page("Not found", f"<p>{escape(str(refused))}</p>", status=404)
        if intent["status"] != "requires_action":
            return _page("Your bank", "<p>There is nothing to authenticate.</p>", status=409)
        return _page(
            "Your bank",
            f"<p>Is it you who pays {_amount(intent['amount'], intent['currency'])}?</p>"
            '<form method="post">'
            '<button name="outcome" value="complete">Complete authentication</button>'
            '<button name="outcome" value="fail">Fail authentication</button></form>',
        )

    async def authenticate(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        try:
            intent = objects.get("payment_intent", request.path_params["id"])
            payments.authenticate(intent, completed=form.get("outcome") == "complete")
        except Refused as refused:
            return _page("Your bank", f"<p role=alert>{escape(str(refused))}</p>", status=409)
        if intent["_session"] is not None:
            session = checkout.find(intent["_session"])
            return _onward(session) or RedirectResponse(session["url"], status_code=303)
        outcome = "succeeded" if intent["status"] == "succeeded" else "failed"
        query = urlencode({"payment_intent": intent["id"], "redirect_status": outcome})
        if intent["_return_url"] is None:
            return _page("Your bank", f"<p>The payment {outcome}.</p>")
        joint = "&" if "?" in intent["_return_url"] else "?"
        return RedirectResponse(f"{intent['_return_url']}{joint}{query}", status_code=303)

    def _method(form: dict[str, str], types: list[str]) -> Object | None:
        for name, kind in (("card_number", cards.CARD), ("account_number", cards.BANK_DEBIT)):
            if name in form and kind in types:
                return cards.make(objects, form[name], kind)
        return None

    def _last_error(session: Object) -> str | None:
        if session["payment_intent"] is None:
            return None
        error = objects.get("payment_intent", session["payment_intent"])["last_payment_error"]
        return None if error is None else str(error["message"])

    def _onward(session: Object) -> Response | None:
        """To the bank or back to the seller; nowhere while it is still to be paid here."""
        url = checkout.waits_for_authentication(session)
        if session["status"] == "complete":
            url = _success_url(session)
        return None if url is None else RedirectResponse(url, status_code=303)

    return [
        Route("/checkout/{id}", show, methods=["GET"]),
        Route("/checkout/{id}", pay, methods=["POST"]),
        Route("/authenticate/{id}", show_authentication, methods=["GET"]),
        Route("/authenticate/{id}", authenticate, methods=["POST"]),
    ]


def _session_page(session: Object, error: str | None, *, status: int = 200) -> Response:
    if session["status"] == "complete":
        back = f'<p><a href="{escape(_success_url(session))}">Back to the seller</a></p>'
        return _page("This is done", back)
    leave = ""
    if session["cancel_url"] is not None:
        leave = f'<p><a href="{escape(session["cancel_url"])}">Cancel and go back</a></p>'
    if session["status"] == "expired":
        return _page("This page has expired", leave, status=410)
    amount = _amount(session["amount_total"], session["currency"])
    types = session["payment_method_types"]
    parts = [
        f"<p>{escape(session['_name'])}: <strong>{amount}</strong></p>",
        f"<p role=alert>{escape(error)}</p>" if error else "",
        _CONSENT if session["_payment"]["setup_future_usage"] == "off_session" else "",
        _CARD_FORM.format(amount=amount) if cards.CARD in types else "",
        _BANK_FORM.format(amount=amount) if cards.BANK_DEBIT in types else "",
        leave,
        _NUMBERS,
    ]
    return _page(f"Pay {amount}", "".join(parts), status=status)


def _success_url(session: Object) -> str:
    url: str = session["success_url"]
    return url.replace("{CHECKOUT_SESSION_ID}", session["id"])


def _amount(amount: int, currency: str) -> str:
    units, hundredths = divmod(amount, 100)
    text = f"{units:,}.{hundredths:02}"
    return f"£{text}" if currency == "gbp" else escape(f"{text} {currency.upper()}")


def _page(title: str, content: str, *, status: int = 200) -> Response:
    return HTMLResponse(_PAGE.format(title=title, content=content), status_code=status)
