"""The retroflex suffix 儿 of Mandarin: dropped in the words where it only colours the syllable before it."""

import re

from intone.server.text.normalization.tables import words
from intone.server.text.patterns import alternatives
from intone.server.text.spans import SpannedText

_WORD = re.compile(alternatives({word[:-1] for word in words("erhua")}) + "儿(?![子童女歌科媳孙])")


def drop_erhua(text: SpannedText) -> SpannedText:
    """`text` with the suffix dropped from the words of the list; 幸运儿, 女儿 and names keep it."""
    return text.sub(_WORD, lambda found: found.group()[:-1])
