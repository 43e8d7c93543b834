"""Sends many requests at once to a running server, and judges what came of them."""

import argparse
from collections import Counter, defaultdict
from ipaddress import ip_address
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from voxbilling.operations.latencies import PERCENTS, percentiles
from voxbilling.operations.load_test import scenarios
from voxbilling.operations.load_test.accounts import open_account
from voxbilling.operations.load_test.callers import Answer, TooFewFiles, send_together
from voxbilling.operations.load_test.scenarios import Scenario
from voxbilling.operations.simulation.server import find_server
from wallets.selectors import ledger_differences


def _count(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 2 to 10000")
    return int(text)


class Command(BaseCommand):
    help = (
        "Put a running server under load: many provisions with money for one, many reservations "
        "of one call, and both against each other; exit 1 if an expectation fails. Makes "
        "organizations with made-up money, so it needs DEBUG to be on."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--base-url", help="the server; the stack that runs here by default")
        parser.add_argument("--scenario", choices=["1", "2", "3", "all"], default="all")
        parser.add_argument("--provisions", type=_count, default=100, help="in scenario 1")
        parser.add_argument("--reservations", type=_count, default=50, help="in scenario 2")

    def handle(self, *_args: Any, **options: Any) -> None:
        base_url = find_server(options["base_url"]).base_url
        _require_made_up_money(base_url)
        chosen = {
            "1": scenarios.one_wallet_many_provisions(options["provisions"]),
            "2": scenarios.one_call_many_reservations(options["reservations"]),
            "3": scenarios.provisions_against_reservations(),
        }
        if options["scenario"] != "all":
            chosen = {options["scenario"]: chosen[options["scenario"]]}
        console = Console(highlight=False)
        try:
            outcomes = _play(base_url, list(chosen.values()), console)
        except httpx.HTTPError as error:
            raise CommandError(f"Nobody can sign in at {base_url}: {error}.") from error
        except TooFewFiles as error:
            raise CommandError(f"{error}") from None
        console.print(_table(outcomes))
        problems = [
            f"Scenario {scenario.title}: {problem}"
            for scenario, _, found in outcomes
            for problem in found
        ]
        problems += [f"{difference}." for difference in ledger_differences()]
        if problems:
            raise CommandError("\n".join(["The load test failed:", *problems]))
        console.print("Every expectation was met, and every balance, hold and debt adds up.")


Outcome = tuple[Scenario, list[Answer], list[str]]


def _play(base_url: str, chosen: list[Scenario], console: Console) -> list[Outcome]:
    """Each scenario on a wallet of its own: what was answered, and what was wrong with it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    outcomes = []
    with Progress(*columns, console=console) as progress:
        for scenario in chosen:
            bar = progress.add_task(scenario.title, total=len(scenario.requests))
            account = open_account(base_url, funded_pence=scenario.funded_pence)

            def on_answer(bar: Any = bar) -> None:
                progress.advance(bar)

            answers = send_together(base_url, account.token, scenario.requests, on_answer)
            outcomes.append(
                (scenario, answers, scenario.problems(account.organization_id, answers))
            )
    return outcomes


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(title="Answers, and how long they took in milliseconds", title_justify="left")
    table.add_column("scenario")
    table.add_column("request")
    for name in ("answer", "count", *(f"p{percent}" for percent in PERCENTS)):
        table.add_column(name, justify="right")
    for scenario, answers, _ in outcomes:
        groups: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for answer in answers:
            groups[answer.kind, str(answer.status or "none")].append(answer.milliseconds)
        kinds = Counter(answer.kind for answer in answers)
        for kind, count in kinds.items():
            every = [answer.milliseconds for answer in answers if answer.kind == kind]
            table.add_row(scenario.title, kind, "all", *_figures(count, every))
            for (its_kind, status), milliseconds in sorted(groups.items()):
                if its_kind == kind:
                    table.add_row("", "", status, *_figures(len(milliseconds), milliseconds))
        table.add_section()
    return table


def _figures(count: int, milliseconds: list[float]) -> list[str]:
    return [f"{count:,}", *(f"{value:,.0f}" for value in percentiles(milliseconds))]


def _require_made_up_money(base_url: str) -> None:
    """Whatever is not this very machine may be the real thing, under whatever name."""
    urls = (base_url, settings.TWILIO_API_URL, settings.VAPI_API_URL)
    if not settings.DEBUG or not all(_is_loopback(url) for url in urls):
        raise CommandError(
            "This makes organizations with made-up money and buys numbers for them: it needs DEBUG "
            "to be on, and the server and the sandbox, in Twilio's and Vapi's place, on a loopback "
            "address such as 127.0.0.1. `make load-test` has a stack of its own."
        )
    if settings.PHONE_NUMBER_COST_PENCE != scenarios.NUMBER_COST_PENCE:
        raise CommandError(
            f"The scenarios are about numbers at {scenarios.NUMBER_COST_PENCE}p: unset "
            "PHONE_NUMBER_COST_PENCE."
        )


def _is_loopback(url: str) -> bool:
    try:
        # Read as those read it who connect.
        host = httpx.URL(url).host
        return host == "localhost" or ip_address(host).is_loopback
    except (httpx.InvalidURL, ValueError):
        return False
