"""The VoxCPM checkpoint that the package may contain: its folder, and what it speaks by default, by its quality.

Does not import torch, so a server without this voice does not need it.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from intone.server.errors import CheckpointError

FOLDER = Path(__file__).parent / "nano"
"""A checkpoint in the published layout, with a model card."""

CARD_FILE = "card.json"
"""The model card: measurements of the checkpoint. `languages` has for each language `wer` as a fraction (`cer` for
Chinese), and `mos` from 1 to 5; for English it may have `digits`, see `MIN_LEADING_DIGITS`. Further keys are for
people."""

MAX_ERROR, MIN_MOS = 0.10, 3.5
"""In English, to be loaded without being named."""

MIN_LEADING_MOS, MIN_LEADING_DIGITS = 4.26, 0.95
"""In English, to speak it rather than the starter voice, which has a MOS of 4.51 on the same sentences: at most a
quarter of a point below it, and `digits`, the share of numbers with repeated digits that are heard right."""


def folder(name: str = "") -> Path | None:
    """The folder of the voice of this name, or of the only one; None if the package has none."""
    return FOLDER if name in ("", FOLDER.name) and FOLDER.is_dir() else None


def loads_by_default() -> bool:
    """Whether the voice is loaded without being named in the settings: it exists, is good enough and can be used.

    Raises:
        CheckpointError: the card of the voice is invalid.
    """
    checkpoint = folder()
    return checkpoint is not None and good_enough(checkpoint) and has_phonemizer()


def has_phonemizer() -> bool:
    """Whether the phonemizer that this voice needs is installed; it comes with the extra `starter`."""
    return find_spec("hibari") is not None


def better_engines(source: str, random_weights: bool) -> tuple[str, ...]:
    """The engines that are preferred to VoxCPM loaded from `source`: the starter voice, to a packaged voice below it.

    Raises:
        CheckpointError: the card of the voice is invalid.
    """
    checkpoint = folder(source)
    if checkpoint is None or (random_weights and source):
        return ()
    english = read_card(checkpoint)["languages"].get("en", {})
    leads = english.get("mos", 0) >= MIN_LEADING_MOS and english.get("digits", 0) >= MIN_LEADING_DIGITS
    return () if leads else ("starter",)


def good_enough(checkpoint: Path) -> bool:
    """Whether its measured quality in English is high enough to be loaded without being named.

    Other languages do not count: the package has no other voice for them.

    Raises:
        CheckpointError: the card cannot be read, or a measurement is missing.
    """
    english = read_card(checkpoint)["languages"].get("en")
    return english is not None and english[error_of("en")] < MAX_ERROR and english["mos"] > MIN_MOS


def error_of(language: str) -> str:
    """The key of a language's error rate."""
    return "cer" if language == "zh" else "wer"


def read_card(checkpoint: Path) -> dict[str, Any]:
    """The card, with error rate and `mos` of each language checked to be numbers.

    Raises:
        CheckpointError: the card cannot be read, or a measurement is missing.
    """
    path = checkpoint / CARD_FILE
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError("voxcpm", f"cannot read {path}: {error}") from error
    if not isinstance(card, dict):
        raise CheckpointError("voxcpm", f"{path}: found {type(card).__name__}, expected an object")
    languages = card.get("languages")
    if not isinstance(languages, dict) or not languages:
        raise CheckpointError("voxcpm", f"{path}: languages: found {languages!r}, expected an object of one or more")
    for language, figures in languages.items():
        figures = figures if isinstance(figures, dict) else {}
        for name in (error_of(language), "mos", *({"digits"} & figures.keys())):
            value = figures.get(name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
                where = f"{path}: languages.{language}.{name}"
                raise CheckpointError("voxcpm", f"{where}: found {value!r}, expected a number of at least 0")
    return card
