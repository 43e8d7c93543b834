"""The JSON API of calls: those that a customer's program settles, and all of them to look at."""
