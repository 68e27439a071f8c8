"""The voice that comes with the package, where one does: its folder, and whether it is good enough to speak unasked.

Knows nothing of tensors, and needs no torch: a server that does without this voice does without both.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from intone.server.errors import CheckpointError

FOLDER = Path(__file__).parent / "nano"
"""A checkpoint in the published layout, with its card."""

CARD_FILE = "card.json"
"""What was measured of the checkpoint beside it, in `languages`: of each one `wer` as a part of 1 (of Chinese, which is
written without words, `cer`), `mos` from 1 to 5, and more for people."""

ERROR_LIMIT, MIN_MOS = 0.10, 3.5


def folder(name: str = "") -> Path | None:
    """Where the voice of this name is, or the only one there is; None where the package has none."""
    return FOLDER if name in ("", FOLDER.name) and FOLDER.is_dir() else None


def speaks_unasked() -> bool:
    """Whether the packaged voice is loaded although no setting names it: it is there, can be used, and is good enough.

    Raises:
        CheckpointError: the package has a voice whose card cannot be read.
    """
    own = folder()
    return own is not None and good_enough(own) and can_read()


def can_read() -> bool:
    """Whether what finds the sounds of a text for this voice is installed: it is an extra, as the starter voice is."""
    return find_spec("hibari") is not None


def good_enough(checkpoint: Path) -> bool:
    """Whether its card says that it can be understood and listened to in English, where it takes the starter's place.

    In another language it is the only voice there is, and takes nobody's place.

    Raises:
        CheckpointError: the card cannot be read, or lacks a figure.
    """
    english = read_card(checkpoint)["languages"].get("en")
    return english is not None and english[error_of("en")] < ERROR_LIMIT and english["mos"] > MIN_MOS


def error_of(language: str) -> str:
    """Name of the error rate by which a language is judged."""
    return "cer" if language == "zh" else "wer"


def read_card(checkpoint: Path) -> dict[str, Any]:
    """All that the card says; error rate and `mos` of each of its `languages` are numbers.

    Raises:
        CheckpointError: the card cannot be read, or lacks a figure.
    """
    path = checkpoint / CARD_FILE
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError("voxcpm", f"cannot read {path}: {error}") from error
    if not isinstance(card, dict):
        raise CheckpointError("voxcpm", f"{path}: found {type(card).__name__}, expected an object")
    spoken = card.get("languages")
    if not isinstance(spoken, dict) or not spoken:
        raise CheckpointError("voxcpm", f"{path}: languages: found {spoken!r}, expected an object of one or more")
    for language, figures in spoken.items():
        for name in (error_of(language), "mos"):
            value = figures.get(name) if isinstance(figures, dict) else None
            if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
                where = f"{path}: languages.{language}.{name}"
                raise CheckpointError("voxcpm", f"{where}: found {value!r}, expected a number of at least 0")
    return card
