"""The card of a checkpoint: what was measured of it, JSON for the server, a page for people. Judges nothing."""

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

## How it speaks

Sentences that training never saw, streamed in {steps} steps at guidance {guidance:g}, temperature {temperature:g}
({engine}; commit {commit}):

{tables}
{judges}

## What it is for, and what not

{use}

## Where it comes from

{sources}
"""

USE = """Short units of plain talk in {names}, in the one voice it knows. It reads nothing else, voices no emotion
and clones no voice (the encoder in its VAE has learnt little, and is not used). What it reads are sounds."""
JUDGED = (
    "MOS is what distillmos predicts: nobody listened. RTF is wall time over audio time, TTFA a median; one thread."
)
LEARNT = """It was trained from random weights by the recipe in `training/` of intone's sources; no weights of VoxCPM
are in it. Licence: Apache-2.0."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a page says of a language.

    Attributes:
        judges: what its errors are.
        reader: what finds its sounds.
        source: whose speech was learnt, of which texts.
    """

    name: str
    judges: str
    reader: str
    source: str


PROVENANCES = {
    "en": Provenance(
        name="English",
        judges="WER and CER are what Whisper base mishears, PER what hama 1.7.0 does.",
        reader="The dictionary of hibari-tts finds those of English (`pip install 'intone[starter]'`).",
        source="""English was learnt from speech of hibari-tts 0.2.1 (Apache-2.0) alone, which is itself a
student of Kokoro-82M (Apache-2.0), whose author states that its training mix is mostly synthetic, made by commercial
services among others. The texts are novels of Jane Austen (public domain) and examples from WordNet 3.0.""",
    ),
    "zh": Provenance(
        name="Mandarin",
        judges="""Of Mandarin, CER are the characters that Whisper base mishears, those that sound the same among
them, SER the syllables with their tones, PER without. Its texts are the held-out sentences two by two.""",
        reader="misaki finds those of Mandarin (`pip install 'intone[mandarin]'`).",
        source="""Mandarin was learnt from speech of Kokoro-82M (Apache-2.0), in the timbre of its voice af_heart,
whose student hibari-tts is, and with the prosody of zf_xiaoxiao. The texts are
graded sentences of `hsk-sentences-audio` (CC BY-SA 4.0) and lists of common words.""",
    ),
}


def write(folder: Path, reports: Sequence[Path]) -> None:
    """`card.json` and `README.md` beside the checkpoint in `folder`, from the reports that `measure` made of it.

    Args:
        reports: a folder for each language that the checkpoint names.

    Raises:
        FileNotFoundError: there is no such report.
        ValueError: a report is one of another checkpoint, or lacks what a card must say; or a language has none.
    """
    checkpoint = read_checkpoint(folder)
    tables, spoken, known = [], {}, {}
    for report in reports:
        about = json.loads((report / REPORT_FILE).read_text(encoding="utf-8"))
        if about["fingerprint"] != checkpoint.fingerprint:
            raise ValueError(
                f"{report / REPORT_FILE} is of another checkpoint: run the stage `measure` on {folder} first"
            )
        figures, others = _as_served(about["results"], report, about["language"])
        found = {name: value for name, value in figures.items() if name not in ("name", "missing")}
        known = {name: about[name] for name in ("fingerprint", "commit")}
        title = f"{PROVENANCES[about['language']].name}, {found['sentences']} sentences"
        tables.append(table([{**found, "name": title}, *others]))
        spoken[about["language"]] = found
    lacking = [name for name in checkpoint.config.languages if name not in spoken]
    if lacking:
        raise ValueError(f"{folder} speaks {', '.join(lacking)} too, of which there is no report: name it as well")
    (folder / CARD_FILE).write_text(json.dumps({**known, "languages": spoken}, indent=1) + "\n", encoding="utf-8")
    (folder / PAGE_FILE).write_text(_page(folder, checkpoint, known, spoken, tables), encoding="utf-8")


def _page(
    folder: Path, checkpoint: Checkpoint, known: Result, spoken: Mapping[str, Result], tables: Sequence[str]
) -> str:
    about_them = [PROVENANCES[name] for name in spoken]
    tensors = [*checkpoint.model.values(), *checkpoint.vae.values()]
    names = " and ".join(one.name for one in about_them)
    use = USE.format(names=names)
    return PAGE.format(
        **{**known, **next(iter(spoken.values()))},
        names=names,
        millions=sum(tensor.numel() for tensor in tensors) / 1e6,
        megabytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6,
        rate_hz=checkpoint.config.vae.out_sample_rate_hz,
        tables="\n".join(tables),
        judges=_paragraph(*(one.judges for one in about_them), JUDGED),
        use=_paragraph(use, *(one.reader for one in about_them)),
        sources=_paragraph(*(one.source for one in about_them), LEARNT),
    )


def _paragraph(*sentences: str) -> str:
    return fill(" ".join(sentences), width=120, break_long_words=False, break_on_hyphens=False)


def _as_served(results: Sequence[Result], report: Path, language: str) -> tuple[Result, list[Result]]:
    """The row of what a caller gets who asks for nothing, and that of the teacher, if it was judged."""
    found = next((row for row in results if row.get("as_served")), None)
    if found is None:
        raise ValueError(f"{report}: no figures of the voice as it is served; leave out `measure`'s options for it")
    lacking = [name for name in (error_of(language), "per", "mos") if found.get(name) is None]
    if lacking:
        raise ValueError(f"{report}: no {', '.join(lacking)}; were all judges installed?")
    return found, [row for row in results if row["name"] == "teacher"]
