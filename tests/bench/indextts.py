"""Where the time of IndexTTS-2.5 goes: ours streamed, ours whole, and the official package, in turn on this machine.

    python tests/bench/indextts.py [--size small|2.5] [--lengths 2,10,20] [--steps 25,10,5,3] [--dtype int8] [--anyway]
    python tests/bench/indextts.py --voice-cache --pace --only streamed,whole

All three load the same folder of random weights and speak the same texts with the same voice, prepared beforehand.
Random weights never stop by themselves, so every text has a number of codes that it is cut at: those of a report on
how long such texts last. The package runs in a process of its own, which waits while ours works. Prints a Markdown
table; writes it, JSON and a picture to `--out`. Refuses on a busy machine. The package is found as the tests find it,
see tests/oracles/indextts.txt.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from conditions import MAX_BUSY_CPUS, ROOT, command, command_line, commit, module_of_tests, processor, refuse_if_busy
from indextts_stages import CODE_S, RATE_HZ, Cell, Forecast, Found, Run, draw, lines

from intone.server.domain import PRECISIONS, PreparedVoice, Recording, SpeakRequest, SynthesisOptions
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.pieces import complete

ORACLE = ROOT / "build" / "oracle-indextts"
TEXTS = {2: "你好", 10: "今天的天气真的很不错", 20: "我没有想到今天会在这里遇见你们真是太高兴"}
CODES = {2: 26, 10: 70, 20: 120}
OFFICIAL = "official"
ARMS = {"streamed": "ours, streamed", "whole": "ours, whole", "official": OFFICIAL}

Speak = Callable[[Cell], Run]


def ours(engine: IndexTTSEngine, voice: PreparedVoice, cell: Cell, whole: bool) -> Run:
    """A unit from `start` to its last step."""
    max_audio_ms = round(1000 * (cell.codes + 0.5) * CODE_S)
    options = SynthesisOptions(parameters={"max_audio_ms": max_audio_ms, "steps": cell.steps})
    request = SpeakRequest(TEXTS[cell.characters], seed=1, voice=voice, options=options, whole=whole)
    stages: dict[str, float] = {}
    arrivals: list[tuple[float, int]] = []
    began_s = time.perf_counter()
    state, done = engine.start(request), False
    while not done:
        (step,) = engine.step([state])
        done = step.done
        for name, took_ms in step.stage_ms.items():
            stages[name] = stages.get(name, 0.0) + took_ms / 1000
        if step.pcm is not None:
            arrivals.append((time.perf_counter() - began_s, len(step.pcm)))
    total_s = time.perf_counter() - began_s
    assert len(state.all_codes) == cell.codes, f"{len(state.all_codes)} codes, {cell.codes} were wanted"
    heard_until_s = first_s = arrivals[0][0]
    for at_s, samples in arrivals:
        heard_until_s = max(heard_until_s, at_s) + samples / RATE_HZ
    audio_s = sum(samples for _, samples in arrivals) / RATE_HZ
    return Run(first_s, total_s, audio_s, heard_until_s - first_s - audio_s, stages)


@contextmanager
def official(folder: Path, threads: int, beams: int) -> Iterator[Speak]:
    """The package, loaded in a process of its own."""
    script = ROOT / "tests" / "oracles" / "indextts_oracle_pipeline.py"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), "serve", str(folder), str(threads)],
        env=os.environ | {"PYTHONPATH": str(ORACLE), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin and process.stdout

    def answer() -> dict[str, Any]:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            sys.exit("the official package ended: run tests/engines/indextts/test_pipeline.py to see why")
        found: dict[str, Any] = json.loads(line)
        return found

    def speak(cell: Cell) -> Run:
        assert process.stdin
        job = {"voice": str(folder / "voice.wav"), "text": TEXTS[cell.characters], "language": "zh"}
        job |= {"codes": cell.codes, "steps": cell.steps, "beams": beams}  # type: ignore[dict-item]
        print(json.dumps(job), file=process.stdin, flush=True)
        found = answer()
        return Run(found["first_s"], found["total_s"], found["samples"] / RATE_HZ, 0.0, found["stages_s"])

    try:
        answer()  # it is loaded
        yield speak
    finally:
        process.stdin.close()
        process.wait()


def measure(folder: Path, asked: argparse.Namespace, kept: Callable[[Found], None]) -> Found:
    """All cells, in each of them all arms in turn; `kept` is called after each cell with all there is.

    Every arm first speaks the cheapest cell once for nothing, which also fills the cache of voices.
    """
    torch.set_num_threads(asked.threads)
    samples, rate_hz = soundfile.read(folder / "voice.wav", dtype="float32")
    cells = [Cell(length, CODES[length], steps) for length in asked.lengths for steps in asked.steps]
    arms = [ARMS[name] for name in asked.only]
    with official(folder, asked.threads, asked.beams) if OFFICIAL in arms else nullcontext() as theirs:
        # Without its encoders, which nothing needs after the voice: the other one has all of its own in memory.
        how = {"drop_encoders": True, "voice_cache": asked.voice_cache, "paced": asked.pace}
        engine = IndexTTSEngine.from_folder(folder, dtype=asked.dtype, threads=asked.threads, **how)
        voice = complete(engine.prepare_voice(Recording(samples, rate_hz)))
        speakers: dict[str, Speak] = {
            ARMS["streamed"]: lambda cell: ours(engine, voice, cell, False),
            ARMS["whole"]: lambda cell: ours(engine, voice, cell, True),
        }
        if theirs is not None:
            speakers[OFFICIAL] = theirs
        forecast, found = Forecast(asked.prompt_s), Found()
        first = min(cells, key=lambda cell: cell.takes_s(asked.prompt_s))
        plan = [(first, who) for who in arms] + [(c, who) for c in cells for _ in range(asked.runs) for who in arms]
        for number, (cell, who) in enumerate(plan):
            run = speakers[who](cell)
            if number >= len(arms):
                found.setdefault(cell, {arm: [] for arm in arms})[who].append(run)
                forecast.add(who, cell, run.total_s)
            say = f"[{number + 1}/{len(plan)}] {cell.characters} characters, {cell.steps} steps, {who}: "
            left = f"about {forecast.left_s(plan[number + 1 :]) / 60:.1f} min left"
            print(f"{say}first sound {run.ttfa_s:.2f} s, all {run.total_s:.2f} s; {left}", file=sys.stderr, flush=True)
            if cell in found and len(found[cell][arms[-1]]) == asked.runs:
                kept(found)
    for cell, by_who in found.items():
        lengths = {round(run.audio_s, 3) for runs in by_who.values() for run in runs}
        assert len(lengths) == 1, f"they speak different lengths of {cell}: {lengths}"
    return found


def described(asked: argparse.Namespace, busy: float) -> dict[str, Any]:
    """What figures must be read with."""
    return {
        "device": processor(),
        "threads": asked.threads,
        "CPUs used by other processes": round(busy, 2),
        "busy": busy > MAX_BUSY_CPUS,
        "software": f"Python {platform.python_version()}, torch {torch.__version__}, commit {commit()}",
        "command": command(),
        "weights": f"random, size {asked.size}; ours in {asked.dtype}, {OFFICIAL} in float32",
        "cache of voices": asked.voice_cache,
        "chunks by measured speed": asked.pace,
        "texts": ", ".join(f"{TEXTS[length]} ({CODES[length]} codes)" for length in asked.lengths),
        "voice": f"{asked.prompt_s:g} s, prepared before",
        OFFICIAL: f"indextts25-inference 0.2.0, beams: {asked.beams}, its own default: 3; 25 steps are its own",
        "runs": f"{asked.runs}, medians; times in ms, in brackets shares of the total",
        "date": time.strftime("%Y-%m-%d"),
    }


def prepare(folder: Path, asked: argparse.Namespace) -> None:
    """The models, unless they are there, and the voice's recording."""
    if not (folder / "config.yaml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        models = module_of_tests("oracles.indextts_official")
        models.write(folder, models.small_documents() if asked.size == "small" else models.published_documents())
    noise = np.random.default_rng(0).standard_normal(int(asked.prompt_s * RATE_HZ)).astype(np.float32)
    soundfile.write(folder / "voice.wav", 0.1 * noise, RATE_HZ, subtype="FLOAT")


def _numbers(low: int, high: int) -> Callable[[str], list[int]]:
    def numbers(text: str) -> list[int]:
        found = [int(part) for part in text.split(",")]
        if not all(low <= number <= high for number in found):
            raise ValueError(text)
        return found

    return numbers


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--size", choices=("small", "2.5"), default="small", help="2.5: 6 GB of disk, 16 of memory")
    parser.add_argument("--folder", type=Path, help="keep the models here, or take them from here")
    parser.add_argument("--lengths", type=_numbers(2, 20), default=[*TEXTS], help="characters, of 2,10,20; default all")
    parser.add_argument("--steps", type=_numbers(1, 100), default=[25, 10, 5, 3], help="of the flow; default 25,10,5,3")
    parser.add_argument("--prompt-s", type=float, default=3.0, help="length of the voice's recording, at most 15")
    parser.add_argument("--dtype", choices=PRECISIONS, default="auto", help="of ours; default: as served")
    parser.add_argument("--voice-cache", action="store_true", help="of ours: as --indextts-voice-cache of the server")
    parser.add_argument("--pace", action="store_true", help="of ours: chunk sizes by measured speed, as served")
    parser.add_argument("--only", default=",".join(ARMS), help="who speaks, default: %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--beams", type=int, default=1, help="of the official package; ours has none")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder for JSON, Markdown and PNG")
    parser.add_argument("--redraw", action="store_true", help="draw the figures of an earlier run again")
    asked = parser.parse_args()
    if set(asked.lengths) - set(TEXTS):
        parser.error(f"--lengths: there are texts of {', '.join(map(str, TEXTS))} characters")
    asked.only = [name for name in ARMS if name in asked.only.split(",")]
    if not asked.only:
        parser.error(f"--only: found none of {', '.join(ARMS)}")
    return asked


def redraw(path: Path) -> None:
    """Draw the figures in a JSON file."""
    saved = json.loads(path.read_text("utf8"))
    found: Found = {}
    for row in saved["runs"]:
        cell = Cell(row["characters"], row["codes"], row["steps"])
        run = Run(**{each.name: row[each.name] for each in fields(Run)})
        found.setdefault(cell, {}).setdefault(row["who"], []).append(run)
    told = saved["conditions"]
    title = (
        f"{path.stem.replace('indextts-', 'IndexTTS ')}, random weights, {told['device']}, {told['threads']} threads"
    )
    draw(found, title, path.with_suffix(".png"))


def main() -> None:
    """Measure and report."""
    asked = arguments()
    if asked.redraw:
        redraw(asked.out / f"indextts-{asked.size}.json")
        return
    busy = refuse_if_busy(asked.anyway)
    if "official" in asked.only and not (ORACLE / "indextts25").is_dir():
        sys.exit(f"there is no official package under {ORACLE}: see tests/oracles/indextts.txt")
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / f"indextts-{asked.size}.json"
    told = described(asked, busy)

    def keep(found: Found) -> None:
        rows = [
            {**asdict(cell), "who": who, **asdict(run), "rtf": run.rtf}
            for cell, by_who in found.items()
            for who, runs in by_who.items()
            for run in runs
        ]
        told["peak memory, ours"] = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB"
        path.write_text(json.dumps({"conditions": told, "runs": rows}, indent=1, ensure_ascii=False), "utf8")
        notes = "\n".join(f"- {name}: {value}" for name, value in told.items())
        path.with_suffix(".md").write_text("\n".join(lines(found, OFFICIAL)) + f"\n\n{notes}\n", "utf8")

    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.folder or Path(temporary)).resolve()
        prepare(folder, asked)
        measure(folder, asked, keep)
    redraw(path)
    print(path.with_suffix(".md").read_text("utf8"))
    print("\n".join(str(path.with_suffix(suffix)) for suffix in (".md", ".json", ".png")))


if __name__ == "__main__":
    main()
