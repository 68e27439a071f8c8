"""What the caller says about single words: pronunciation entries, and spans with a reading of their own."""

import re
from collections.abc import Callable, Sequence

from intone.server.text.normalization import say_as
from intone.server.text.normalization.context import Context, Token
from intone.server.text.pronunciation import Pronunciation, Reading, SpanReading
from intone.server.text.pronunciation.entries import find_pronunciations
from intone.server.text.spans import SpannedText

_PLACEHOLDER = "\ue001"
_PRIVATE_USE = re.compile("[\ue000-\uf8ff]")
_PLACEHOLDERS = re.compile(_PLACEHOLDER)


def with_placeholders(text: str, readings: Sequence[SpanReading]) -> SpannedText:
    """`text` without private-use characters, which nobody can read, and with one in place of each span of `readings`.

    A span that stands for one character passes all stages up to the tokens unchanged.
    """
    written = SpannedText.of(text).sub(_PRIVATE_USE, " ")
    return written.replace_spans([(reading.start, reading.end) for reading in readings], _PLACEHOLDER)


def tokens(
    original: str,
    plain: SpannedText,
    context: Context,
    readings: Sequence[SpanReading],
    pronunciations: Sequence[Pronunciation],
    read: Callable[[str, str], str],
) -> list[Token]:
    """The tokens for both, in order.

    Args:
        original: the text with its markup, which `readings` refer to.
        plain: without markup; words of `pronunciations` are looked up in it.
        read: the words for ordinary text in a language.
    """
    by_start = {reading.start: reading for reading in readings}
    found = []
    for place in _PLACEHOLDERS.finditer(plain.text) if readings else ():
        span = by_start[plain.starts[place.start()]]
        written = original[span.start : span.end]
        words = _words(span.reading, written, context.chinese(*place.span()), read)
        found.append(Token(place.start(), place.end(), words, "reading", span.reading.sounds))
    for start, end, reading in find_pronunciations(plain.text, pronunciations, context.language):
        words = _words(reading, plain.text[start:end], context.chinese(start, end), read)
        found.append(Token(start, end, words, "pronunciation", reading.sounds))
    return sorted(found, key=lambda token: token.start)


def _words(reading: Reading, written: str, chinese: bool, read: Callable[[str, str], str]) -> str:
    language = "zh" if chinese else "en"
    if reading.spoken_as:
        return read(reading.spoken_as, language)
    if reading.say_as:
        words = say_as.words(written, reading.say_as, reading.format, chinese)
        return read(written, language) if words is None else words
    return " ".join(written.split())
