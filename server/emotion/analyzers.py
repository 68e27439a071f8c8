"""Who reads emotions from words on this server, as its settings say. Knows the analyzers, no conversation."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from intone.server.emotion.labels import describe
from intone.server.emotion.lexicon import Lexicon
from intone.server.emotion.reading import Analyzer, Reading

log = logging.getLogger(__name__)

DESCRIPTION_WAIT_S = 3.0
"""How long an utterance waits for the model to read its description; then keywords decide."""

MAX_UNFINISHED = 4
"""Texts that may wait for the model; with more, it is passed over: an answer that comes too late helps nobody."""


Read = Callable[[str], Awaitable[Reading]]
"""Reads the emotion of a text, soon: speech waits for it."""


@dataclass(frozen=True, slots=True)
class EmotionAnalyzers:
    """Who reads emotions from words.

    Attributes:
        name: of the analyzer: "none", "lexicon" or "qwen".
        read: the emotion that a text to be spoken suggests; None without an analyzer.
        describe: the emotion that a description asks for; exact only where `understands`.
        understands: whether a model reads descriptions, rather than a table of keywords.
    """

    name: str
    read: Read | None
    describe: Read
    understands: bool = False


def emotion_analyzers(analyzer: str, model: str = "", wait_ms: float = 60.0) -> EmotionAnalyzers:
    """The readers for an analyzer: "none", "lexicon" or "qwen".

    Args:
        analyzer: who reads texts that say no emotion.
        model: folder of the Qwen emotion model; where it is given, descriptions are read by it, whatever the analyzer.
        wait_ms: how long a text waits for the model before the lexicon decides.

    Raises:
        CheckpointError: the folder cannot be used.
    """
    lexicon = Lexicon() if analyzer != "none" else None
    by_words = _inline(lexicon.read) if lexicon is not None else None
    if not model:
        return EmotionAnalyzers(analyzer, by_words, _inline(describe))
    # Brings transformers, which a server without the model need not have installed.
    from intone.server.emotion.qwen import QwenEmotion

    aside = _Aside(QwenEmotion.load(Path(model).expanduser()))
    read = by_words
    if analyzer == "qwen" and lexicon is not None:
        read = aside.or_else(lexicon.read, wait_ms / 1000)
    return EmotionAnalyzers(analyzer, read, aside.or_else(describe, DESCRIPTION_WAIT_S), understands=True)


def _inline(read: Callable[[str], Reading]) -> Read:
    """Something that takes microseconds, in the shape of something that takes time."""

    async def reading(text: str) -> Reading:
        return read(text)

    return reading


class _Aside:
    """A slow analyzer on a thread of its own: speech never waits for it longer than it is told."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="emotion")
        self._unfinished = 0

    def or_else(self, quick: Callable[[str], Reading], wait_s: float) -> Read:
        """The analyzer's reading, or that of `quick` where it fails, is busy or takes longer than `wait_s`."""

        async def reading(text: str) -> Reading:
            if self._unfinished >= MAX_UNFINISHED:
                return quick(text)
            self._unfinished += 1
            future = asyncio.get_running_loop().run_in_executor(self._thread, self._analyzer.read, text)
            future.add_done_callback(self._finished)
            done, _ = await asyncio.wait({future}, timeout=wait_s)
            return future.result() if done and future.exception() is None else quick(text)

        return reading

    def _finished(self, future: "asyncio.Future[Reading]") -> None:
        self._unfinished -= 1
        if not future.cancelled() and (error := future.exception()) is not None:
            log.error("reading an emotion failed", exc_info=error)
