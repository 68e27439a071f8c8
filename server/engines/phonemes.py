"""Converts text to phonemes (G2P), for checkpoints whose tokens are phonemes.

A small model learns to speak from phonemes in a fraction of the steps that it needs from letters.
"""

import functools
import itertools
import logging
import tempfile
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

from intone.server.engines.english_text import plain_text, readable
from intone.server.errors import CheckpointError
from intone.server.text.pronunciation.marks import MARK, for_engine, is_pinyin

Phonemizer = Callable[[str], str]
"""Text to phonemes; empty if the text has nothing that can be read out."""

HIBARI = "hibari"
SENTENCE_ENDS = ".?!"
CLAUSE_MARKS = " ,;:—…-"
"""Marks after which a sentence continues."""

_EXTRAS = {"en": ("hibari", "starter"), "zh": ("misaki", "mandarin")}
"""Language → the package with its phonemizer, and the extra of this distribution that installs it."""

ALPHABETS = {"en": "ipa", "zh": "pinyin"}
"""Language → the alphabet in which a marked word of a text may have its sounds."""

logger = logging.getLogger(__name__)

_UNKNOWN = (ValueError, KeyError, IndexError, AssertionError)
"""What misaki raises for a character whose pinyin it cannot convert."""

_PLAIN_MARKS = {ord("。"): ". ", ord("、"): ", "}  # NFKC maps the other Chinese marks to Latin ones


def available_languages(languages: Sequence[str]) -> tuple[str, ...]:
    """The languages of a checkpoint whose phonemizers are installed; a warning names the extras of the others.

    All of them where none is installed, or one is unknown: `phonemizer` then raises the error.
    """
    missing = [name for name in languages if name in _EXTRAS and find_spec(_EXTRAS[name][0]) is None]
    if not missing or len(missing) == len(languages):
        return tuple(languages)
    for name in missing:
        logger.warning(
            "VoxCPM does not speak %s until its phonemizer is installed: pip install 'intone[%s]'",
            name,
            _EXTRAS[name][1],
        )
    return tuple(name for name in languages if name not in missing)


def phonemizer(name: str, languages: Sequence[str], ends: str = SENTENCE_ENDS, engine: str = "voxcpm") -> Phonemizer:
    """The phonemizer with the name of a checkpoint's `phonemes`, for the languages of the checkpoint of an engine.

    A full stop is appended to a text that ends in none of the marks `ends`: without one a model may miss its end.

    `hibari` is the alphabet of misaki and Kokoro-82M, with punctuation: American English with stress marks before
    vowels, Mandarin with an arrow after each syllable for its tone. Other scripts are skipped.

    Raises:
        CheckpointError: the name is unknown, a language is not supported, or its package is not installed.
    """
    if name != HIBARI:
        raise CheckpointError(engine, f"phonemes: found {name!r}, expected {HIBARI!r} or no such key")
    known = {"en": _english, "zh": _chinese}
    foreign = sorted(set(languages) - set(known))
    if foreign:
        found = ", ".join(foreign)
        raise CheckpointError(engine, f"languages: found {found}, expected en and zh with {HIBARI!r}")
    phonemizers = {language: known[language](engine) for language in languages}

    def phonemize(text: str) -> str:
        if len(phonemizers) == 1:
            return _with_end(phonemizers[languages[0]](text), ends)
        parts = (phonemizers[language](part) for language, part in _runs_with_marks(text, phonemizers))
        return _with_end(" ".join(filter(None, parts)), ends)

    return phonemize


def _runs_with_marks(text: str, languages: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """`runs` of a text with marked words: each belongs to the language whose sounds it has."""
    found: list[tuple[str, str]] = []
    position = 0
    for mark in [*MARK.finditer(text), None]:
        plain = unicodedata.normalize("NFKC", text[position : mark.start() if mark else None]).translate(_PLAIN_MARKS)
        found += runs(plain, languages)
        if mark is None:
            break
        found.append(("zh" if is_pinyin(mark["sounds"]) else "en", mark.group()))
        position = mark.end()
    for language, group in itertools.groupby(found, key=lambda run: run[0]):
        yield language, "".join(part for _, part in group)


def _with_end(phonemes: str, ends: str) -> str:
    """Appends a full stop as described in `phonemizer`, in place of trailing clause marks."""
    return phonemes if not phonemes or phonemes[-1] in ends else phonemes.rstrip(CLAUSE_MARKS) + "."


def runs(text: str, languages: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Split `text` into runs of one script, each with its language of `languages`.

    Characters of no script (blanks, digits, marks) belong to the letters before them, at the start of the text to the
    letters after them, and in a text without letters to the first language.
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
    """The language of a character's script; empty for other scripts."""
    if _is_han(character):
        return "zh"
    return "en" if character.isalpha() and readable(character) else ""


def _is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def _english(engine: str) -> Phonemizer:
    try:
        from hibari import Hibari  # optional, and loads a dictionary
        from hibari.g2p import G2P
    except ImportError as error:
        raise _missing("en", engine) from error
    g2p = partial(G2P(british=False), normalize_text=False)  # the text is normalized already: "no." is not "number"

    def phonemize(text: str) -> str:
        if not any(map(readable, text)):
            return ""
        return " ".join(filter(None, map(g2p, Hibari.split_sentences(plain_text(text)))))

    return phonemize


def _chinese(engine: str) -> Phonemizer:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecation warnings of jieba
            import jieba  # optional: word segmentation and pinyin
            from misaki.zh import ZHG2P
    except ImportError as error:
        raise _missing("zh", engine) from error
    jieba.setLogLevel(logging.WARNING)
    # Its cache would be world-writable under /tmp, and trusted.
    with tempfile.TemporaryDirectory() as folder:
        jieba.dt.tmp_dir = folder
        jieba.initialize()
    g2p = ZHG2P()

    def words(text: str) -> str:
        plain = unicodedata.normalize("NFKC", text).strip()
        if not any(_is_han(character) or character.isdecimal() for character in plain):
            return ""
        try:
            phonemes = g2p(plain)[0]
        except _UNKNOWN as error:  # such as 龦
            logger.warning("a character of %d has no pronunciation: %s", len(plain), type(error).__name__)
            phonemes = g2p("".join(filter(has_pronunciation, plain)))[0]
        return " ".join(phonemes.split())

    @functools.lru_cache(maxsize=4096)
    def has_pronunciation(character: str) -> bool:
        try:
            g2p(character)
        except _UNKNOWN:
            return False
        return True

    def phonemize(text: str) -> str:
        text, _ = for_engine(text, ("pinyin",), ("zh",))
        parts, position = [], 0
        for mark in MARK.finditer(text):
            parts += [words(text[position : mark.start()]), "".join(map(g2p.py2ipa, mark["sounds"].split()))]
            position = mark.end()
        return " ".join(filter(None, [*parts, words(text[position:])]))

    return phonemize


def _missing(language: str, engine: str) -> CheckpointError:
    package, extra = _EXTRAS[language]
    return CheckpointError(
        engine,
        f"this checkpoint needs the phonemizer {package}, which is not installed: pip install 'intone[{extra}]'",
    )
