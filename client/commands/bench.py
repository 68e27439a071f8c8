"""`intone bench`: how a server holds up under load, in the columns that others publish."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from intone.client.commands.arguments import add_connection, add_speech, argument_type, client, settings
from intone.client.tools.bench import SENTENCES, Load, conditions, run_load

_EXAMPLES = """\
Every stream is one conversation on a connection of its own that speaks its texts one after another, each sent whole.
Latency to first audio is from the send of a text to the receipt of the first chunk that can be heard; inter-chunk is
the time between receipts; RTFX is seconds of audio per second of wall time, of all streams together; a hole is what a
player that starts at the first chunk would have to wait.

examples:
  intone bench --streams 1 --iterations 20
  intone bench --streams 8 --engine voxcpm --steps 6 --json bench.json
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `bench`."""
    parser = subcommands.add_parser(
        "bench",
        help="measure a server under load",
        description="Closed-loop load: latency, gaps, throughput and continuity.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = parser.add_argument_group("load")
    group.add_argument("--streams", type=argument_type(_count), default=1, metavar="N", help="default: %(default)s")
    group.add_argument(
        "--iterations", type=argument_type(_count), default=20, metavar="K", help="utterances a stream; default: 20"
    )
    group.add_argument("--warm-up", type=int, default=1, metavar="N", help="utterances first that do not count")
    group.add_argument("--text", type=Path, metavar="FILE", help="one text a line; default: ten sentences")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and conditions too; - for stdout")
    add_speech(parser)
    add_connection(parser)
    parser.set_defaults(command=bench)


async def bench(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 when an utterance failed."""
    load = Load(
        streams=arguments.streams,
        iterations=arguments.iterations,
        texts=SENTENCES if arguments.text is None else _texts(arguments.text),
        settings=settings(arguments, real_time=False),
        warm_up=arguments.warm_up,
    )
    async with client(arguments) as connection:
        info = await connection.server_info()
    columns = (TextColumn("speaking"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("load", total=load.streams * load.iterations)
        outcome = await run_load(lambda: client(arguments), load, time.monotonic, lambda: bar.advance(task))
    summary = outcome.summary()
    report = {
        "streams": load.streams,
        "iterations": load.iterations,
        "engine": arguments.engine,
        "steps": arguments.steps,
        **summary,
        "error_messages": sorted(set(outcome.errors)),
        "conditions": conditions(info, shlex.join(["intone", *_without_token(sys.argv[1:])])),
    }
    _print(report, arguments.json)
    return 1 if outcome.errors else 0


def _print(report: Mapping[str, Any], json_path: Path | None) -> None:
    written = json.dumps(report, ensure_ascii=False, indent=2) + "\n"
    if json_path == Path("-"):
        sys.stdout.write(written)
        return
    Console().print(*_tables(report), sep="\n")
    for message in report["error_messages"]:
        Console(stderr=True).print(message, style="red", markup=False)
    if json_path is not None:
        json_path.write_text(written, encoding="utf-8")


def _tables(report: Mapping[str, Any]) -> tuple[Table, Table]:
    title = f"{report['streams']} streams, {report['iterations']} utterances each, engine {report['engine']}"
    spreads = Table("milliseconds", title=title, title_justify="left")
    for column in ("avg", "p90", "p95", "p99"):
        spreads.add_column(column, justify="right")
    rows = {
        "latency to first audio": "latency_to_first_audio_ms",
        "the server's share of it": "server_ttfa_ms",
        "inter-chunk": "inter_chunk_ms",
    }
    for name, key in rows.items():
        spreads.add_row(name, *(_number(value, 1) for value in report[key].values()))
    totals = Table("throughput", "audio", "wall", "holes", "without a hole", "spoken", "errors")
    totals.add_row(
        f"RTFX {_number(report['rtfx'], 2)}",
        f"{report['audio_s']:.2f} s",
        f"{report['wall_s']:.2f} s",
        f"{report['underrun_s']:.3f} s",
        f"{_number(report['continuity_percent'], 1)} %",
        str(report["utterances"]),
        str(report["errors"]),
    )
    return spreads, totals


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("at least 1")
    return number


def _texts(path: Path) -> Sequence[str]:
    """Lines of a file that are not blank.

    Raises:
        ValueError: there are none.
    """
    texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not texts:
        raise ValueError(f"{path} has no text in it")
    return texts


def _without_token(words: Sequence[str]) -> list[str]:
    """A command line that may be published."""
    kept: list[str] = []
    for word in words:
        hidden = kept[-1:] == ["--token"] or word.startswith("--token=")
        kept.append("***" if hidden else word)
    return kept
