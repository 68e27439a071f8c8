"""Two servers on one machine: what each does alone and beside the other, over loopback gRPC.

    python tests/bench/two_servers.py [--size nano] [--threads 1,2] [--utterances 8] [--anyway]

For each number of threads, a server with an untrained VoxCPM speaks the built-in sentences one after another, alone;
then a second one is started and both do. With a thread each they should hardly notice one another where there are two
cores; with all cores each, both together should make as much speech as one alone did, for as much processor time.
Threads that wait by spinning would show here: more processor time for a second of speech, and less speech. Prints
Markdown; writes it and a picture to docs/figures.
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

from conditions import FIGURES, command_line, conditions, refuse_if_busy
from rich.console import Console

from intone.client import Options, Settings, SpeechClient
from intone.client.settings import LEAD_LIMIT_MAX_MS
from intone.client.tools.bench import Load, Outcome, run_load
from intone.client.tools.drawing import INK, KIND_COLORS, SENT, dress, new_figure
from intone.client.tools.local_server import local_server

PLAIN = ("--random-weights", "--no-starter", "--no-fillers", "--no-match-loudness", "--busy-ms", "0")
STEPS = 10


@dataclass(frozen=True)
class Figures:
    """What so many servers did, of so many threads each.

    Attributes:
        ttfa_ms: median at the client, for each server.
        rtf: wall time over length of the speech, for each server.
        speech: seconds of it that all made in a second.
        cpu: seconds of processor time for a second of speech; None where the system does not tell.
    """

    servers: int
    threads: int
    ttfa_ms: tuple[float, ...]
    rtf: tuple[float, ...]
    speech: float
    cpu: float | None

    @property
    def name(self) -> str:
        """For a table."""
        return f"{self.servers} × {self.threads} thread(s)"


async def speak(targets: Sequence[str], utterances: int, max_audio_ms: int) -> list[Outcome]:
    """All servers at once, one conversation each; every one of them warmed up before any begins."""
    options = Options(steps=STEPS, seed=1, max_audio_ms=max_audio_ms)
    settings = Settings(engine="voxcpm", filler="off", lead_limit_ms=LEAD_LIMIT_MAX_MS, options=options)
    quiet = Load(iterations=1, settings=settings, warm_up=0)
    load = Load(iterations=utterances, settings=settings, warm_up=0)

    async def each(what: Load) -> list[Outcome]:
        calls = (run_load(lambda at=at: SpeechClient(at), what, time.monotonic, lambda: None) for at in targets)
        return await asyncio.gather(*calls)

    await each(quiet)
    return await each(load)


def measure(targets: Sequence[str], threads: int, utterances: int, max_audio_ms: int) -> Figures:
    """Put the load on and take the figures."""
    before_s = processor_s()
    outcomes = asyncio.run(speak(targets, utterances, max_audio_ms))
    after_s = processor_s()
    failed = [error for outcome in outcomes for error in outcome.errors]
    if failed:
        raise SystemExit(f"{len(failed)} utterances failed, the first: {failed[0]}")
    audio_s = [sum(latency.audio_ms for latency in outcome.latencies) / 1000 for outcome in outcomes]
    wall_s = [outcome.wall_s for outcome in outcomes]
    made_s = sum(audio_s) * (utterances + 1) / utterances  # with the first one, which only warms up
    return Figures(
        servers=len(targets),
        threads=threads,
        ttfa_ms=tuple(statistics.median(one.ttfa_ms or 0.0 for one in outcome.latencies) for outcome in outcomes),
        rtf=tuple(wall / audio for wall, audio in zip(wall_s, audio_s, strict=True)),
        speech=sum(audio_s) / max(wall_s),
        cpu=None if before_s is None or after_s is None else (after_s - before_s) / made_s,
    )


def processor_s() -> float | None:
    """Processor time of the servers so far; None off Linux."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    if not listed.exists():
        return None
    stats = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in listed.read_text().split()]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def lines(found: Sequence[Figures]) -> list[str]:
    """A Markdown table; the last column compares with one server of as many threads."""
    table = ["| servers | TTFA, ms | RTF | seconds of speech a second | CPU seconds for one | speech, one alone = 1 |"]
    table.append("|---|---|---|---:|---:|---:|")
    alone = {each.threads: each.speech for each in found if each.servers == 1}
    for each in found:
        ttfa, rtf = " and ".join(f"{t:.0f}" for t in each.ttfa_ms), " and ".join(f"{r:.3f}" for r in each.rtf)
        cpu = "–" if each.cpu is None else f"{each.cpu:.3f}"
        more = each.speech / alone[each.threads]
        table.append(f"| {each.name} | {ttfa} | {rtf} | {each.speech:.2f} | {cpu} | {more:.2f} |")
    return table


def draw(found: Sequence[Figures], title: str, path: Path) -> None:
    """Speech made in a second, and processor time for a second of speech."""
    figure = new_figure(9, 0.5 * len(found) + 1.6)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK, fontweight="bold")
    names = [each.name for each in found]
    panels = (
        ("seconds of speech made in a second", [each.speech for each in found], KIND_COLORS["speech"]),
        ("CPU seconds for a second of speech", [each.cpu or 0.0 for each in found], SENT),
    )
    for axes, (what, values, color) in zip(figure.subplots(1, 2), panels, strict=True):
        dress(axes, what, "")
        axes.bar_label(axes.barh(names, values, color=color, height=0.6), fmt="%.2f", padding=4, fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.14)
    figure.savefig(path)


def main() -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--size", default="nano", choices=("nano", "0.5b", "1.5"))
    parser.add_argument("--threads", default="1,2", help="of each server; default: %(default)s")
    parser.add_argument("--utterances", type=int, default=8, help="of each server; default: %(default)s")
    parser.add_argument("--max-audio-ms", type=int, default=4000, help="cut every utterance; default: %(default)s")
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder; default: docs/figures")
    asked = parser.parse_args()
    busy, console, found = refuse_if_busy(asked.anyway), Console(stderr=True), []
    for threads in map(int, asked.threads.split(",")):
        flags = ("--voxcpm", asked.size, "--threads", str(threads), *PLAIN)
        with ExitStack() as servers:
            targets: list[str] = []
            for _ in range(2):
                scratch = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="intone-bench-")))
                targets.append(servers.enter_context(local_server(flags, scratch, console)))
                found.append(measure(targets, threads, asked.utterances, asked.max_audio_ms))
    told = (
        f"VoxCPM {asked.size}, random weights, {STEPS} steps, {asked.utterances} utterances of at most "
        f"{asked.max_audio_ms} ms for each server, one after another. {conditions(busy)}"
    )
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "two_servers.md"
    path.write_text("\n".join(["# Two servers on one machine", "", *lines(found), "", told, ""]), "utf8")
    draw(found, f"Two servers on {os.cpu_count()} cores, VoxCPM {asked.size}, random weights", path.with_suffix(".png"))
    print(f"{path.read_text('utf8')}\n{path}\n{path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
