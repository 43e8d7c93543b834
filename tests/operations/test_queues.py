"""What waits for Stripe, Twilio or the mail server never stands before the work on live calls."""

import pytest

from voxbilling import celery
from voxbilling.celery import app
from voxbilling.stack.supervisor import CommandLines


def tasks_of_ours():
    app.loader.import_default_modules()
    return {name for name in app.tasks if not name.startswith("celery.")}


def queue_of(task):
    return app.amqp.router.route({}, task)["queue"].name


def queue_served_by(command):
    return command[command.index("--queues") + 1]


def test_calls_and_messages_have_a_queue_of_their_own():
    of_calls = {task for task in tasks_of_ours() if queue_of(task) == "calls"}

    assert of_calls == {task for task in tasks_of_ours() if task.startswith("calls.")} | {
        "webhooks.tasks.retry_webhook_events"
    }
    assert {
        "calls.tasks.watch_live_calls",
        "calls.tasks.watch_due_calls",
        "calls.ends.send_end",
    } <= (of_calls)


@pytest.mark.parametrize(
    "task",
    [
        "wallets.tasks.recharge_wallet",
        "wallets.tasks.ask_about_topups",
        "wallets.tasks.send_alerts",
        "webhooks.tasks.fetch_missed_events",
        "telephony.tasks.resume_number_orders",
    ],
)
def test_what_waits_for_a_provider_has_another(task):
    assert task in tasks_of_ours()
    assert queue_of(task) == "providers"


def test_each_queue_is_served_by_one_worker_that_serves_no_other():
    commands = CommandLines()

    assert queue_served_by(commands.worker) == "calls"
    assert queue_served_by(commands.provider_worker) == "providers"
    assert {queue_of(task) for task in celery.periodic_tasks()} == {"calls", "providers"}
