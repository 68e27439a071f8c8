"""What routing and fillers change for a listener: neutral and emotional turns, with and without fillers, on one server.

    python tests/bench/conversation.py [--turns 10] [--anyway] -- --voxcpm FOLDER --indextts FOLDER

Each turn is a conversation in real time: its text is sent at once, and a simulated listener plays the audio to its end.
The four kinds of turn alternate, so that a change in the machine's speed affects all of them. Prints a Markdown table
and draws docs/figures/strategy.png. Refuses to run on a busy machine. Without --server and without flags after `--` it
starts a server with untrained nano models, whose times say nothing about trained ones.
"""

import argparse
import asyncio
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from conditions import command_line, refuse_if_busy

from intone.client import AsyncSpeechClient, IntoneError, ServerInfo, SpeechSettings
from intone.client.settings import FillerPolicy
from intone.client.tools.console import Console
from intone.client.tools.drawing import FIRST, GRID, INK, KIND_COLORS, MUTED, new_figure, set_title, style_axes
from intone.client.tools.listener import Listener
from intone.client.tools.load_generator import conditions
from intone.client.tools.local_server import LocalServerError, local_server
from intone.client.tools.script import Script, Turn
from intone.client.tools.script_runner import ScriptRun, ScriptRunner
from intone.client.tools.turn_measures import TurnMeasures, measure_turn

FIGURE = Path(__file__).resolve().parents[2] / "docs" / "figures" / "strategy.png"
NANO = ("--voxcpm", "nano", "--indextts", "nano", "--random-weights", "--busy-ms", "0")
STILL_S = 20
"""Rendering counts as finished after this long without a new filler."""

PLAIN = (
    "Your parcel is on its way and arrives tomorrow.",
    "The next train leaves from platform seven.",
    "I have moved the meeting to Thursday afternoon.",
    "Please hold the line while I look that up.",
    "The library opens at nine and closes at six.",
)
EMOTIONAL = (
    ("I cannot believe you did that again!", "angry:0.9"),
    ("We won, we really won the whole thing!", "happy:0.9"),
    ("I am so sorry, I know what he meant to you.", "sad:0.9"),
    ("What? All of it is gone overnight?", "surprised:0.9"),
    ("Stay away from that door, please stay away!", "afraid:0.9"),
)


@dataclass(frozen=True)
class Kind:
    """One kind of turn: a row of the table."""

    turns: str
    filler: FillerPolicy

    @property
    def name(self) -> str:
        return f"{self.turns}, fillers {self.filler}"

    def turn(self, number: int, parameters: Mapping[str, float]) -> Turn:
        text, emotion = (
            (PLAIN[number % len(PLAIN)], "neutral") if self.turns == "plain" else EMOTIONAL[number % len(EMOTIONAL)]
        )
        settings = SpeechSettings(emotion=emotion, engine_parameters=parameters)
        return Turn(text, settings, words_per_second=0)


FILLERS: tuple[FillerPolicy, ...] = ("off", "auto")
KINDS = tuple(Kind(turns, filler) for turns in ("plain", "emotional") for filler in FILLERS)


async def measure(client: AsyncSpeechClient, kind: Kind, number: int, parameters: Mapping[str, float]) -> TurnMeasures:
    """One turn, played to its end."""
    script_run = ScriptRun(Listener(time.monotonic))
    runner = ScriptRunner(script_run, time.monotonic)
    async with client.conversation(filler=kind.filler, on_event=runner.receive) as talk:
        await runner.run(talk, Script((kind.turn(number, parameters),)))
    return measure_turn(script_run, script_run.turns[0])


async def run(target: str, arguments: argparse.Namespace) -> tuple[dict[Kind, list[TurnMeasures]], ServerInfo, int]:
    """The measurements of each kind, the server's info, and the number of fillers of its default voice."""
    wanted = {"steps": arguments.steps, "max_audio_ms": arguments.max_audio_ms}
    parameters = {name: float(value) for name, value in wanted.items() if value is not None}
    console = Console(stderr=True)
    async with AsyncSpeechClient(target) as client:
        await wait_for_fillers(client, arguments.wait_s, console)
        measured: dict[Kind, list[TurnMeasures]] = {kind: [] for kind in KINDS}
        for number in range(-1, arguments.turns):  # the first round warms up
            for kind in KINDS:
                turn = await measure(client, kind, number, parameters)
                if turn.outcome != "completed":
                    raise LocalServerError(f"a turn ended with {turn.outcome}: {turn.note}")
                if number >= 0:
                    measured[kind].append(turn)
            console.print(f"round {number + 1} of {arguments.turns}", style="dim")
        return measured, await client.server_info(), len((await client.voices.get("default")).fillers)


async def wait_for_fillers(client: AsyncSpeechClient, wait_s: float, console: Console) -> None:
    """Wait until the default voice gets no more fillers, at most `wait_s` seconds."""
    console.print(f"waiting up to {wait_s:.0f} s for the fillers of the default voice", style="dim")
    deadline_s, found, still_s = time.monotonic() + wait_s, 0, 0
    while time.monotonic() < deadline_s and still_s < STILL_S:
        await asyncio.sleep(1)
        now = len((await client.voices.get("default")).fillers)
        still_s = still_s + 1 if now and now == found else 0
        found = now


# ---- table ------------------------------------------------------------------------------------------------------


def table(measured: Mapping[Kind, Sequence[TurnMeasures]]) -> str:
    """A Markdown table in milliseconds: median / 90th percentile."""
    lines = [
        "| turns | fillers | engine | first sound | first word | silence before the first word | fillers played |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, turns in measured.items():
        engines = ", ".join(sorted({engine for turn in turns for engine in turn.engines}))
        figures = " | ".join(map(spread, (sounds(turns), words(turns), silences(turns))))
        played = sum(len(turn.fillers) for turn in turns)
        lines.append(f"| {kind.turns} | {kind.filler} | {engines} | {figures} | {played} in {len(turns)} |")
    return "\n".join(lines)


def sounds(turns: Sequence[TurnMeasures]) -> list[float]:
    return [turn.first_sound_ms for turn in turns if turn.first_sound_ms is not None]


def words(turns: Sequence[TurnMeasures]) -> list[float]:
    return [turn.first_word_ms for turn in turns if turn.first_word_ms is not None]


def silences(turns: Sequence[TurnMeasures]) -> list[float]:
    return [turn.first_word_ms - turn.covered_ms for turn in turns if turn.first_word_ms is not None]


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} / {np.percentile(values, 90):.0f}" if values else "–"


def described(info: ServerInfo, arguments: argparse.Namespace, fillers: int, busy: float) -> str:
    """The conditions, as a Markdown list."""
    command = shlex.join(["python", "tests/bench/conversation.py", *sys.argv[1:]])
    known = conditions(info, command)
    engines = "; ".join(f"{engine.name}: {engine.model}, on {engine.device}" for engine in info.engines)
    notes = {
        "date": known["date"],
        "commit": known["client_commit"],
        "command": command,
        "host": f"{known['client_machine']}, {os.cpu_count()} CPUs, {busy:.2f} of them used by other processes before",
        "engines": engines,
        "steps": arguments.steps or "each engine's default",
        "turns of each kind": arguments.turns,
        "fillers of the voice": fillers,
    }
    return "\n".join(f"- {name}: {value}" for name, value in notes.items())


# ---- figure ----------------------------------------------------------------------------------------------------


def draw(measured: Mapping[Kind, Sequence[TurnMeasures]], caption: str, path: Path) -> None:
    """One row for each kind: median wait, the part of it that a filler covers, and every turn as a dot."""
    figure = new_figure(11, 4.6)
    axes = figure.add_subplot()
    style_axes(axes, caption, "")
    set_title(figure, "How long the listener waits")
    for row, turns in enumerate(measured.values()):
        word_ms, covered_ms = statistics.median(words(turns)), statistics.median(turn.covered_ms for turn in turns)
        sound_ms = statistics.median(sounds(turns))
        label = "wait for the first word (median)" if row == 0 else None
        axes.barh(row, word_ms, color=GRID, height=0.5, label=label)
        if covered_ms:
            axes.barh(
                row, covered_ms, left=sound_ms, color=KIND_COLORS["filler"], height=0.5, label="covered by a filler"
            )
        spots = np.linspace(-0.16, 0.16, len(turns))
        dots = {"s": 14, "zorder": 3}
        axes.scatter(
            sounds(turns), row + spots, color=KIND_COLORS["speech"], label="first sound" if row == 0 else None, **dots
        )
        axes.scatter(words(turns), row + spots, color=FIRST, label="first word" if row == 0 else None, **dots)
        axes.text(word_ms, row - 0.36, f"{word_ms:.0f} ms", fontsize=9, color=FIRST, ha="center", va="center")
    axes.set_yticks(range(len(measured)), [kind.name for kind in measured])
    axes.set_ylim(len(measured) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds from sending the text to hearing the sound", fontsize=9, color=MUTED)
    bars = {"wait for the first word": GRID, "of it, covered by a filler": KIND_COLORS["filler"]}
    dots = {"first sound, each turn": KIND_COLORS["speech"], "first word, each turn": FIRST}
    handles = [axes.barh([0], [0], color=color, label=name) for name, color in bars.items()]
    handles += [axes.scatter([], [], color=color, s=14, label=name) for name, color in dots.items()]
    axes.legend(handles=handles, loc="upper right", fontsize=8, edgecolor="none", framealpha=0.9, labelcolor=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--server", metavar="HOST:PORT", help="a running server; default: start one")
    parser.add_argument("--turns", type=int, default=10, help="turns of each kind; default: %(default)s")
    parser.add_argument("--steps", type=int, help="diffusion steps; default: each engine's own")
    parser.add_argument(
        "--max-audio-ms", type=int, help="maximum length of a turn; untrained weights never stop by themselves"
    )
    parser.add_argument(
        "--wait-s", type=float, default=120, help="how long to wait for fillers to be rendered; default: %(default)s"
    )
    parser.add_argument("--figure", type=Path, default=FIGURE, help="default: docs/figures/strategy.png")
    parser.add_argument("settings", nargs="*", help="flags for intone-server, after --; default: untrained nano models")
    arguments = parser.parse_args()
    busy = refuse_if_busy(arguments.anyway)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="intone-bench-") as scratch:
        flags = arguments.settings or NANO
        server = nullcontext(arguments.server) if arguments.server else local_server(flags, Path(scratch), console)
        try:
            with server as target:
                measured, info, fillers = asyncio.run(run(target, arguments))
        except (LocalServerError, IntoneError) as error:
            console.print(f"error: {error}", style="red", markup=False)
            return 1
    print(
        f"{table(measured)}\n\nMilliseconds, median / 90th percentile.\n\n{described(info, arguments, fillers, busy)}"
    )
    models = ", ".join(f"{engine.name} ({engine.model})" for engine in info.engines)
    draw(measured, f"{models}; {arguments.turns} turns of each kind", arguments.figure)
    console.print(f"drawn: {arguments.figure}", style="dim", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
