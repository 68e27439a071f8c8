"""Last stage: synthesizes held-out sentences by streaming, as the server does, and evaluates them.

It measures an exported checkpoint through the public interface of the engine, so any folder in the published layout
can be evaluated.
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
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.entry import ENTRY
from intone.server.text.normalizer import Normalizer
from training import judges as judges_file
from training.corpus import MAX_WORDS, Corpus
from training.report import Rendered, write_report
from training.shards import RATE_HZ, read_speech
from training.teacher import teacher_of

LENGTHS = (0.6, 1.6)
"""Range of the ratio of durations, ours to the teacher's; below is an early stop, above is a runaway."""

DECODED_WHOLE = 20
"""Number of sentences whose streamed chunks are compared with a single decode of all patches."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Synthesis settings to compare: flow steps, guidance scale, data type, noise temperature."""

    steps: int
    guidance: float
    dtype: str
    temperature: float

    @property
    def name(self) -> str:
        """Name of the folder for the audio of this setting."""
        return f"{self.steps}-steps-guidance-{self.guidance:g}-temperature-{self.temperature:g}-{self.dtype}"


def as_served(config: VoxCPMConfig) -> Setting:
    """Setting that the server uses by default."""
    return Setting(config.steps, config.guidance, ENTRY.cpu_precision, config.temperature)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to measure.

    Attributes:
        language: language of the sentences.
        sentences: maximum number of held-out sentences.
        random_sentences: number of additional texts of 1 to 40 random words from the held-out list. Only their duration
            is evaluated, relative to the teacher's.
        settings: synthesis settings to compare.
        teacher: whether to evaluate the teacher's speech too.
        judges: Python interpreter of an environment with the evaluation models; the current one if None.
    """

    language: str
    sentences: int
    random_sentences: int
    settings: Sequence[Setting]
    teacher: bool = False
    judges: Path | None = None


def settings(served: Setting, asked: Mapping[str, Sequence[Any]], one_at_a_time: bool = False) -> tuple[Setting, ...]:
    """Return all combinations of the values in `asked`.

    Args:
        served: the default setting.
        asked: values to compare, by field of `Setting`; a field without values is as in `served`.
        one_at_a_time: return `served` and its variants that differ in a single field instead.
    """
    if one_at_a_time:
        others = [replace(served, **{name: value}) for name, values in asked.items() for value in values]
        return tuple(dict.fromkeys((served, *others)))
    columns = [asked.get(field.name) or [getattr(served, field.name)] for field in fields(Setting)]
    return tuple(Setting(*chosen) for chosen in product(*columns))


def run(out: Path, checkpoint: Path, report: Path, wanted: Wanted) -> str:
    """Synthesize and evaluate, and write a table, JSON and a plot to `report`; returns the table.

    `out` is the folder of the language.

    Raises:
        FileNotFoundError: there is no corpus, or no reference speech of the teacher.
        CheckpointError: `checkpoint` is not a valid checkpoint.
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
    for setting in wanted.settings:  # before any evaluation, because synthesis is timed
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
    """Synthesize every text by streaming, one at a time; the seed is the index of the text."""
    normalize = Normalizer()
    rendered = Rendered(engine.info.sample_rate_hz)
    for seed, text in enumerate(tqdm(texts, desc=setting.name, unit="sentence")):
        options = SynthesisOptions(parameters={"steps": setting.steps, "guidance": setting.guidance})
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
    """Maximum absolute difference between streamed audio and all patches (`[P, D]` each) decoded at once."""
    vae = engine.model.vae
    whole, _ = vae.decode(torch.cat(list(latents)).T.unsqueeze(0), vae.initial_state())
    return float(np.abs(streamed - whole[0].float().cpu().numpy()).max())


def _lengths(ours_s: Sequence[float], teachers_s: Sequence[float]) -> dict[str, Any]:
    """Statistics of the ratio of durations in seconds, ours to the teacher's."""
    ratios = [own / other for own, other in zip(ours_s, teachers_s, strict=True)]
    return {
        "length_ratio_least": min(ratios),
        "length_ratio_most": max(ratios),
        "early_stops": sum(ratio < LENGTHS[0] for ratio in ratios),
        "runaways": sum(ratio > LENGTHS[1] for ratio in ratios),
    }


def _random_texts(sentences: Sequence[str], wanted: Wanted, out: Path) -> dict[str, float]:
    """Texts of random words (Chinese: characters), with the duration of the teacher's speech in seconds.

    They end like synthesis units: with the punctuation of a sentence or clause, or without any.
    """
    rng = random.Random(0)
    blank, ends = ("", ("。", "？", "，", "")) if wanted.language == "zh" else (" ", (".", "?", ",", ""))
    parts = (part for sentence in sentences for part in (sentence if blank == "" else sentence.split()))
    words = [word for word in (part.strip(".,;:!?\"'，。？！、：；") for part in parts) if word]
    teacher = teacher_of(wanted.language, out) if wanted.random_sentences else None
    found: dict[str, float] = {}
    while teacher is not None and len(found) < wanted.random_sentences:
        text = blank.join(rng.choices(words, k=rng.randint(1, MAX_WORDS))) + rng.choice(ends)
        spoken = teacher(text, len(found))  # None if the teacher would split the text
        if spoken is not None:
            found[text] = len(spoken.audio) / RATE_HZ
    return found


def save(folder: Path, texts: Sequence[str], audio: Sequence[Samples], rate_hz: int) -> Path:
    """Write the WAV files and `texts.tsv` that the evaluation reads; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (text, samples) in enumerate(zip(texts, audio, strict=True)):
        soundfile.write(folder / f"{number:05d}.wav", samples, rate_hz, subtype="PCM_16")
        lines.append(f"{number:05d}.wav\t{text}\n")
    (folder / "texts.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def judged(folder: Path, reference: Path, language: str, python: Path | None) -> dict[str, Any]:
    """Evaluate a folder and return the totals.

    The evaluation models run in a subprocess with the interpreter `python`, if given, because they require other
    package versions.
    """
    # -I: modules in the script's folder must not shadow packages that the evaluation imports.
    command = [str(python or sys.executable), "-I", judges_file.__file__, str(folder), str(reference), language]
    subprocess.run(command, check=True)
    totals: dict[str, Any] = json.loads((folder / judges_file.RESULT).read_text(encoding="utf-8"))["totals"]
    return totals
