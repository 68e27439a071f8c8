"""Two servers on one machine: latency and throughput of one alone and of both, over loopback gRPC.

    python tests/bench/two_servers.py [--size nano] [--threads 1,2] [--utterances 8] [--anyway]

For each number of threads, one server with VoxCPM (random weights) speaks the built-in sentences one after another;
then a second server is started and both speak. With one thread each, on two cores, neither should slow the other down.
With all cores each, both together should produce as much speech as one alone, with the same CPU time per second of
speech. Threads that spin while they wait would show as more CPU time and less speech. Prints a Markdown table, and
writes it and a figure to docs/figures. Refuses to run on a busy machine.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from conditions import FIGURES, command_line, conditions, counted, refuse_if_busy

from intone.client import AsyncSpeechClient, SpeechSettings, StreamSettings
from intone.client.tools.console import Console
from intone.client.tools.drawing import SERIES_COLORS, new_figure, set_title, style_axes
from intone.client.tools.load_generator import Load, LoadResult, run_load
from intone.client.tools.local_server import local_server

PLAIN = ("--random-weights", "--no-starter", "--no-fillers", "--no-match-loudness", "--busy-ms", "0")
STEPS = 10


@dataclass(frozen=True)
class Figures:
    """Measurements of one arrangement of servers.

    Attributes:
        servers: number of servers.
        threads: threads of each server.
        ttfa_ms: median time to first audio at the client, for each server.
        rtf: wall time divided by the length of the speech, for each server.
        speech: seconds of speech that all servers together produce in one second.
        cpu: CPU seconds for one second of speech; None off Linux.
    """

    servers: int
    threads: int
    ttfa_ms: tuple[float, ...]
    rtf: tuple[float, ...]
    speech: float
    cpu: float | None

    @property
    def name(self) -> str:
        """Label in the table and the figure."""
        each = " each" if self.servers > 1 else ""
        return f"{counted(self.servers, 'server')}, {counted(self.threads, 'thread')}{each}"


async def speak(targets: Sequence[str], utterances: int, max_audio_ms: int) -> list[LoadResult]:
    """One conversation with every server at the same time, after all of them are warmed up."""
    parameters = {"steps": STEPS, "max_audio_ms": max_audio_ms}
    speech = SpeechSettings(engine="voxcpm", seed=1, engine_parameters=parameters)
    settings = StreamSettings(service_class="offline", defaults=speech)
    warm_up = Load(iterations=1, settings=settings, warm_up=0)
    load = Load(iterations=utterances, settings=settings, warm_up=0)

    async def each(work: Load) -> list[LoadResult]:
        calls = (run_load(lambda at=at: AsyncSpeechClient(at), work, time.monotonic, lambda: None) for at in targets)
        return await asyncio.gather(*calls)

    await each(warm_up)
    return await each(load)


def measure(targets: Sequence[str], threads: int, utterances: int, max_audio_ms: int) -> Figures:
    """Run the load and measure it."""
    before_s = processor_s()
    outcomes = asyncio.run(speak(targets, utterances, max_audio_ms))
    after_s = processor_s()
    failed = [error for outcome in outcomes for error in outcome.errors]
    if failed:
        raise SystemExit(f"{len(failed)} utterances failed, the first: {failed[0]}")
    audio_s = [sum(latency.audio_ms for latency in outcome.latencies) / 1000 for outcome in outcomes]
    wall_s = [outcome.wall_s for outcome in outcomes]
    spoken_s = sum(audio_s) * (utterances + 1) / utterances  # with the utterance that warms up
    return Figures(
        servers=len(targets),
        threads=threads,
        ttfa_ms=tuple(statistics.median(one.ttfa_ms or 0.0 for one in outcome.latencies) for outcome in outcomes),
        rtf=tuple(wall / audio for wall, audio in zip(wall_s, audio_s, strict=True)),
        speech=sum(audio_s) / max(wall_s),
        cpu=None if before_s is None or after_s is None else (after_s - before_s) / spoken_s,
    )


def processor_s() -> float | None:
    """CPU time of the servers so far, in seconds; None off Linux."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    if not listed.exists():
        return None
    stats = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in listed.read_text().split()]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def lines(found: Sequence[Figures]) -> list[str]:
    """A Markdown table; the last column is relative to one server with as many threads."""
    table = ["| servers | TTFA, ms | RTF | speech, s per s | CPU, s per s of speech | speech, relative to one server |"]
    table.append("|---|---|---|---:|---:|---:|")
    alone = {each.threads: each.speech for each in found if each.servers == 1}
    for each in found:
        ttfa, rtf = " and ".join(f"{t:.0f}" for t in each.ttfa_ms), " and ".join(f"{r:.3f}" for r in each.rtf)
        cpu = "–" if each.cpu is None else f"{each.cpu:.3f}"
        more = each.speech / alone[each.threads]
        table.append(f"| {each.name} | {ttfa} | {rtf} | {each.speech:.2f} | {cpu} | {more:.2f} |")
    return table


def draw(found: Sequence[Figures], title: str, path: Path) -> None:
    """Speech produced in one second, and CPU time for one second of speech."""
    figure = new_figure(9, 0.5 * len(found) + 1.6)
    set_title(figure, title)
    names = [each.name for each in found]
    panels = (
        ("seconds of speech per second", [each.speech for each in found], SERIES_COLORS[0]),
        ("CPU seconds per second of speech", [each.cpu or 0.0 for each in found], SERIES_COLORS[1]),
    )
    for axes, (what, values, color) in zip(figure.subplots(1, 2), panels, strict=True):
        style_axes(axes, what, "")
        axes.bar_label(axes.barh(names, values, color=color, height=0.6), fmt="%.2f", padding=4, fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.14)
    figure.savefig(path)


def main() -> None:
    """Measure, print and draw."""
    parser = command_line(__doc__)
    parser.add_argument("--size", default="nano", choices=("nano", "0.5b", "1.5"), help="default: %(default)s")
    parser.add_argument(
        "--threads", default="1,2", help="comma-separated numbers of threads of each server; default: %(default)s"
    )
    parser.add_argument("--utterances", type=int, default=8, help="utterances of each server; default: %(default)s")
    parser.add_argument(
        "--max-audio-ms", type=int, default=4000, help="maximum length of an utterance; default: %(default)s"
    )
    parser.add_argument("--out", type=Path, default=FIGURES, help="output folder; default: docs/figures")
    options = parser.parse_args()
    busy, console, found = refuse_if_busy(options.anyway), Console(stderr=True), []
    for threads in map(int, options.threads.split(",")):
        flags = ("--voxcpm", options.size, "--threads", str(threads), *PLAIN)
        with ExitStack() as servers:
            targets: list[str] = []
            for _ in range(2):
                scratch = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="intone-bench-")))
                targets.append(servers.enter_context(local_server(flags, scratch, console)))
                found.append(measure(targets, threads, options.utterances, options.max_audio_ms))
    notes = (
        f"VoxCPM {options.size}, random weights, {STEPS} steps, {options.utterances} utterances of at most "
        f"{options.max_audio_ms} ms on each server, one after another. {conditions(busy)}"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "two_servers.md"
    path.write_text("\n".join(["# Two servers on one machine", "", *lines(found), "", notes, ""]), "utf8")
    draw(
        found, f"Two servers on {os.cpu_count()} cores, VoxCPM {options.size}, random weights", path.with_suffix(".png")
    )
    print(f"{path.read_text('utf8')}\n{path}\n{path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
