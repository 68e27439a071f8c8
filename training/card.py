"""The card of a checkpoint: what was measured of it, JSON for the server, a page for people. Judges nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intone.server.engines.voxcpm.shipped import CARD_FILE
from intone.server.engines.voxcpm.weights import read_checkpoint
from training.report import REPORT_FILE, table

PAGE_FILE = "README.md"
NEEDED = ("wer", "per", "mos")

PAGE = """# A nano voice

One English speaker in the architecture of VoxCPM: {millions:.1f} M parameters, {rate_hz} Hz, {megabytes:.1f} MB.
`intone-server` loads this folder like any published checkpoint.

## How it speaks

{sentences} sentences that training never saw, streamed in {steps} steps at guidance {guidance:g}, temperature {noise:g}
({engine}; commit {commit}):

{table}
WER and CER are what Whisper base mishears, PER what hama 1.7.0 does. MOS is what distillmos predicts: nobody listened.
RTF is wall time over audio time, TTFA a median; one thread.

## What it is for, and what not

Short units of plain English talk, in the one voice it knows. It reads no other language, voices no emotion and clones
no voice (the encoder in its VAE has learnt little, and is not used). What it reads are sounds: the dictionary of
hibari-tts finds them, so that package has to be there (`pip install 'intone[starter]'`).

## Where it comes from

It learnt from speech of hibari-tts 0.2.1 (Apache-2.0) alone, which is itself a student of Kokoro-82M (Apache-2.0),
whose author states that its training mix is mostly synthetic, made by commercial services among others. The texts are
novels of Jane Austen (public domain) and examples from WordNet 3.0. It was trained from random weights by the recipe in
`training/` of intone's sources; no weights of VoxCPM are in it. Licence: Apache-2.0.
"""


def write(folder: Path, report: Path) -> None:
    """`card.json` and `README.md` beside the checkpoint in `folder`, from the report that `measure` made of it.

    Raises:
        FileNotFoundError: there is no report.
        ValueError: the report is one of another checkpoint, or lacks what a card must say.
    """
    checkpoint = read_checkpoint(folder)
    about = json.loads((report / REPORT_FILE).read_text(encoding="utf-8"))
    if about["fingerprint"] != checkpoint.fingerprint:
        raise ValueError(f"{report / REPORT_FILE} is of another checkpoint: run the stage `measure` on {folder} first")
    figures, others = _as_served(about["results"], report)
    known = {name: about[name] for name in ("fingerprint", "commit")}
    found = {**known, **{name: value for name, value in figures.items() if name not in ("name", "missing")}}
    (folder / CARD_FILE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    tensors = [*checkpoint.model.values(), *checkpoint.vae.values()]
    page = PAGE.format(
        **found,
        millions=sum(tensor.numel() for tensor in tensors) / 1e6,
        megabytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6,
        rate_hz=checkpoint.config.vae.out_sample_rate_hz,
        noise=checkpoint.config.temperature,
        table=table([{**found, "name": "this voice"}, *others]),
    )
    (folder / PAGE_FILE).write_text(page, encoding="utf-8")


def _as_served(results: list[Mapping[str, Any]], report: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """The row of what a caller gets who asks for nothing, and that of the teacher, if it was judged."""
    found = next((row for row in results if row.get("as_served")), None)
    if found is None:
        raise ValueError(f"{report}: no figures of the voice as it is served; leave out `measure`'s options for it")
    lacking = [name for name in NEEDED if found.get(name) is None]
    if lacking:
        raise ValueError(f"{report}: no {', '.join(lacking)}; were all judges installed?")
    return found, [row for row in results if row["name"] == "teacher"]
