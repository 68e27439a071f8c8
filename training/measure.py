"""Last stage: held-out sentences, streamed as the server streams them, before the judges. Knows no training.

What is measured is the exported checkpoint behind the engine's own contract: any folder in the
published layout.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from tqdm import tqdm

from intone.server.domain import Samples, SpeakRequest, SynthesisOptions
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.engine import GUIDANCE, VoxCPMEngine
from intone.server.engines.voxcpm.entry import ENTRY
from intone.server.text.normalizer import Normalizer
from training import judges as judges_file
from training.corpus import MAX_WORDS, Corpus
from training.report import Rendered, write_report
from training.shards import RATE_HZ, read_speech
from training.teacher import teacher_of

LENGTHS = (0.6, 1.6)
"""Of a sentence's length by the teacher, what is neither an early stop nor a runaway."""

DECODED_WHOLE = 20
"""Sentences whose chunks are compared with one decode of the whole."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How the engine speaks."""

    steps: int
    guidance: float
    dtype: str
    temperature: float

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.steps}-steps-guidance-{self.guidance:g}-temperature-{self.temperature:g}-{self.dtype}"


def as_served(config: VoxCPMConfig) -> Setting:
    """What a caller gets who asks for nothing."""
    return Setting(config.steps, GUIDANCE, ENTRY.cpu_precision, config.temperature)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured.

    Attributes:
        language: of the sentences.
        sentences: of the held-out list, at most.
        random_sentences: random strings of its words, 1 to 40 of them, of which only the length is judged: beside the
            teacher's, who reads them too.
        teacher: whether the teacher's own speech is judged as well.
        judges: Python of an environment that has the judges; this one if None.
    """

    language: str
    sentences: int
    random_sentences: int
    settings: Sequence[Setting]
    teacher: bool = False
    judges: Path | None = None


def settings(served: Setting, asked: Mapping[str, Sequence[Any]], one_at_a_time: bool = False) -> tuple[Setting, ...]:
    """All combinations; with `one_at_a_time` what is served, and what differs from that in a single thing.

    Args:
        asked: values to compare, by the name in `Setting`; as served where there are none.
    """
    if one_at_a_time:
        others = [replace(served, **{name: value}) for name, values in asked.items() for value in values]
        return tuple(dict.fromkeys((served, *others)))
    columns = [asked.get(field.name) or [getattr(served, field.name)] for field in fields(Setting)]
    return tuple(Setting(*chosen) for chosen in product(*columns))


def run(out: Path, checkpoint: Path, report: Path, wanted: Wanted) -> str:
    """Render, judge, and write table, JSON and plot into `report`; returns the table.

    `out` is the folder of the language.

    Raises:
        FileNotFoundError: there is no corpus, or no speech of the teacher to compare with.
        CheckpointError: the folder is no checkpoint.
    """
    corpus = Corpus.load(out / "corpus")
    speech = read_speech(out / "speech" / "held_out")
    chosen = {int(number): row for row, number in enumerate(speech.numbers[: wanted.sentences].tolist())}
    texts = [corpus.held_out[number] for number in chosen]
    spoken = [speech.sentence(row)[0].numpy() for row in chosen.values()]
    reference = save(report / "teacher", texts, spoken, RATE_HZ)
    spoken_s = [len(other) / RATE_HZ for other in spoken]
    stress = _random_texts(corpus.held_out, wanted, out)
    results: list[dict[str, Any]] = [{"name": "teacher"}] if wanted.teacher else []
    folders = [reference] if wanted.teacher else []
    for setting in wanted.settings:  # all before any judge: this part is timed
        engine = VoxCPMEngine.from_folder(checkpoint, dtype=setting.dtype, threads=1)
        served = setting == as_served(engine.model.config)
        engine.model.config = replace(engine.model.config, temperature=setting.temperature)
        rendered = render(engine, texts, setting)
        folders.append(save(report / setting.name, texts, rendered.audio, engine.info.sample_rate_hz))
        facts = {"name": setting.name, **asdict(setting), "as_served": served}
        facts |= {"engine": engine.info.device, "sentences": len(texts)}
        facts |= rendered.figures()
        facts |= _lengths(rendered.lengths_s, spoken_s)
        if stress:
            random_ones = render(engine, list(stress), setting)
            lengths = _lengths(random_ones.lengths_s, list(stress.values()))
            facts |= {f"random_{name}": value for name, value in {**lengths, "cut": sum(random_ones.cut)}.items()}
        results.append(facts)
    for facts, folder in zip(results, tqdm(folders, desc="judges", unit="folder"), strict=True):
        facts |= judged(folder, reference, wanted.language, wanted.judges)
    about = {"language": wanted.language, "checkpoint": str(checkpoint), "fingerprint": engine.fingerprint}
    return write_report(report, results, about)


def render(engine: VoxCPMEngine, texts: Sequence[str], setting: Setting) -> Rendered:
    """Speak every text, in streamed steps, one unit at a time; seeds are their numbers."""
    normalize = Normalizer()
    rendered = Rendered(engine.info.sample_rate_hz)
    for seed, text in enumerate(tqdm(texts, desc=setting.name, unit="sentence")):
        options = SynthesisOptions(steps=setting.steps, guidance=setting.guidance)
        began_s = time.perf_counter()
        unit = engine.start(SpeakRequest(text=normalize(text), seed=seed, options=options))
        parts: list[Samples] = []
        latents: list[Tensor] = []
        was_cut = False
        while not unit.done:
            (step,) = engine.step([unit])
            if step.pcm is not None:
                parts.append(step.pcm)
            if len(parts) == 1 and len(rendered.first_ms) == len(rendered.audio):
                rendered.first_ms.append(1000 * (time.perf_counter() - began_s))
            if unit.generation is not None and len(latents) < unit.made:
                latents.append(unit.generation.patch)
            was_cut = was_cut or step.cut
        rendered.elapsed_s.append(time.perf_counter() - began_s)
        rendered.audio.append(np.concatenate(parts))
        rendered.cut.append(was_cut)
        if seed < DECODED_WHOLE:
            rendered.off_whole.append(_off_whole(engine, rendered.audio[-1], latents))
    return rendered


@torch.inference_mode()
def _off_whole(engine: VoxCPMEngine, streamed: Samples, latents: Sequence[Tensor]) -> float:
    """How far chunks are, at most, from the sound of all their patches (`[P, D]` each) decoded at once."""
    vae = engine.model.vae
    whole, _ = vae.decode(torch.cat(list(latents)).T.unsqueeze(0), vae.initial_state())
    return float(np.abs(streamed - whole[0].float().cpu().numpy()).max())


def _lengths(ours_s: Sequence[float], teachers_s: Sequence[float]) -> dict[str, Any]:
    """How long we speak in parts of how long the teacher does."""
    ratios = [own / other for own, other in zip(ours_s, teachers_s, strict=True)]
    return {
        "length_ratio_least": min(ratios),
        "length_ratio_most": max(ratios),
        "early_stops": sum(ratio < LENGTHS[0] for ratio in ratios),
        "runaways": sum(ratio > LENGTHS[1] for ratio in ratios),
    }


def _random_texts(sentences: Sequence[str], wanted: Wanted, out: Path) -> dict[str, float]:
    """Random words in random numbers, and for how many seconds the teacher speaks them; of Chinese, characters.

    They end as units do: sentences and clauses, and some in no mark.
    """
    rng = random.Random(0)
    blank, ends = ("", ("。", "？", "，", "")) if wanted.language == "zh" else (" ", (".", "?", ",", ""))
    parts = (part for sentence in sentences for part in (sentence if blank == "" else sentence.split()))
    words = [word for word in (part.strip(".,;:!?\"'，。？！、：；") for part in parts) if word]
    teacher = teacher_of(wanted.language, out) if wanted.random_sentences else None
    found: dict[str, float] = {}
    while teacher is not None and len(found) < wanted.random_sentences:
        text = blank.join(rng.choices(words, k=rng.randint(1, MAX_WORDS))) + rng.choice(ends)
        spoken = teacher(text, len(found))  # None of what it would read in two
        if spoken is not None:
            found[text] = len(spoken.audio) / RATE_HZ
    return found


def save(folder: Path, texts: Sequence[str], audio: Sequence[Samples], rate_hz: int) -> Path:
    """A folder for the judges."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (text, samples) in enumerate(zip(texts, audio, strict=True)):
        soundfile.write(folder / f"{number:05d}.wav", samples, rate_hz, subtype="PCM_16")
        lines.append(f"{number:05d}.wav\t{text}\n")
    (folder / "texts.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def judged(folder: Path, reference: Path, language: str, python: Path | None) -> dict[str, Any]:
    """What the judges say, in an environment of their own where one is named: they want other versions than we do."""
    # Isolated: the folder of this file has names that a judge's packages might want.
    command = [str(python or sys.executable), "-I", judges_file.__file__, str(folder), str(reference), language]
    subprocess.run(command, check=True)
    totals: dict[str, Any] = json.loads((folder / judges_file.RESULT).read_text(encoding="utf-8"))["totals"]
    return totals
