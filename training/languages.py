"""The supported languages, and which of them have training data."""

from pathlib import Path

LANGUAGES = ("en", "zh")
"""In the order of `languages` in a checkpoint's `config.json`."""


def languages_of(out: Path) -> tuple[str, ...]:
    """Languages with latents under `out`: those that are trained on.

    Raises:
        FileNotFoundError: there are none.
    """
    languages = tuple(language for language in LANGUAGES if (out / language / "latents").is_dir())
    if not languages:
        raise FileNotFoundError(f"{out}: no latents of any language; run the stage `latents` first")
    return languages
