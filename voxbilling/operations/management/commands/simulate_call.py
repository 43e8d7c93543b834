"""Plays one call at a running server, and tells how it goes."""

import argparse
import asyncio
import json
import uuid
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from voxbilling.operations.simulation import single_call
from voxbilling.operations.simulation.server import Server, find_server
from voxbilling.operations.simulation.single_call import NobodyToCall, Story
from voxbilling.operations.simulation.vapi import SimulatedVapi
from wallets.models import Organization


def _minutes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 720:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 720")
    return int(text)


class Command(BaseCommand):
    help = (
        "Play one call at a running server, as Vapi would, and print what happens; exit 1 if "
        "anything is not as it should be. The organization's wallet is charged for it. The call "
        "lasts minutes by its messages and a moment by the clock."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--organization", help="whose call it is; the well-funded one of `make run` by default"
        )
        parser.add_argument("--minutes", type=_minutes, default=3, help="3 by default")
        parser.add_argument(
            "--lose-report", action="store_true", help="the end-of-call report never comes"
        )
        parser.add_argument("--base-url", help="the server; the stack that runs here by default")

    def handle(self, *_args: Any, **options: Any) -> None:
        server = find_server(options["base_url"])
        organization = _organization(options["organization"])
        try:
            story = single_call.begin_story(
                organization, sandbox_url=server.sandbox_url, say=self._say
            )
        except NobodyToCall as nobody:
            raise CommandError(f"{nobody}") from None
        self._say(
            f"Call {story.call.id} to {story.call.phone_number or story.assistant.name}, for "
            f"{organization.name}. The balance is {organization.balance_pence}p, of which "
            f"{organization.reserved_pence}p are held: enough for {story.payable_seconds} s."
        )
        _play(server, story, options)
        if options["lose_report"]:
            single_call.judge_without_report(story)
        else:
            single_call.judge_settled(story)
        if story.problems:
            raise CommandError(
                f"The call did not go as it should: {len(story.problems)} lines above say why."
            )

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()


def _organization(named: str | None) -> Organization:
    if named is None:
        try:
            demo = json.loads((settings.DATA_DIR / "demo.json").read_text())
        except FileNotFoundError:
            raise CommandError("Say with --organization whose call it is.") from None
        named = demo["organizations"][0]["id"]
    try:
        return Organization.objects.get(pk=uuid.UUID(named))
    except ValueError:
        raise CommandError(f"--organization must be a UUID, and {named!r} is none.") from None
    except Organization.DoesNotExist:
        raise CommandError(f"No organization has the id {named}.") from None


def _play(server: Server, story: Story, options: dict[str, Any]) -> None:
    async def play() -> None:
        async with SimulatedVapi(
            base_url=server.base_url, secret=server.secret, sandbox_url=server.sandbox_url
        ) as vapi:
            await single_call.play(
                vapi,
                story,
                wanted_seconds=60 * options["minutes"],
                lose_report=options["lose_report"],
            )

    try:
        asyncio.run(play())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
        raise CommandError(
            f"{server.base_url} did not answer as voxbilling does: {error!r}."
        ) from error
