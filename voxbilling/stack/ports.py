"""Loopback ports for web and sandbox, kept for them before they listen."""

import socket

from voxbilling.stack import StackError


def reserve(port: int) -> socket.socket:
    """A bound socket that keeps `port` (0: a free one) from others until it is closed.

    Granian listens with SO_REUSEPORT, under which a second stack would be let in without a word
    and get half of the requests. So look first whether the port is free without it.
    """
    try:
        with socket.socket() as strict:
            # Connections of an earlier stack that are still closing are no obstacle.
            strict.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            strict.bind(("127.0.0.1", port))
            port = strict.getsockname()[1]
        kept = socket.socket()
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise StackError(
            f"Port {port} of 127.0.0.1 cannot be used ({error}): choose another with PORT, or "
            "PORT=0 for a free one."
        ) from None
    return kept
