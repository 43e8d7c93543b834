"""Many requests at the same moment to a running server, and what must have come of them."""
