"""Of many commands at once, one takes the wallet below its threshold, and only that one says so."""

from unittest import mock

import pytest

from tests.concurrency.harness import run_together, run_together_without_locks
from tests.factories import OrganizationFactory
from tests.wallets.steps import buy, commit
from voxbilling import after_commit
from wallets.ledger.crossings import RECHARGE_TASK
from wallets.models import Alert

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def organization(request):
    """It asks for a refill below 2,000p, and has 3,000p."""
    if "without_safeguards" in request.fixturenames:
        request.getfixturevalue("without_safeguards")
    return OrganizationFactory(
        funded_pence=3_000, auto_recharge_enabled=True, auto_recharge_threshold_pence=2_000
    )


@pytest.fixture
def send_task():
    # The object in the module: which application is current differs between threads.
    with mock.patch.object(after_commit, "current_app") as current_app:
        yield current_app.send_task


def recharges(send_task):
    return [call.args for call in send_task.call_args_list if call.args[0] == RECHARGE_TASK]


def test_given_fifty_commits_that_cross_at_once_then_one_refill_is_asked_for(
    organization, send_task
):
    outcomes = run_together(
        [
            lambda number=number: commit(f"call-{number}", 60, organization_id=organization.pk)
            for number in range(50)
        ]
    )

    assert all(outcome.succeeded for outcome in outcomes)
    assert len(recharges(send_task)) == 1
    assert [alert.kind for alert in Alert.objects.all()] == ["low_balance"]


def test_control_without_the_lock_each_says_so(organization, send_task, without_safeguards):
    run_together_without_locks([lambda: buy(organization, 1_500)] * 2)

    assert len(recharges(send_task)) == 2
