"""What all sessions of a server share, handed to each when it is made. No policy, no state."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from intone.server.domain import Emotion, Voice
from intone.server.errors import CallerError
from intone.server.events import StreamSettings, TextPiece
from intone.server.router import Router
from intone.server.segmenter import Segmenter
from intone.server.utterance import Utterance
from intone.server.worker import Worker


@dataclass(frozen=True, slots=True)
class Services:
    """What every session of a server shares."""

    workers: Mapping[str, Worker]
    router: Router
    find_voice: Callable[[str], Voice]
    segmenter: Callable[[], Segmenter]
    normalize: Callable[[str, bool], Awaitable[str]]
    """A unit's text as it is spoken; False leaves numbers and symbols as they are."""
    draw_seed: Callable[[], int]
    clock: Callable[[], float]
    max_open_utterances: int
    max_utterance_characters: int
    wait_ms: float
    chunk_ms: float

    def utterance(self, piece: TextPiece, settings: StreamSettings) -> Utterance:
        """The utterance that a piece of text begins, not holding the text yet.

        Raises:
            CallerError: there is no voice of that name.
        """
        try:
            voice = self.find_voice(piece.voice or settings.voice)
        except CallerError as error:
            raise error.under("text") from None
        options = (piece.options or settings.options).over(settings.options)
        return Utterance(
            piece.utterance_id,
            voice,
            piece.emotion or settings.emotion or Emotion(),
            options,
            self.draw_seed() if options.seed is None else options.seed,
            self.segmenter(),
            self.clock,
        )
