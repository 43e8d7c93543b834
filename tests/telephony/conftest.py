from tests.webhooks.fixtures import control_server

__all__ = ["control_server"]
