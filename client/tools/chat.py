"""Runs a script on a server and shows it on the console: progress, the table of turns, a WAV file of what was heard."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from rich.text import Text

from intone.client.async_client import AsyncSpeechClient
from intone.client.audio import Format
from intone.client.events import Event
from intone.client.playback import Player
from intone.client.server_info import ServerInfo
from intone.client.settings import StreamSettings
from intone.client.tools.console import Console
from intone.client.tools.event_printer import EventPrinter
from intone.client.tools.json_output import write_json
from intone.client.tools.listener import Listener
from intone.client.tools.script import Script
from intone.client.tools.script_runner import ScriptRun, ScriptRunner, TurnRecord
from intone.client.tools.turn_measures import TurnMeasures, measure_turn
from intone.client.tools.turn_report import turn_report, turn_report_to_json
from intone.client.wav import write_wav


async def run_script(
    client: AsyncSpeechClient,
    script: Script,
    settings: StreamSettings,
    *,
    play: bool = False,
    as_json: bool = False,
    quiet: bool = False,
) -> ScriptRun:
    """Run a script on a stream of its own and print what happens.

    Args:
        settings: of the stream.
        play: play the audio on the sound device.
        as_json: print JSON lines for programs.
        quiet: print nothing.

    Raises:
        IntoneError: a call has failed.
        MissingExtraError, OSError: the sound device cannot be used.
    """
    info = await client.server_info()
    voicing = frozenset(engine.name for engine in info.engines if engine.voices_emotion)
    run = ScriptRun(Listener(time.monotonic), voicing=voicing)
    printer = EventPrinter(as_json=as_json, clock=time.monotonic)
    runner = ScriptRunner(
        run,
        time.monotonic,
        languages=trained_languages(info),
        on_turn=_ignore_turn if as_json or quiet else _turn_printer(script),
    )

    def receive(event: Event) -> None:
        runner.receive(event)
        if not quiet:
            printer.print_event(event)

    async with client.conversation(settings, on_event=receive) as talk:
        with Player(talk.configured.format) if play else nullcontext() as player:
            await runner.run(talk, script, player)
    return run


def trained_languages(info: ServerInfo) -> list[str]:
    """BCP 47 codes of the languages that the server's trained engines speak."""
    return sorted({code for engine in info.engines if engine.trained for code in engine.languages})


def _turn_printer(script: Script) -> Callable[[TurnRecord], None]:
    console = Console(stderr=True, highlight=False)
    if script.title:
        console.print(Text(script.title, style="bold underline"))

    def print_turn(record: TurnRecord) -> None:
        if record.barge_in_s is not None:
            console.print("          ✂ barge-in", style="bold red")
            return
        note = Text(f"  (skipped: {record.skipped})" if record.skipped else "", style="dim")
        console.print(Text(f"\n{record.number}. ", style="bold") + Text(record.turn.text) + note, soft_wrap=True)

    return print_turn


def _ignore_turn(record: TurnRecord) -> None:
    """JSON output has the events only."""


def print_turns(run: ScriptRun, *, as_json: bool = False) -> list[TurnMeasures]:
    """Print the measures of all turns on standard output, and return them."""
    measures = [measure_turn(run, record) for record in run.turns]
    wall_s = max(run.listener.end_s, run.start_s) - run.start_s
    if as_json:
        write_json(turn_report_to_json(measures, wall_s))
    else:
        Console().print(turn_report(measures, wall_s))
    return measures


def save_heard(run: ScriptRun, path: Path) -> None:
    """Write what was heard since the first text as a 16-bit PCM WAV file. Writes no file if nothing was heard.

    Raises:
        OSError: the file cannot be written.
    """
    heard = run.listener.heard()
    if heard:
        samples = np.clip(run.listener.recording(run.start_s), -1, 32767 / 32768)
        pcm = np.round(samples * 32768).astype("<i2").tobytes()
        write_wav(path, Format("pcm_s16le", heard[0].chunk.format.sample_rate_hz), pcm)
