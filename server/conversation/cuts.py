"""What was heard of interrupted utterances, as the client is told."""

from collections.abc import Iterable
from dataclasses import replace

from intone.server.conversation.utterance import Utterance
from intone.server.events import Cut, HeardSource

MAX_CUT_CHARACTERS = 262_144
"""Text in one answer to an interrupt, so that it fits into the 4 MiB that clients of gRPC take by default."""


def cut_of(utterance: Utterance, heard_samples: int, source: HeardSource) -> Cut:
    """The text that was heard, and the rest of what was received."""
    text = utterance.text
    position = utterance.progress.heard_characters(text, heard_samples)
    return Cut(utterance.id, heard_samples, text[:position], text[position:], source)


def shortened(cuts: Iterable[Cut]) -> tuple[Cut, ...]:
    """The cuts with less text that was not heard, where all of it is more than `MAX_CUT_CHARACTERS`."""
    given, left = list(cuts), MAX_CUT_CHARACTERS
    left = max(0, left - sum(len(cut.heard_text) for cut in given))
    for index, cut in enumerate(given):
        given[index] = replace(cut, unheard_text=cut.unheard_text[:left])
        left -= len(given[index].unheard_text)
    return tuple(given)
