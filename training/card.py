"""Model card of an exported checkpoint, from evaluation reports: `card.json` for the server, `README.md` for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

from intone.server.engines.voxcpm.bundled_voice import CARD_FILE, error_of
from intone.server.engines.voxcpm.weights import Checkpoint, read_checkpoint
from training.report import REPORT_FILE, table

Result = Mapping[str, Any]

PAGE_FILE = "README.md"

PAGE = """# A nano voice

One voice that speaks {names}, in the architecture of VoxCPM: {millions:.1f} M parameters, {rate_hz} Hz,
{megabytes:.1f} MB. `intone-server` loads this folder like any published checkpoint.

## Evaluation

Held-out sentences, streamed with {steps} flow steps, guidance {guidance:g}, temperature {temperature:g}
({engine}; commit {commit}):

{tables}
{metrics}

## Intended use and limits

{use}

## Training data and provenance

{sources}
"""

USE = """Short units of conversational speech in {names}, in one fixed voice. It supports no other language, no
emotion and no voice cloning (the encoder of its VAE is barely trained and not used). Its input is phonemes."""
METRICS = """MOS is predicted by distillmos; there was no listening test with people. RTF is wall time over audio time,
TTFA a median; both on one thread."""
ORIGIN = """The model was trained from random weights with the recipe in `training/` of intone's sources; it contains no
weights of VoxCPM. License: Apache-2.0."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Text of the page about one language.

    Attributes:
        metrics: definition of its error rates.
        front_end: the package that converts its text to phonemes.
        source: the teacher and the texts of its training data.
    """

    name: str
    metrics: str
    front_end: str
    source: str


PROVENANCES = {
    "en": Provenance(
        name="English",
        metrics="WER and CER are those of Whisper base, PER is that of hama 1.7.0.",
        front_end="English phonemes come from the dictionary of hibari-tts (`pip install 'intone[starter]'`).",
        source="""English was trained on speech of hibari-tts 0.2.1 (Apache-2.0) only. That model was itself distilled
from Kokoro-82M (Apache-2.0), whose author states that its training data is mostly synthetic, made by commercial
services among others. The texts are novels by Jane Austen (public domain) and usage examples from WordNet 3.0.""",
    ),
    "zh": Provenance(
        name="Mandarin",
        metrics="""For Mandarin, CER is that of Whisper base and counts homophones as errors; SER compares syllables
with tone, PER syllables without tone. The texts are the held-out sentences in pairs.""",
        front_end="Mandarin phonemes come from misaki (`pip install 'intone[mandarin]'`).",
        source="""Mandarin was trained on speech of Kokoro-82M (Apache-2.0), with the timbre of its voice af_heart, the
one that hibari-tts was distilled from, and the prosody of zf_xiaoxiao. The texts are graded sentences of
`hsk-sentences-audio` (CC BY-SA 4.0) and lists of common words.""",
    ),
}


def write(folder: Path, reports: Sequence[Path]) -> None:
    """Write `card.json` and `README.md` into the checkpoint `folder`.

    Args:
        reports: one report folder of the stage `measure` for each language of the checkpoint.

    Raises:
        FileNotFoundError: a folder has no report.
        ValueError: a report is of another checkpoint or lacks a required metric, or a language has no report.
    """
    checkpoint = read_checkpoint(folder)
    tables, metrics, identity = [], {}, {}
    for report in reports:
        about = json.loads((report / REPORT_FILE).read_text(encoding="utf-8"))
        if about["fingerprint"] != checkpoint.fingerprint:
            raise ValueError(
                f"{report / REPORT_FILE} is of another checkpoint: run the stage `measure` on {folder} first"
            )
        served, others = _as_served(about["results"], report, about["language"])
        result = {name: value for name, value in served.items() if name not in ("name", "missing")}
        identity = {name: about[name] for name in ("fingerprint", "commit")}
        title = f"{PROVENANCES[about['language']].name}, {result['sentences']} sentences"
        tables.append(table([{**result, "name": title}, *others]))
        metrics[about["language"]] = result
    missing = [name for name in checkpoint.config.languages if name not in metrics]
    if missing:
        raise ValueError(f"{folder} speaks {', '.join(missing)} too, of which there is no report: add it to --report")
    (folder / CARD_FILE).write_text(json.dumps({**identity, "languages": metrics}, indent=1) + "\n", encoding="utf-8")
    (folder / PAGE_FILE).write_text(_page(folder, checkpoint, identity, metrics, tables), encoding="utf-8")


def _page(
    folder: Path, checkpoint: Checkpoint, identity: Result, metrics: Mapping[str, Result], tables: Sequence[str]
) -> str:
    languages = [PROVENANCES[name] for name in metrics]
    tensors = [*checkpoint.model.values(), *checkpoint.vae.values()]
    names = " and ".join(one.name for one in languages)
    use = USE.format(names=names)
    return PAGE.format(
        **{**identity, **next(iter(metrics.values()))},
        names=names,
        millions=sum(tensor.numel() for tensor in tensors) / 1e6,
        megabytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6,
        rate_hz=checkpoint.config.vae.out_sample_rate_hz,
        tables="\n".join(tables),
        metrics=_paragraph(*(one.metrics for one in languages), METRICS),
        use=_paragraph(use, *(one.front_end for one in languages)),
        sources=_paragraph(*(one.source for one in languages), ORIGIN),
    )


def _paragraph(*sentences: str) -> str:
    return fill(" ".join(sentences), width=120, break_long_words=False, break_on_hyphens=False)


def _as_served(results: Sequence[Result], report: Path, language: str) -> tuple[Result, list[Result]]:
    """The result with the server's default settings, and the teacher's if it was evaluated."""
    served = next((row for row in results if row.get("as_served")), None)
    if served is None:
        raise ValueError(f"{report}: no figures of the voice as it is served; run `measure` with the default settings")
    missing = [name for name in (error_of(language), "per", "mos") if served.get(name) is None]
    if missing:
        raise ValueError(f"{report}: no {', '.join(missing)}; were all judges installed?")
    return served, [row for row in results if row["name"] == "teacher"]
