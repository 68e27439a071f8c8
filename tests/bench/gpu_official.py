"""Steps of `gpu.py`: the official packages on the same machine, with random weights of the same sizes.

They are installed from the wheels that `gpu_wheels.py` has downloaded, or found where they are installed already. Times
are of a whole utterance in process, in the packages' own precision: `voxcpm` in bfloat16 and without `torch.compile`,
which takes minutes; `indextts25-inference` as it is by default, with one beam.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from conditions import module_of_tests
from gpu_common import Given, Results, noise, synchronize
from gpu_speed import FLOW_STEPS, GUIDANCE, PATCHES, RUNS, SENTENCE_MS, SIZES, STEPS, TEXT, VOICE_S

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 22050
CODES_PER_S = 25
SENTENCE = "这是一个简短的测试句。"  # 10 characters and a full stop


class NotInstalledError(Exception):
    """An official package is neither installed nor among the wheels."""


def packages(given: Given, name: str) -> list[str]:
    """The folder of the packages of `wheels/{name}`, installed now; none where no wheels were brought along."""
    if given.wheels is None or not (given.wheels / name).is_dir():
        return []
    target = tempfile.mkdtemp(prefix=f"official-{name}-")
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps"]
    wheels = sorted(map(str, (given.wheels / name).glob("*.whl")))
    subprocess.run([*command, "--no-compile", "--target", target, *wheels], check=True)
    return [target]


def voxcpm(given: Given, results: Results) -> None:
    """`voxcpm`: first sound and milliseconds a patch, one stream.

    Raises:
        NotInstalledError: it is not there.
    """
    sys.path[:0] = packages(given, "voxcpm")
    oracle, tiny = module_of_tests("oracles.voxcpm_oracle"), module_of_tests("support.voxcpm_tiny")
    if not oracle.installed():
        raise NotInstalledError("voxcpm is not installed: bring wheels along, see gpu_wheels.py")
    size, patches = SIZES[given.size][0], PATCHES[given.size]
    results["weights"] = f"random, size {size}, bfloat16; {STEPS} steps, {patches} patches, no torch.compile"
    with tempfile.TemporaryDirectory() as folder, oracle.official() as package:
        tiny.random_checkpoint(size, Path(folder))
        streams = official_voxcpm(package, Path(folder), given.device, patches)
        _timed(given, results, lambda: next(streams))


def official_voxcpm(package: Any, folder: Path, device: str, patches: int) -> Iterator[Iterator[Any]]:
    """Streams of utterances by the official model of a folder."""
    from types import SimpleNamespace

    from intone.server.engines.voxcpm.text import TextTokenizer

    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "dtype": "bfloat16"}))
    module = package.v2 if settings["architecture"] == "voxcpm2" else package.v1
    module.LlamaTokenizerFast = SimpleNamespace(from_pretrained=lambda _: SimpleNamespace(vocab={}))
    model_class = module.VoxCPM2Model if module is package.v2 else module.VoxCPMModel
    model = model_class.from_local(str(folder), optimize=False, device=device)
    model.text_tokenizer = TextTokenizer.load(folder, settings["lm_config"]["vocab_size"]).ids
    while True:
        yield model.generate_streaming(
            target_text=TEXT, min_len=patches, max_len=patches, inference_timesteps=STEPS, cfg_value=GUIDANCE
        )


def _timed(given: Given, results: Results, stream: Callable[[], Iterator[Any]]) -> None:
    """Time utterances whose pieces are patches; the first one is not counted."""
    firsts, later = [], []
    for run in range(1 + RUNS[given.size]):
        began_s, arrivals = time.perf_counter(), []
        for _ in stream():
            synchronize(given.device)
            arrivals.append(time.perf_counter())
        if run:
            firsts.append(1000 * (arrivals[0] - began_s))
            later += list(1000 * np.diff(arrivals))
            row = {"first sound ms": statistics.median(firsts), "patch ms": statistics.median(later)}
            results["official"] = [{"package": "voxcpm", "streams": 1, **row}]


def indextts(given: Given, results: Results) -> None:
    """`indextts25-inference`: first sound and whole sentence, one stream; in a process of its own.

    Raises:
        NotInstalledError: it is not there.
        RuntimeError: it ended before its answer.
    """
    found = packages(given, "indextts") or [str(ROOT / "build" / "oracle-indextts")]
    if not (Path(found[0]) / "indextts25").is_dir():
        raise NotInstalledError("indextts25-inference is not installed: bring wheels along, see gpu_wheels.py")
    models = module_of_tests("oracles.indextts_official")
    documents = models.published_documents() if given.size == "full" else models.small_documents()
    results["weights"] = f"random, {'size 2.5' if given.size == 'full' else 'small'}; {FLOW_STEPS[given.size]} steps"
    codes = round(SENTENCE_MS[given.size] * CODES_PER_S / 1000)
    job = {"text": SENTENCE, "language": "zh", "codes": codes, "steps": FLOW_STEPS[given.size], "beams": 1}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models.write(folder, documents)
        _write_wav(folder / "voice.wav", noise(VOICE_S, RATE_HZ))
        answers = _answers(folder, given.device, found, job | {"voice": str(folder / "voice.wav")})
        next(answers)  # loaded
        next(answers)  # the first sentence encodes the voice
        runs = [next(answers) for _ in range(RUNS[given.size])]
    row = {name: statistics.median(1000 * run[f"{name}_s"] for run in runs) for name in ("first", "total")}
    results["official"] = [
        {
            "package": "indextts25-inference",
            "streams": 1,
            "first sound ms": row["first"],
            "whole sentence ms": row["total"],
            "audio ms": 1000 * runs[0]["samples"] / RATE_HZ,
        }
    ]


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((32767 * samples.clip(-1, 1)).astype("<i2").tobytes())


def _answers(folder: Path, device: str, paths: list[str], job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the process of the package says, a line at a time: first that it has loaded, then of each sentence."""
    script = ROOT / "tests" / "oracles" / "indextts_oracle_pipeline.py"
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", str(script), "serve", str(folder), str(os.cpu_count() or 1), device]
    with subprocess.Popen(command, env=known, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            while line := process.stdout.readline():
                found: dict[str, Any] = json.loads(line)
                yield found
                print(json.dumps(job), file=process.stdin, flush=True)
        finally:
            process.kill()
    raise RuntimeError("the official package ended; its output is above")
