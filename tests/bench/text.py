"""Time of the text stages, how long they hold up the event loop, and properties of text normalization. Prints Markdown.

    python tests/bench/text.py                    # milliseconds by stage, and stalls of the event loop: about a minute
    python tests/bench/text.py --check 100000     # no word lost, spans tile, no exception, on so many texts

Stages: processor time, which other work on the machine hardly changes, the fastest of three rounds. Sentences are those
of tests/data/normalization.tsv in each language, and texts of 200 characters joined from them. The sounds are those of
the packaged voice.

Stalls: how late a task of the server's event loop wakes that sleeps for a millisecond at a time, while streams of
another process send these sentences word by word; the engine is one that only keeps time. This is wall time, with
everything else on the machine in it, and so are the delays without streams, which are printed beside it. The processor
time that the loop's thread took between two wakings shows what the server itself caused.

The texts to check are random mixtures and the prose of the installed packages.
"""

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conditions import command_line, conditions, module_of_tests, refuse_if_busy
from service import TickingEngine

from intone.client import AsyncSpeechClient, AsyncUtterance
from intone.server.app import serving
from intone.server.config import Config
from intone.server.emotion.cues import read_cues
from intone.server.engines.phonemes import phonemizer
from intone.server.text.characters import has_cjk
from intone.server.text.normalization import normalize
from intone.server.text.normalization.pipeline import run_stages
from intone.server.text.segmenter import Segmenter

ROUNDS = 3
LENGTH = 200
STAGES = ("units", "cues", "clean", "markup", "classes", "words", "sounds")
NORMALIZATION = ("clean", "markup", "classes", "words")
TARGET_MS = 5.0
"""p99 of the normalization of `LENGTH` characters."""

STREAMS = 8
STALL_S = 12.0
WARM_UP_S = 3.0
TICK_S = 0.001
TARGET_STALL_MS = 2.0
WORD_S = 0.05
"""Time between two words of a stream: faster than people speak, as language models write."""


# ---- stages ----------------------------------------------------------------------------------------------------------


def unit_texts(sentences: Sequence[str]) -> list[str]:
    """Texts of `LENGTH` characters, joined from the sentences."""
    text = " ".join(sentence.replace("\n", " ") for sentence in sentences)
    return [text[start : start + LENGTH] for start in range(0, len(text) - LENGTH, LENGTH)]


def stage_times_s(text: str, phonemize: Callable[[str], str]) -> dict[str, float]:
    """Seconds that each stage takes for a text, the fastest of `ROUNDS`."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        began = time.thread_time()
        segmenter = Segmenter()
        segmenter.push(text)
        segmenter.finish()
        cut = time.thread_time()
        read_cues(text)
        found = time.thread_time()
        stages = run_stages(text)
        spoken = time.thread_time()
        if stages.normalized.spoken:
            phonemize(stages.normalized.marked)
        took = {"units": cut - began, "cues": found - cut, **stages.took_s, "sounds": time.thread_time() - spoken}
        best = {name: min(best.get(name, took_s), took_s) for name, took_s in took.items()}
    return best


def print_table(name: str, texts: Sequence[str], phonemize: Callable[[str], str]) -> float:
    """Print milliseconds by stage; return p99 of the normalization."""
    times = [stage_times_s(text, phonemize) for text in texts]
    columns = {stage: [1000 * one[stage] for one in times] for stage in STAGES}
    columns["clean to words"] = [1000 * sum(one[stage] for stage in NORMALIZATION) for one in times]
    print(f"| {name}: {len(texts)} | p50 ms | p99 ms | max ms |\n|---|---:|---:|---:|")
    for stage, values in columns.items():
        print(f"| {stage} | {statistics.median(values):.2f} | {p99(values):.2f} | {max(values):.2f} |")
    print()
    return p99(columns["clean to words"])


def p99(values: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[98]


# ---- event loop ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ticks:
    """Milliseconds for each sleep of `TICK_S`: how late it ended, and the processor time of the thread meanwhile."""

    late_ms: list[float]
    busy_ms: list[float]


async def tick(seconds: float) -> Ticks:
    """Sleep again and again."""
    ticks, until = Ticks([], []), time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        busy = time.thread_time()
        await asyncio.sleep(TICK_S)
        ticks.late_ms.append(1000 * (time.monotonic() - began - TICK_S))
        ticks.busy_ms.append(1000 * (time.thread_time() - busy))
    return ticks


async def stalls() -> tuple[Ticks, Ticks]:
    """The event loop of a server without streams, and while `STREAMS` talk."""
    config = Config(port=0, max_streams=STREAMS, max_batch=STREAMS, max_load=0.0, log_level="warning")
    async with serving(config, {"starter": lambda: TickingEngine(phases=STREAMS)}) as app:
        alone = await tick(STALL_S / 4)
        talking = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__)), "--talk", f"127.0.0.1:{app.port}"
        )
        await asyncio.sleep(WARM_UP_S)
        ticks = await tick(STALL_S)
        assert talking.returncode is None, "the streams ended early"
        talking.terminate()
        await talking.wait()
        return alone, ticks


async def talk(target: str) -> None:
    """Speak the corpus on `STREAMS` streams, again and again, until this process is ended."""
    sentences = module_of_tests("support.prose").corpus_sentences()

    async def stream(client: AsyncSpeechClient, first: int) -> None:
        async with client.conversation() as conversation:
            for sentence in itertools.cycle(sentences[first:] + sentences[:first]):
                await (await write(conversation.utterance(), sentence)).done()

    async with AsyncSpeechClient(target) as client:
        await asyncio.gather(*(stream(client, n * len(sentences) // STREAMS) for n in range(STREAMS)))


async def write(utterance: AsyncUtterance, sentence: str) -> AsyncUtterance:
    """Send a sentence in pieces of about a word."""
    size = 4 if has_cjk(sentence) else 8
    for start in range(0, len(sentence), size):
        await utterance.send(sentence[start : start + size])
        await asyncio.sleep(WORD_S)
    await utterance.end()
    return utterance


def print_stalls() -> None:
    """Measure and print."""
    alone, talking = asyncio.run(stalls())
    print("| event loop | p50 ms | p99 ms | max ms |\n|---|---:|---:|---:|")
    for name, values in (
        ("late, without streams", alone.late_ms),
        (f"late, {STREAMS} streams", talking.late_ms),
        (f"processor time at a stretch, {STREAMS} streams", talking.busy_ms),
    ):
        print(f"| {name} | {statistics.median(values):.2f} | {p99(values):.2f} | {max(values):.2f} |")
    late_ms = p99(talking.late_ms)
    print(f"\nTarget: p99 at most {TARGET_STALL_MS:g} ms: {'met' if late_ms <= TARGET_STALL_MS else 'MISSED'}.\n")


# ---- properties ------------------------------------------------------------------------------------------------------


def check(count: int) -> int:
    """Check properties on `count` texts; return how many texts fail, after printing the first ones."""
    prose, properties = module_of_tests("support.prose"), module_of_tests("support.text_properties")
    real = [*prose.readme_sentences(), *prose.corpus_sentences()][: count // 2]
    failed, slowest_s, began = 0, 0.0, time.perf_counter()
    for text in itertools.chain(real, itertools.islice(prose.random_texts(seed=11), count - len(real))):
        start = time.process_time()
        normalized = normalize(text)
        slowest_s = max(slowest_s, time.process_time() - start)
        try:
            properties.check_pieces(text, normalized)
            lost = properties.lost_words(text, normalized)
        except AssertionError as error:
            lost = [f"pieces: {error}"]
        if lost:
            failed += 1
            if failed <= 20:
                print(f"{text!r}: {normalized.spoken!r} lost {lost}")
    print(f"{count} texts ({len(real)} real), {failed} failed, slowest {1000 * slowest_s:.0f} ms of processor time,")
    print(f"{time.perf_counter() - began:.0f} s in all.")
    return failed


def main() -> int:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--check", type=int, default=0, metavar="N", help="check properties on N texts instead")
    parser.add_argument("--talk", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.talk:
        asyncio.run(talk(arguments.talk))
    if arguments.check:
        return 1 if check(arguments.check) else 0
    busy = refuse_if_busy(arguments.anyway)
    sentences = module_of_tests("support.prose").corpus_sentences()
    phonemize, slowest = phonemizer("hibari", ("en", "zh")), 0.0
    for name, chinese in (("English", False), ("Chinese", True)):
        chosen = [sentence for sentence in sentences if has_cjk(sentence) is chinese]
        print_table(f"{name} sentences", chosen, phonemize)
        slowest = max(slowest, print_table(f"{name} texts of {LENGTH} characters", unit_texts(chosen), phonemize))
    met = "met" if slowest <= TARGET_MS else "MISSED"
    print(f"Target: p99 of clean to words at most {TARGET_MS:g} ms for {LENGTH} characters: {met}.\n")
    print_stalls()
    print(conditions(busy))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
