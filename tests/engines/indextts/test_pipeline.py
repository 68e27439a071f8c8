"""The whole of IndexTTS-2.5, from folder, text and sound files to audio, against the official package.

Both read the same folder of small random models and the same sound files. The package is
unchanged except for its random draws: it decodes greedily, and its flow starts from our noise.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from intone.server.domain import Emotion, SpeakRequest, SynthesisOptions
from intone.server.engines.indextts import engine as engine_module
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.indextts.gpt.sampling import Sampling
from intone.server.engines.indextts.s2mel.noise import frame_noise
from intone.server.engines.indextts.voice.emotion import balanced
from intone.server.engines.pieces import complete
from tests.oracles.indextts_golden import ORACLE, REQUIREMENTS, ROOT, assert_close
from tests.oracles.indextts_official import small_documents, write
from tests.support.indextts_units import finish, recording, sound_file

SCRIPT = Path(__file__).resolve().parents[2] / "oracles" / "indextts_oracle_pipeline.py"
MAX_RELATIVE_ERROR = 1e-5
CODES = 50
CODES_MS = 2000
MAX_FRAMES = 400
WEIGHTS = (0.5, 0.0, 0.9, 0.0, 0.0, 0.0, 0.1, 0.0)
"""Their sum exceeds the limit, so they are scaled down."""


@dataclass(frozen=True)
class Case:
    """A request, and the corresponding arguments of the official package.

    `clip`: whether the emotion is that of the second sound file.
    """

    text: str
    language: str = "en"
    seed: int = 1
    emotion: Emotion = Emotion()
    clip: bool = False
    speed: float | None = None
    more: dict[str, Any] = field(default_factory=dict)


CASES = {
    "plain": Case("Hello there, my friend!", seed=2**64 - 1),
    "chinese": Case("你好，我的朋友。", language="zh"),
    "weights": Case("This is too much", emotion=Emotion(WEIGHTS, 1.0), more={"emo_vector": list(balanced(WEIGHTS))}),
    "clip": Case("Not so much", emotion=Emotion(intensity=0.6), clip=True, more={"emo_alpha": 0.6}),
    "slow": Case("As slow as that", speed=0.8, more={"duration_factor": 1.25}),
    "fast": Case("As fast as this", speed=1.6, more={"duration_factor": 0.625}),
}


@dataclass(frozen=True)
class Pipelines:
    """Our engine, a folder of sound files, and the official results."""

    folder: Path
    engine: IndexTTSEngine
    theirs: dict[str, Tensor]


@pytest.fixture(scope="module")
def pipelines(require: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Pipelines:
    require("oracle-indextts", (ORACLE / "indextts25").is_dir(), f"no oracle: see {REQUIREMENTS.relative_to(ROOT)}")
    folder = tmp_path_factory.mktemp("indextts")
    write(folder, small_documents())
    (folder / "voice.wav").write_bytes(sound_file(recording(2.0)))
    (folder / "clip.wav").write_bytes(sound_file(recording(1.5, seed=2, rate_hz=16000)))
    engine = IndexTTSEngine.from_folder(folder)
    frames = complete(engine.prepare_voice(recording(2.0))).arrays["mel"].shape[0]
    return Pipelines(folder, engine, official_sounds(folder, engine.fingerprint, frames))


def official_sounds(folder: Path, fingerprint: str, prompt_frames: int) -> dict[str, Tensor]:
    """The official results of all cases, cached under build/."""
    jobs = []
    for name, case in CASES.items():
        noise = torch.from_numpy(frame_noise(case.seed, 0, MAX_FRAMES, 80))
        save_file({"noise": noise}, folder / f"{name}.noise")
        more = case.more | ({"emo_audio_prompt": str(folder / "clip.wav")} if case.clip else {})
        job = {"name": name, "text": case.text, "language": case.language, "codes": CODES, "more": more}
        paths = {"noise": str(folder / f"{name}.noise"), "voice": str(folder / "voice.wav")}
        jobs.append({**job, **paths, "prompt_frames": prompt_frames})
    asked = json.dumps(jobs).replace(str(folder), "").encode()
    digest = hashlib.sha256(SCRIPT.read_bytes() + REQUIREMENTS.read_bytes() + asked + fingerprint.encode()).hexdigest()
    kept = ROOT / "build" / "golden-indextts" / f"{SCRIPT.stem}-{digest[:16]}.safetensors"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        (folder / "jobs.json").write_text(json.dumps(jobs), "utf8")
        draft = kept.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(SCRIPT), str(folder), str(folder / "jobs.json"), str(draft)],
            env=os.environ | {"PYTHONPATH": str(ORACLE), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{SCRIPT.name} failed:\n{done.stderr[-4000:]}"
        draft.rename(kept)
    return load_file(kept)


@pytest.mark.parametrize("name", CASES)
def test_the_whole_pipeline(name: str, pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    case, engine = CASES[name], pipelines.engine
    theirs = {key.partition(".")[2]: value for key, value in pipelines.theirs.items() if key.startswith(f"{name}.")}
    monkeypatch.setattr(engine_module, "Sampling", partial(Sampling, top_k=1))
    clip = (pipelines.folder / "clip.wav").read_bytes() if case.clip else b""
    factor = 1 / (case.speed or 1)
    request = SpeakRequest(
        case.text,
        seed=case.seed,
        voice=complete(engine.prepare_voice(recording(2.0))),
        emotion=Emotion(case.emotion.weights, case.emotion.intensity, clip=clip),
        options=SynthesisOptions(speed=case.speed, parameters={"max_audio_ms": round(CODES_MS * factor)}),
        whole=True,
    )
    state = engine.start(request)
    sound = np.concatenate([step.pcm for step in finish(engine, state) if step.pcm is not None])
    assert list(state.tokenized.ids) == theirs["text"].tolist()
    assert state.all_codes == theirs["codes"].tolist() and len(state.all_codes) == CODES
    assert theirs["mel"].shape[1] == int(2 * CODES * 1.72 * factor)
    assert float(theirs["sound"].std()) > 0.02
    assert_close(torch.from_numpy(sound), theirs["sound"], MAX_RELATIVE_ERROR)


def test_the_cases_differ(pipelines: Pipelines) -> None:
    """The results depend on text, seed, emotion and speed."""
    codes = {tuple(pipelines.theirs[f"{name}.codes"].tolist()) for name in CASES}
    assert len(codes) == len(CASES)
