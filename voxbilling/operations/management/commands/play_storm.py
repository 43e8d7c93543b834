"""What `manage.py storm` runs on its stack."""

import argparse
import asyncio
import os
import signal
import time
from typing import Any

import httpx
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from voxbilling.operations.management.commands.storm import add_storm_arguments
from voxbilling.operations.simulation.server import find_server
from voxbilling.operations.storm.judge import Verdict, judge, unsettled
from voxbilling.operations.storm.plan import Disturbance, Plan, make_plan
from voxbilling.operations.storm.play import Truth, play
from voxbilling.operations.storm.wallets import open_accounts

# What reports do not settle is looked up at Vapi after a while.
_SETTLE_SECONDS = 300
_LOOK_SECONDS = 2
_PROBLEMS_SHOWN = 20
_SIGNALS = {
    Disturbance.KILL_WORKER: signal.SIGUSR1,
    Disturbance.RESTART_DATABASE: signal.SIGUSR2,
}


class Command(BaseCommand):
    help = "Used by `manage.py storm` on the stack that it starts."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_storm_arguments(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        # Its signals would end any other process.
        if os.environ.get("VOXBILLING_STORM_PID") != str(os.getppid()):
            raise CommandError("Use `manage.py storm`, which starts the stack that this needs.")
        seed = options["seed"] or 0
        console = Console(highlight=False)
        plan = make_plan(calls=options["calls"], seed=seed)
        console.print(
            f"\nSeed {seed}: {len(plan.calls)} calls on {len(plan.wallets)} wallets, over "
            f"{plan.calls[-1].starts_at_seconds:.0f} s or more.\n"
        )
        truths = _play(plan, console)
        _wait_until_settled(truths, console)
        verdict = judge(truths)
        console.print(_table(truths, verdict))
        console.print("Latest after the end of their money:", *verdict.latest_cuts(3), sep="\n")
        if verdict.problems:
            shown = verdict.problems[:_PROBLEMS_SHOWN]
            raise CommandError(
                "\n".join(
                    [
                        f"The storm of seed {seed} with {len(truths)} calls found "
                        f"{len(verdict.problems)} problems:",
                        *shown,
                        *(["…"] if len(verdict.problems) > len(shown) else []),
                    ]
                )
            )
        console.print("Every connected call was charged once, and every penny is accounted for.")


def _play(plan: Plan, console: Console) -> list[Truth]:
    accounts = open_accounts(plan.wallets)
    # It would not outlive the restart of the database.
    connection.close()
    columns = (TextColumn("calls started"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("calls", total=len(plan.calls))

        def disturb(disturbance: Disturbance) -> None:
            progress.console.print(f"Now {disturbance}.")
            if disturbance in _SIGNALS:
                os.kill(os.getppid(), _SIGNALS[disturbance])

        try:
            return asyncio.run(
                play(
                    plan,
                    accounts,
                    find_server(None).sandbox_url,
                    disturb=disturb,
                    on_start=lambda: progress.advance(bar),
                )
            )
        except httpx.HTTPError as error:
            raise CommandError(f"The sandbox did not do what it should: {error!r}.") from error


def _wait_until_settled(truths: list[Truth], console: Console) -> None:
    began = time.monotonic()
    while (left := unsettled(truths)) and time.monotonic() < began + _SETTLE_SECONDS:
        time.sleep(_LOOK_SECONDS)
    seconds = time.monotonic() - began
    console.print(f"{seconds:.0f} s after the last call, {left} calls and holds are unsettled.")


def _table(truths: list[Truth], verdict: Verdict) -> Table:
    table = Table(title="What the storm did", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    cut = verdict.cut_percentiles
    ended_by_us = sum(truth.end_accepted_at is not None for truth in truths)
    rows = {
        "calls": f"{len(truths):,}",
        "connected": f"{verdict.connected:,}",
        "ended through their control URL": f"{ended_by_us:,}",
        "pence charged": f"{verdict.charged_pence:,}",
        "overrun, pence per 1,000 calls": f"{verdict.overrun_pence_per_1000_calls:,.1f}",
        "from money ended to call ended, p50": f"{cut[0]:+,.0f} ms" if cut else "no such call",
        "from money ended to call ended, p99": f"{cut[1]:+,.0f} ms" if cut else "no such call",
        "calls not billed": f"{verdict.not_billed:,}",
        "calls billed twice": f"{verdict.billed_twice:,}",
    }
    for name, figure in rows.items():
        table.add_row(name, figure)
    return table
