"""A local stand-in for the providers, spoken to over HTTP through the real clients.

It knows only as much of each provider as voxbilling uses, holds everything in bounded memory, and
proves nothing about what the real ones accept. Each provider's modules have `routes()` that the
application mounts under the provider's name.
"""
