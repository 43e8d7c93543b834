"""Bills simulated calls end to end over HTTP, and judges the result."""

import asyncio
import json
import random
from collections import defaultdict
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from calls.models import Call
from voxbilling.operations.latencies import PERCENTS, percentiles
from voxbilling.operations.simulation.calls import Disorder, Kind, Plan, Played, play
from voxbilling.operations.simulation.top_up import top_up
from voxbilling.operations.simulation.vapi import SimulatedVapi
from wallets.models import CreditReservation, Organization
from wallets.selectors import ledger_differences

CALLS_AT_ONCE = 40
SEED = 20

_HOW_MANY = {
    Kind.INBOUND: 130,
    Kind.OUTBOUND: 30,
    Kind.WEB: 30,
    Kind.BUSY: 6,
    Kind.UNANNOUNCED: 6,
    Kind.REFUSED: 8,
    Kind.REFUSED_LATE: 4,
}
_DRY_WALLET_SECONDS = 180
# What the organization without money pays in.
TOPUP_PENCE = 5_000


class Command(BaseCommand):
    help = (
        "Bill simulated calls over HTTP on the stack that `make demo` starts, and check every "
        "penny; exit 1 if anything is not as it should be."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            demo = json.loads((settings.DATA_DIR / "demo.json").read_text())
        except FileNotFoundError:
            raise CommandError(
                "No stack is running here: use `make demo`, or `make run` first."
            ) from None
        console = Console(highlight=False)
        before = _wallets()
        plans = _plans(demo["organizations"])
        console.print(f"\nBilling {len(plans)} simulated calls, {CALLS_AT_ONCE} at once.\n")
        try:
            played, latencies_ms = asyncio.run(_play_all(demo, plans, console))
            topped_up = top_up(
                base_url=demo["base_url"],
                sandbox_url=demo["sandbox_url"],
                organization=demo["organizations"][-1],
                amount_pence=TOPUP_PENCE,
            )
        except httpx.HTTPError as error:
            raise CommandError(
                f"voxbilling did not answer as it should ({error!r}): see logs/web.log in "
                f"{settings.DATA_DIR}."
            ) from error

        problems = [
            f"Call {one.call_id} ({one.plan.kind}) {one.problem}." for one in played if one.problem
        ]
        charged_pence = dict(
            Call.objects.filter(call_id__in=[one.call_id for one in played]).values_list(
                "call_id", "charged_pence"
            )
        )
        problems += _wrong_charges(played, charged_pence)
        problems += _holds_left(played)
        console.print(_calls_table(played, charged_pence))
        paid_in_pence = {demo["organizations"][-1]["name"]: topped_up.amount_pence}
        console.print(_wallets_table(before, _wallets(), played, paid_in_pence))
        console.print(_latency_table(latencies_ms))
        if topped_up.amount_pence:
            console.print(
                f"A top-up of {topped_up.amount_pence:,}p by card: in the wallet "
                f"{topped_up.seconds:.1f} s after it was paid."
            )
        problems += [topped_up.problem] if topped_up.problem else []
        problems += _ledger_problems(console)
        if problems:
            raise CommandError("\n".join(["The demo failed:", *problems[:20]]))
        console.print("Every call was charged once, and every penny is accounted for.")


def _plans(organizations: list[dict[str, Any]]) -> list[Plan]:
    rich_one, shop, poor_one = organizations
    chance = random.Random(SEED)  # noqa: S311 - a simulation, not a secret
    plans = []
    for kind, count in _HOW_MANY.items():
        for _ in range(count):
            never_connects = kind in {Kind.BUSY, Kind.REFUSED, Kind.REFUSED_LATE}
            plans.append(
                Plan(
                    kind=kind,
                    organization=poor_one if "no money" in kind else rich_one,
                    duration_seconds=0 if never_connects else chance.randint(1, 280),
                    disorder=Disorder.NONE
                    if never_connects
                    else chance.choices(list(Disorder), weights=[3, 1, 1])[0],
                )
            )
    chance.shuffle(plans)
    # The caller is cut before the money ends: an end takes a moment to arrive.
    dry_after_seconds = _DRY_WALLET_SECONDS - settings.KILL_LEAD_SECONDS
    dry = Plan(kind=Kind.RUNS_DRY, organization=shop, duration_seconds=dry_after_seconds)
    return [dry, *plans]


async def _play_all(
    demo: dict[str, Any], plans: list[Plan], console: Console
) -> tuple[list[Played], dict[str, list[float]]]:
    turn = asyncio.Semaphore(CALLS_AT_ONCE)
    columns = (
        TextColumn("calls"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pence]:,}p"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("calls", total=len(plans), pence=0)
        expected_pence = 0

        async def play_in_turn(plan: Plan) -> Played:
            nonlocal expected_pence
            async with turn:
                one = await play(vapi, plan)
            expected_pence += one.expected_pence
            progress.update(bar, advance=1, pence=expected_pence)
            return one

        async with SimulatedVapi(
            base_url=demo["base_url"],
            secret=demo["vapi_webhook_secret"],
            sandbox_url=demo["sandbox_url"],
        ) as vapi:
            played = await asyncio.gather(*map(play_in_turn, plans))
            return list(played), vapi.latencies_ms


def _wrong_charges(played: list[Played], charged_pence: dict[str, int | None]) -> list[str]:
    return [
        f"Call {one.call_id} ({one.plan.kind}, {one.plan.disorder}, "
        f"{one.plan.duration_seconds} s) should cost {one.expected_pence}p, and was charged "
        f"{charged_pence.get(one.call_id)}."
        for one in played
        if charged_pence.get(one.call_id) != one.expected_pence
    ]


def _holds_left(played: list[Played]) -> list[str]:
    """Holds of the calls that were played: all of them are over."""
    left = CreditReservation.objects.filter(
        call_id__in=[one.call_id for one in played], status=CreditReservation.Status.ACTIVE
    )
    return [f"{hold} is left, though the call is over." for hold in left]


def _ledger_problems(console: Console) -> list[str]:
    problems = [f"{difference}." for difference in ledger_differences()]
    verdict = "adds up" if not problems else "DOES NOT ADD UP"
    console.print(f"Ledger check: every balance, hold and debt {verdict}.")
    return problems


def _wallets() -> dict[str, tuple[int, int, int]]:
    """Balance, held and owed pence by the organization's name."""
    return {
        organization.name: (
            organization.balance_pence,
            organization.reserved_pence,
            organization.owed_pence,
        )
        for organization in Organization.objects.order_by("-balance_pence")
    }


def _calls_table(played: list[Played], charged_pence: dict[str, int | None]) -> Table:
    table = Table(title="Calls", title_justify="left")
    table.add_column("kind")
    for name in ("calls", "refused", "cut", "charged", "pence"):
        table.add_column(name, justify="right")
    groups: defaultdict[str, list[Played]] = defaultdict(list)
    for one in played:
        groups[str(one.plan.kind)].append(one)
        if one.plan.disorder is not Disorder.NONE:
            groups[f"  of these: {one.plan.disorder}"].append(one)
    groups = defaultdict(list, sorted(groups.items(), key=lambda group: group[0].startswith(" ")))
    for name, group in [*groups.items(), ("all", played)]:
        pence = [charged_pence.get(one.call_id) or 0 for one in group]
        table.add_row(
            name,
            str(len(group)),
            str(sum(one.refused for one in group)),
            str(sum(one.cut for one in group)),
            str(sum(amount > 0 for amount in pence)),
            f"{sum(pence):,}",
            end_section=name == list(groups)[-1],
        )
    return table


def _wallets_table(
    before: dict[str, tuple[int, int, int]],
    after: dict[str, tuple[int, int, int]],
    played: list[Played],
    paid_in_pence: dict[str, int],
) -> Table:
    table = Table(title="Wallets, in pence", title_justify="left")
    table.add_column("organization")
    for name in ("before", "expected", "after", "held", "owed"):
        table.add_column(name, justify="right")
    for name, (balance, reserved, owed) in after.items():
        spent = sum(one.expected_pence for one in played if one.plan.organization["name"] == name)
        expected = before[name][0] - spent + paid_in_pence.get(name, 0)
        table.add_row(
            name, *(f"{n:,}" for n in (before[name][0], expected, balance, reserved, owed))
        )
    return table


def _latency_table(latencies_ms: dict[str, list[float]]) -> Table:
    table = Table(title="Webhooks, in milliseconds", title_justify="left")
    table.add_column("kind")
    for name in ("count", *(f"p{percent}" for percent in PERCENTS)):
        table.add_column(name, justify="right")
    for kind, values in sorted(latencies_ms.items()):
        table.add_row(kind, str(len(values)), *(f"{value:.0f}" for value in percentiles(values)))
    return table
