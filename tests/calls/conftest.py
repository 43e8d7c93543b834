from tests.webhooks.fixtures import clock, control_server, end_tasks, vapi

__all__ = ["clock", "control_server", "end_tasks", "vapi"]
