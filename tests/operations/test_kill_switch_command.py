"""`test_kill_switch`, at a server of this process and at servers that are wrong."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from calls import kill_switch
from tests.operations.wrong_server import wrong_server
from wallets.models import CreditReservation, CreditTransaction, Organization
from wallets.selectors import ledger_differences

pytestmark = pytest.mark.django_db(transaction=True)


def run(base_url):
    out = StringIO()
    call_command("test_kill_switch", base_url=base_url, stdout=out)
    return out.getvalue()


def failing(base_url):
    """The names of the checks that fail."""
    out = StringIO()
    with pytest.raises(CommandError, match="checks failed"):
        call_command("test_kill_switch", base_url=base_url, stdout=out)
    lines = out.getvalue().splitlines()
    return [line[2:].partition(":")[0] for line in lines if line.startswith("✗")]


def test_a_working_kill_switch_passes_every_check(live_server):
    lines = run(live_server.url).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "✓ health",
        "✓ no call id",
        "✓ unknown call",
        "✓ funded call",
        "✓ call running dry, after 57 s of 60",
        "✓ call running dry, after 58 s of 60",
        "✓ end of the funded call",
        "✓ end of the call that ran dry",
        "The kill switch works.",
    ]
    assert '"remaining_seconds": 3,' not in lines[3]
    assert '"remaining_seconds": 3' in lines[4]


def test_every_run_uses_the_same_two_wallets_and_leaves_nothing_held(live_server):
    entries = []
    for _ in range(3):
        run(live_server.url)
        entries.append(CreditTransaction.objects.count())
    assert Organization.objects.count() == 2
    # Each run refills two wallets and charges two calls.
    assert entries == [4, 8, 12]
    assert not CreditReservation.objects.filter(status=CreditReservation.Status.ACTIVE).exists()
    assert ledger_differences() == []


def test_it_runs_again_after_a_run_that_broke_off(live_server, monkeypatch):
    async def break_off(vapi, call):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("voxbilling.operations.simulation.kill_switch._end", break_off)
        with pytest.raises(KeyboardInterrupt):
            run(live_server.url)
    assert CreditReservation.objects.filter(status=CreditReservation.Status.ACTIVE).count() == 2
    run(live_server.url)


def test_it_finds_a_kill_switch_that_never_ends_a_call(live_server, monkeypatch):
    monkeypatch.setattr(kill_switch, "_elapsed", lambda *_: 0)
    assert failing(live_server.url) == [
        "call running dry, after 57 s of 60",
        "call running dry, after 58 s of 60",
    ]


def test_it_finds_a_kill_switch_that_counts_a_calls_hold_against_it(live_server, monkeypatch):
    def as_the_system_did_that_this_one_replaces(call, organization, reservation, now, **_):
        left_pence = organization.effective_balance_pence - reservation.reserved_pence
        remaining_seconds = organization.tariff.affordable_seconds(left_pence)
        must_end, message = kill_switch._verdict(organization, remaining_seconds)
        return kill_switch.Decision(
            must_end=must_end, message=message, remaining_seconds=remaining_seconds
        )

    monkeypatch.setattr(kill_switch, "decide", as_the_system_did_that_this_one_replaces)
    assert failing(live_server.url) == ["funded call", "call running dry, after 57 s of 60"]


def test_it_finds_a_kill_switch_that_ends_what_it_does_not_know(live_server, monkeypatch):
    monkeypatch.setattr(
        kill_switch,
        "check_status",
        lambda **_: kill_switch.StatusCheck(end_call=True),
    )
    assert failing(live_server.url) == [
        "no call id",
        "unknown call",
        "funded call",
        "call running dry, after 57 s of 60",
    ]


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b"broken"), (401, b'{"error": "no"}'), (200, b"<html>"), (200, b"[]"), (200, b'""')],
)
def test_a_server_that_is_not_voxbilling_fails_every_check(status, body):
    with wrong_server(status, body) as url:
        assert len(failing(url)) == 8


def test_a_server_that_lets_every_call_go_on_fails(live_server):
    with wrong_server(200, b'{"endCall": false}') as url:
        assert "call running dry, after 58 s of 60" in failing(url)


def test_no_server_is_no_success():
    with wrong_server(200, b"") as url:
        pass
    with pytest.raises(CommandError, match="cannot be reached"):
        run(url)


def test_without_a_stack_or_an_address_it_says_what_to_do(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    with pytest.raises(CommandError, match="make run"):
        run(None)


def test_without_a_secret_it_says_which(settings):
    settings.VAPI_WEBHOOK_SECRETS = []
    with pytest.raises(CommandError, match="VAPI_WEBHOOK_SECRETS"):
        run("http://127.0.0.1:9")
