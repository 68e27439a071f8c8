"""First sound of IndexTTS-2.5: ours streamed, ours whole, and the official package, in turn on this machine.

    python tests/bench/indextts.py [--size small|2.5] [--folder FOLDER] [--codes 64] [--runs 5] [--anyway]

All three load the same folder of random weights and speak the same text with the same voice, prepared beforehand, to
the same number of codes, in 25 flow steps. The package runs in a process of its own, which waits while ours works.
Prints a Markdown table; writes JSON and a picture beside it. Refuses on a busy machine. The package is found as the
tests find it, see tests/oracle_indextts.txt.
"""

import argparse
import importlib.util
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile
import torch

from intone.server.domain import Options, PreparedVoice, Recording, SpeakRequest
from intone.server.engines.indextts.engine import IndexTTSEngine

ROOT = Path(__file__).resolve().parents[2]
ORACLE = ROOT / "build" / "oracle-indextts"
BUSY_LOAD = 0.5  # processes running on average over the last minute, besides this one
RATE_HZ = 22050
CODE_MS = 1000 * 3.44 * 256 / RATE_HZ
TEXT = "I really did not expect that to happen here today."
STAGES = ("gpt_gen_time", "s2mel_time", "bigvgan_time")
ARMS = ("ours, streamed", "ours, whole", "official")


@dataclass(frozen=True)
class Run:
    """One text spoken once.

    Attributes:
        ttfa_s: from the request to the first sound.
        stall_s: how much later than without a pause its last sound would be heard by who plays it as it comes.
    """

    ttfa_s: float
    total_s: float
    audio_s: float
    stall_s: float
    stages_s: dict[str, float]

    @property
    def rtf(self) -> float:
        """Wall time to audio time, first sound included."""
        return self.total_s / self.audio_s


Speak = Callable[[], Run]


def ours(engine: IndexTTSEngine, voice: PreparedVoice, codes: int, whole: bool) -> Run:
    """A unit from `start` to its last step."""
    limit_ms = round((codes + 0.5) * CODE_MS)
    request = SpeakRequest(TEXT, seed=1, voice=voice, options=Options(max_audio_ms=limit_ms), whole=whole)
    stages = dict.fromkeys(STAGES, 0.0)
    arrivals: list[tuple[float, int]] = []
    began_s = time.perf_counter()
    state, done = engine.start(request), False
    while not done:
        (step,) = engine.step([state])
        done = step.done
        for name, took_ms in step.stage_ms.items():
            stages[name] += took_ms / 1000
        if step.pcm is not None:
            arrivals.append((time.perf_counter() - began_s, len(step.pcm)))
    total_s = time.perf_counter() - began_s
    assert len(state.written) == codes, f"{len(state.written)} codes, {codes} were wanted"
    heard_until_s = first_s = arrivals[0][0]
    for at_s, samples in arrivals:
        heard_until_s = max(heard_until_s, at_s) + samples / RATE_HZ
    audio_s = sum(samples for _, samples in arrivals) / RATE_HZ
    return Run(first_s, total_s, audio_s, heard_until_s - first_s - audio_s, stages)


@contextmanager
def official(folder: Path, codes: int, threads: int, beams: int) -> Iterator[Speak]:
    """The package, loaded in a process of its own."""
    script = ROOT / "tests" / "indextts_oracle_pipeline.py"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), "serve", str(folder), str(threads)],
        env=os.environ | {"PYTHONPATH": str(ORACLE), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin and process.stdout
    job = {"voice": str(folder / "voice.wav"), "text": TEXT, "codes": codes, "beams": beams}

    def answer() -> dict[str, Any]:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            sys.exit("the official package ended: run tests/test_indextts_pipeline.py to see why")
        found: dict[str, Any] = json.loads(line)
        return found

    def speak() -> Run:
        assert process.stdin
        print(json.dumps(job), file=process.stdin, flush=True)
        found = answer()
        return Run(found["first_s"], found["total_s"], found["samples"] / RATE_HZ, 0.0, found["stages_s"])

    try:
        answer()  # it is loaded
        yield speak
    finally:
        process.stdin.close()
        process.wait()


def measure(folder: Path, asked: argparse.Namespace) -> dict[str, list[Run]]:
    """All arms, one after the other, as often as asked; the first round does not count."""
    torch.set_num_threads(asked.threads)
    samples, rate_hz = soundfile.read(folder / "voice.wav", dtype="float32")
    with official(folder, asked.codes, asked.threads, asked.beams) as theirs:
        engine = IndexTTSEngine.load(folder, threads=asked.threads)
        voice = engine.prepare_voice(Recording(samples, rate_hz))
        speakers: tuple[Speak, ...] = (
            lambda: ours(engine, voice, asked.codes, whole=False),
            lambda: ours(engine, voice, asked.codes, whole=True),
            theirs,
        )
        found: dict[str, list[Run]] = {arm: [] for arm in ARMS}
        for number in range(asked.runs + 1):
            for arm, speak in zip(ARMS, speakers, strict=True):
                run = speak()
                print(f"round {number} {arm}: first sound {run.ttfa_s:.2f} s, all {run.total_s:.2f} s", file=sys.stderr)
                found[arm] += [run] if number else []
    lengths = {round(run.audio_s, 3) for runs in found.values() for run in runs}
    assert len(lengths) == 1, f"they speak different lengths: {lengths}"
    return found


def lines(found: dict[str, list[Run]]) -> Iterator[str]:
    """The table: medians."""
    yield "| | first sound ms | all ms | GPT ms | s2mel ms | BigVGAN ms | RTF | pauses ms | first sound, official = 1 |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    theirs_s = statistics.median(run.ttfa_s for run in found["official"])
    for arm, runs in found.items():
        stages = [1000 * statistics.median(run.stages_s.get(name, 0.0) for run in runs) for name in STAGES]
        first_s, total_s, stall_s, rtf = (
            statistics.median(getattr(run, name) for run in runs) for name in ("ttfa_s", "total_s", "stall_s", "rtf")
        )
        cells = [1000 * first_s, 1000 * total_s, *stages]
        shown = " | ".join(f"{cell:.0f}" for cell in cells)
        yield f"| {arm} | {shown} | {rtf:.2f} | {1000 * stall_s:.0f} | {first_s / theirs_s:.3f} |"


def draw(found: dict[str, list[Run]], path: Path) -> None:
    """Stages side by side, and when the first sound comes."""
    from matplotlib.figure import Figure  # only for people

    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(found))
    for name in STAGES:
        width = np.array([statistics.median(run.stages_s.get(name, 0.0) for run in runs) for runs in found.values()])
        axes.barh(list(found), width, left=left, label=name)
        left += width
    first = [statistics.median(run.ttfa_s for run in runs) for runs in found.values()]
    axes.plot(first, list(found), "kD", label="first sound")
    axes.invert_yaxis()
    axes.set(xlabel="s")
    axes.legend()
    figure.savefig(path, dpi=120)


def conditions(asked: argparse.Namespace, load: float, audio_s: float) -> dict[str, Any]:
    """What figures must be read with."""
    with Path("/proc/cpuinfo").open() as info:
        models = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "device": f"{models[0] if models else platform.machine()}, {os.cpu_count()} CPUs",
        "threads": asked.threads,
        "load before": round(load, 2),
        "busy": load > BUSY_LOAD,
        "software": f"Python {platform.python_version()}, torch {torch.__version__}, commit {commit or 'unknown'}",
        "command": shlex.join(["python", *sys.argv]),
        "weights": f"random, size {asked.size}, float32 in all",
        "text": f"{TEXT!r}, {asked.codes} codes, {audio_s:.2f} s",
        "voice": f"{asked.prompt_s:g} s, prepared before",
        "flow steps": 25,
        "official": f"indextts25-inference 0.2.0, {asked.beams} beam(s), its own default being 3",
        "runs": asked.runs,
        "date": time.strftime("%Y-%m-%d"),
    }


def prepare(folder: Path, asked: argparse.Namespace) -> None:
    """The models, unless they are there, and the voice's recording."""
    if not (folder / "config.yaml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        models = _load_tests("indextts_official")
        models.write(folder, models.small_documents() if asked.size == "small" else models.published_documents())
    noise = np.random.default_rng(0).standard_normal(int(asked.prompt_s * RATE_HZ)).astype(np.float32)
    soundfile.write(folder / "voice.wav", 0.1 * noise, RATE_HZ, subtype="FLOAT")


def _load_tests(name: str) -> ModuleType:
    """A module of `tests/`, by its path: tests are no package, and this is a script."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="first sound of IndexTTS-2.5, ours and the official package's")
    parser.add_argument("--size", choices=("small", "2.5"), default="small", help="2.5: 6 GB of disk, 16 of memory")
    parser.add_argument("--folder", type=Path, help="keep the models here, or take them from here")
    parser.add_argument("--codes", type=int, default=64, help="25 to a second; default 64")
    parser.add_argument("--prompt-s", type=float, default=6.0, help="length of the voice's recording, at most 15")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--beams", type=int, default=1, help="of the official package; ours has none")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder for JSON and PNG")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine too")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    if load > BUSY_LOAD and not asked.anyway:
        sys.exit(f"the machine is busy (load {load:.2f} > {BUSY_LOAD}): wait, or give --anyway")
    if not (ORACLE / "indextts25").is_dir():
        sys.exit(f"there is no official package under {ORACLE}: see tests/oracle_indextts.txt")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.folder or Path(temporary)).resolve()
        prepare(folder, asked)
        found = measure(folder, asked)
    told = conditions(asked, load, found[ARMS[0]][0].audio_s)
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / f"indextts-{asked.size}.json"
    runs = {arm: [{**asdict(run), "rtf": run.rtf} for run in arms] for arm, arms in found.items()}
    path.write_text(json.dumps({"conditions": told, "runs": runs}, indent=1), "utf8")
    draw(found, path.with_suffix(".png"))
    print("\n".join(lines(found)), end="\n\n")
    print("\n".join(f"{name}: {value}" for name, value in told.items()))
    print(f"\n{path}\n{path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
