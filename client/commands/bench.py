"""`intone bench`: measure the latency and throughput of a server under load."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from intone.client.commands.arguments import add_connection, add_speech, argument_type, make_client, stream_settings
from intone.client.tools.console import Console
from intone.client.tools.load_generator import SENTENCES, Load, conditions, run_load

_EPILOG = """\
Each stream is a conversation on a connection of its own that speaks one text after another, each sent whole.

rows and columns:
  first sound of the server   from the arrival of the first sentence at the server to its first audible speech
  first speech received       from sending a text to receiving its first audible speech: the same and the network
  first filler received       the same for fillers, which count nowhere else
  between chunks              time between the receipts of consecutive chunks
  barge-in to stop            with --interrupt-after-ms: from an interruption to the receipt of its answer
  speed                       seconds of audio per second of wall time, of all streams together (RTFX)
  underruns                   utterances in which a player that starts at the first chunk runs out of audio for more
                              than 100 ms at a time; shorter waits are taken for pauses of the speech

examples:
  intone bench --streams 1 --iterations 20
  intone bench --streams 8 --engine voxcpm --steps 6 --filler off --json bench.json
  intone bench --streams 4 --interrupt-after-ms 500
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `bench`."""
    parser = subcommands.add_parser(
        "bench",
        usage="%(prog)s [options]",
        help="measure a server under load",
        description="Measure latency, gaps, throughput and continuity under closed-loop load.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = parser.add_argument_group("load")
    group.add_argument(
        "--streams", type=argument_type(_count), default=1, metavar="N", help="concurrent streams; default: %(default)s"
    )
    group.add_argument(
        "--iterations",
        type=argument_type(_count),
        default=20,
        metavar="K",
        help="utterances per stream; default: %(default)s",
    )
    group.add_argument(
        "--warm-up", type=int, default=1, metavar="N", help="utterances before the measurement; default: %(default)s"
    )
    group.add_argument(
        "--interrupt-after-ms",
        type=float,
        metavar="MS",
        help="interrupt each utterance this long after its first audio",
    )
    group.add_argument("--text", type=Path, metavar="FILE", help="texts, one per line; default: ten sentences")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write results and conditions as JSON; - is standard output"
    )
    add_speech(parser)
    add_connection(parser)
    parser.set_defaults(command=bench)


async def bench(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 if an utterance failed."""
    load = Load(
        streams=arguments.streams,
        iterations=arguments.iterations,
        texts=SENTENCES if arguments.text is None else _texts(arguments.text),
        settings=stream_settings(arguments, real_time=False),
        warm_up=arguments.warm_up,
        interrupt_after_ms=arguments.interrupt_after_ms,
    )
    async with make_client(arguments) as client:
        info = await client.server_info()
    columns = (TextColumn("speaking"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("load", total=load.streams * load.iterations)
        result = await run_load(lambda: make_client(arguments), load, time.monotonic, lambda: bar.advance(task))
    report = {
        "streams": load.streams,
        "iterations": load.iterations,
        "engine": arguments.engine,
        "engine_parameters": dict(arguments.parameters),
        **result.summary(),
        "error_messages": sorted(set(result.errors)),
        "conditions": conditions(info, shlex.join(["intone", *_without_token(sys.argv[1:])])),
    }
    _print(report, arguments.json)
    return 1 if result.errors else 0


def _print(report: Mapping[str, Any], json_path: Path | None) -> None:
    text = json.dumps(report, ensure_ascii=False, indent=2) + "\n"
    if json_path == Path("-"):
        sys.stdout.write(text)
        return
    Console().print(*_tables(report), sep="\n")
    for message in report["error_messages"]:
        Console(stderr=True).print(message, style="red", markup=False)
    if json_path is not None:
        json_path.write_text(text, encoding="utf-8")


_ALWAYS = ("server_ttfa_ms", "latency_to_first_audio_ms", "inter_chunk_ms")
"""The other rows are printed if there is something to print."""


def _tables(report: Mapping[str, Any]) -> tuple[Table, Table]:
    engine = report["engine"] or "chosen by the server"
    title = f"{report['streams']} streams, {report['iterations']} utterances each, engine {engine}"
    times = Table("milliseconds", title=title, title_justify="left")
    for column in ("avg", "p90", "p95", "p99"):
        times.add_column(column, justify="right")
    rows = {
        "first sound of the server": "server_ttfa_ms",
        "first speech received": "latency_to_first_audio_ms",
        "first filler received": "latency_to_first_filler_ms",
        "between chunks": "inter_chunk_ms",
        "barge-in to stop": "stop_ms",
    }
    for name, key in rows.items():
        if key in _ALWAYS or report[key]["avg"] is not None:
            style = "bold" if key == "server_ttfa_ms" else ""
            times.add_row(name, *(_number(value, 1) for value in report[key].values()), style=style)
    totals = Table("speed", "audio", "wall", "utterances", "underruns", "errors")
    totals.add_row(
        f"{_number(report['rtfx'], 2)}×",
        f"{report['audio_s']:.2f} s",
        f"{report['wall_s']:.2f} s",
        str(report["utterances"]),
        f"in {report['interrupted_playback']} of {report['utterances']}",
        str(report["errors"]),
    )
    return times, totals


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def _texts(path: Path) -> Sequence[str]:
    """The lines of a file that are not blank.

    Raises:
        ValueError: there are none.
    """
    texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not texts:
        raise ValueError(f"{path} contains no text: write one text per line")
    return texts


def _without_token(arguments: Sequence[str]) -> list[str]:
    """Replace the token in a command line, which is published with the results."""
    masked: list[str] = []
    for argument in arguments:
        secret = masked[-1:] == ["--token"] or argument.startswith("--token=")
        masked.append("***" if secret else argument)
    return masked
