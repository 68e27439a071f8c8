"""Spelling to sounds, for checkpoints whose tokens are sounds and not letters. Knows no token and no model.

A small model learns to speak from sounds in a fraction of the steps that it needs from letters: how a word is said is
looked up, as in all small voices, and what is left to learn is how it sounds.
"""

import logging
import tempfile
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

from intone.server.engines.english_text import plain_numbers, readable
from intone.server.engines.voxcpm.config import ENGINE, SENTENCE_ENDS
from intone.server.errors import CheckpointError

Reading = Callable[[str], str]
"""Text to a line of sounds; empty where there is nothing in it that it can read."""

HIBARI = "hibari"
HALTS = " ,;:—…-"
"""Marks that announce more."""

_EXTRAS = {"en": ("hibari", "starter"), "zh": ("misaki", "mandarin")}
"""Of each language that is read, what finds its sounds, and the extra of ours that brings it."""

logger = logging.getLogger(__name__)

_MARKS = {ord("。"): ". ", ord("、"): ", "}  # all others of their kind have a Latin form of the same meaning


def at_hand(languages: Sequence[str]) -> tuple[str, ...]:
    """Of a checkpoint's languages those that can be read here, for a log that names what others need.

    All of them where that is none, or where one is unknown: `reading` says what is wrong then.
    """
    missing = [name for name in languages if name in _EXTRAS and find_spec(_EXTRAS[name][0]) is None]
    if not missing or len(missing) == len(languages):
        return tuple(languages)
    for name in missing:
        logger.warning("%s is left out of what VoxCPM speaks: pip install 'intone[%s]'", name, _EXTRAS[name][1])
    return tuple(name for name in languages if name not in missing)


def reading(name: str, languages: Sequence[str], ends: str = SENTENCE_ENDS) -> Reading:
    """The one that a checkpoint's `phonemes` names, for the languages that the checkpoint speaks.

    A text that ends in none of the marks `ends` is given a full stop: without one a voice does not know where to end.

    `hibari` is the alphabet of misaki and Kokoro-82M, in which punctuation is kept: American English with stress before
    vowels, Mandarin with an arrow after each syllable for its tone. What is in another script is passed over.

    Raises:
        CheckpointError: the name is unknown, a language has no such reading, or its package is not installed.
    """
    if name != HIBARI:
        raise CheckpointError(ENGINE, f"phonemes: found {name!r}, expected {HIBARI!r} or no such key")
    known = {"en": _english, "zh": _chinese}
    foreign = sorted(set(languages) - set(known))
    if foreign:
        found = ", ".join(foreign)
        raise CheckpointError(ENGINE, f"languages: found {found}, which {HIBARI!r} does not read; it reads en and zh")
    readers = {language: known[language]() for language in languages}

    def read(text: str) -> str:
        if len(readers) == 1:
            return _ended(readers[languages[0]](text), ends)
        plain = unicodedata.normalize("NFKC", text).translate(_MARKS)
        parts = (readers[language](part) for language, part in runs(plain, readers))
        return _ended(" ".join(filter(None, parts)), ends)

    return read


def _ended(sounds: str, ends: str) -> str:
    """See `reading`; marks that announce more make way."""
    return sounds if not sounds or sounds[-1] in ends else sounds.rstrip(HALTS) + "."


def runs(text: str, languages: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """`text` in pieces of one script, each with its language of `languages`.

    What belongs to no script, as blanks, digits and marks, stays with the letters before it, at the beginning with
    those after it, and where there are none with the first language.
    """
    current, start = "", 0
    for at, character in enumerate(text):
        language = _language(character)
        if language in languages and language != current:
            if current:
                yield current, text[start:at]
                start = at
            current = language
    if text:
        yield current or next(iter(languages)), text[start:]


def _language(character: str) -> str:
    """Whose script it is; empty for none that is read here."""
    if _is_han(character):
        return "zh"
    return "en" if character.isalpha() and readable(character) else ""


def _is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def _english() -> Reading:
    try:
        from hibari import Hibari  # optional, and it brings a dictionary
        from hibari.g2p import G2P
    except ImportError as error:
        raise _missing("en") from error
    sounds_of = partial(G2P(british=False), normalize_text=False)  # the text was read already: "no." is no number

    def read(text: str) -> str:
        if not any(map(readable, text)):
            return ""
        return " ".join(filter(None, map(sounds_of, Hibari.split_sentences(plain_numbers(text)))))

    return read


def _chinese() -> Reading:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old habits of jieba's
            import jieba  # optional as well: words, and how each of their characters is said
            from misaki.zh import ZHG2P
    except ImportError as error:
        raise _missing("zh") from error
    jieba.setLogLevel(logging.WARNING)
    # Its cache would lie in the open under /tmp, and be believed whoever wrote it.
    with tempfile.TemporaryDirectory() as folder:
        jieba.dt.tmp_dir = folder
        jieba.initialize()
    sounds_of = ZHG2P()

    def read(text: str) -> str:
        plain = unicodedata.normalize("NFKC", text).strip()
        if not any(_is_han(character) or character.isdecimal() for character in plain):
            return ""
        return " ".join(sounds_of(plain)[0].split())

    return read


def _missing(language: str) -> CheckpointError:
    package, extra = _EXTRAS[language]
    return CheckpointError(
        ENGINE,
        f"this checkpoint reads sounds, and {package}, which finds them, is missing: pip install 'intone[{extra}]'",
    )
