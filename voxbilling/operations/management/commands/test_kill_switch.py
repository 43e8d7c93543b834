"""Plays status checks at a running server, and judges what it answers."""

import argparse
import asyncio
from typing import Any

import httpx
from django.core.management.base import BaseCommand, CommandError

from voxbilling.operations.simulation import kill_switch
from voxbilling.operations.simulation.kill_switch import Expected, Wallets
from voxbilling.operations.simulation.server import Server, find_server
from voxbilling.operations.simulation.vapi import SimulatedVapi
from voxbilling.operations.verification.findings import Finding, Verdict


class Command(BaseCommand):
    help = (
        "Play status checks at a running server: no call id, unknown call, funded call, call "
        "running dry, health; a line each with what was answered; exit 1 on any failure. Uses two "
        "organizations of its own, each charged 49p a run."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--base-url", help="the server; the stack that runs here by default")

    def handle(self, *_args: Any, **options: Any) -> None:
        server = find_server(options["base_url"])
        expected = Expected.by_settings()
        wallets = kill_switch.prepare_wallets(expected)
        try:
            failures = asyncio.run(self._play(server, wallets, expected))
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise CommandError(f"{server.base_url} cannot be reached: {error!r}.") from error
        if failures:
            raise CommandError(
                f"{failures} checks failed. If the server works on another database than this "
                "command, or with another STATUS_CHECK_SECONDS or KILL_LEAD_SECONDS, run it where "
                "the server runs."
            )
        self.stdout.write("The kill switch works.")

    async def _play(self, server: Server, wallets: Wallets, expected: Expected) -> int:
        """How many checks failed."""
        failures = 0
        async with SimulatedVapi(
            base_url=server.base_url, secret=server.secret, sandbox_url=server.sandbox_url
        ) as vapi:
            async for finding in kill_switch.play_checks(vapi, wallets, expected):
                self.stdout.write(self._style(finding)(f"{finding}"))
                self.stdout.flush()
                failures += finding.is_failure
        return failures

    def _style(self, finding: Finding) -> Any:
        styles = {
            Verdict.OK: self.style.SUCCESS,
            Verdict.WARNING: self.style.WARNING,
            Verdict.FAILED: self.style.ERROR,
        }
        return styles[finding.verdict]
