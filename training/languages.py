"""The languages that the recipe knows, and where each one's files are. Knows no stage."""

from pathlib import Path

LANGUAGES = ("en", "zh")
"""In the order in which a checkpoint names them."""


def languages_of(out: Path) -> tuple[str, ...]:
    """Those whose speech has its latents: what is trained on.

    Raises:
        FileNotFoundError: there are none.
    """
    found = tuple(language for language in LANGUAGES if (out / language / "latents").is_dir())
    if not found:
        raise FileNotFoundError(f"{out}: no latents of any language; run the stage `latents` first")
    return found
