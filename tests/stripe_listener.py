"""A voxbilling that only listens to Stripe's webhooks, in a thread of this process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stripe

SECRET = "whsec_of_the_listener"


class Listener:
    """What was heard, in order, and verified as Stripe's SDK does it.

    `status_of` says what each event is answered, 200 unless set otherwise.
    """

    def __init__(self) -> None:
        self.events: list[stripe.Event] = []
        self.status_of: Callable[[stripe.Event], int] = lambda _event: 200
        self.url = ""

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    def hear(self, body: bytes, signature: str) -> int:
        client = stripe.StripeClient("sk_test_unused")
        event = client.construct_event(body, signature, SECRET, tolerance=300)
        status = self.status_of(event)
        self.events.append(event)
        return status


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                status = listener.hear(body, self.headers["Stripe-Signature"])
            except stripe.SignatureVerificationError:
                status = 400
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    listener.url = f"http://127.0.0.1:{server.server_port}/api/stripe/webhook"
    try:
        yield listener
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
