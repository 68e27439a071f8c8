"""The emotion analyzers of a server, built from its settings."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from intone.server.emotion.estimate import Analyzer, EmotionEstimate
from intone.server.emotion.labels import parse_description
from intone.server.storage.hub import HubModel

logger = logging.getLogger(__name__)

EMOTION_MODEL = HubModel(
    files=("*.json", "*.safetensors", "*.txt", "*.jinja"), names=("IndexTeam/IndexTTS-2.5/qwen0.6bemo4-merge",)
)

MAX_DESCRIPTION_WAIT_S = 3.0
"""How long an utterance waits for the model to analyze its description before keywords decide."""

MAX_PENDING_TEXTS = 4
"""Texts that may wait for the model at once. Further ones go to the fallback: a late result is of no use."""


AnalyzeEmotion = Callable[[str], Awaitable[EmotionEstimate]]
"""Estimates the emotion of a text. Speech waits for the result, so its time is bounded."""


@dataclass(frozen=True, slots=True)
class EmotionAnalyzers:
    """The analyzers that an utterance uses.

    Attributes:
        name: of the text analyzer: "none", "lexicon" or "qwen".
        analyze_text: the emotion that a text to be spoken shows; None without an analyzer.
        analyze_description: the emotion that a free description asks for.
        descriptions_by_model: whether a language model analyzes descriptions, rather than keywords; without it they are
            understood only approximately.
    """

    name: str
    analyze_text: AnalyzeEmotion | None
    analyze_description: AnalyzeEmotion
    descriptions_by_model: bool = False


def load_emotion_analyzers(
    name: str, by_lexicon: AnalyzeEmotion, model: str = "", wait_ms: float = 60.0
) -> EmotionAnalyzers:
    """Load the analyzers of a server.

    Args:
        by_lexicon: what the lexicon finds in a text, which takes up to a millisecond.
        name: analyzer of texts without an explicit emotion: "none", "lexicon" or "qwen".
        model: folder of the Qwen emotion model; where given, it also analyzes descriptions, whatever `name` is.
        wait_ms: how long a text waits for the model before the lexicon decides.

    Raises:
        CheckpointError: the folder cannot be used.
    """
    analyze_text = by_lexicon if name != "none" else None
    if not model:
        return EmotionAnalyzers(name, analyze_text, _by_keywords)
    # Imports transformers, which a server without the model need not have installed.
    from intone.server.emotion.qwen import QwenEmotion

    background = BackgroundAnalyzer(QwenEmotion.load(Path(model).expanduser()))
    if name == "qwen":
        analyze_text = background.with_fallback(by_lexicon, wait_ms / 1000)
    analyze_description = background.with_fallback(_by_keywords, MAX_DESCRIPTION_WAIT_S)
    return EmotionAnalyzers(name, analyze_text, analyze_description, descriptions_by_model=True)


async def _by_keywords(description: str) -> EmotionEstimate:
    return parse_description(description)  # microseconds


class BackgroundAnalyzer:
    """Runs a slow analyzer on a thread of its own, one text at a time."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="emotion")
        self._pending = 0

    def with_fallback(self, fallback: AnalyzeEmotion, max_wait_s: float) -> AnalyzeEmotion:
        """The analyzer's estimate, or that of `fallback` if it fails, is busy or takes longer than `max_wait_s`."""

        async def analyze(text: str) -> EmotionEstimate:
            if self._pending >= MAX_PENDING_TEXTS:
                return await fallback(text)
            self._pending += 1
            future = asyncio.get_running_loop().run_in_executor(self._thread, self._analyzer.analyze, text)
            future.add_done_callback(self._finished)
            done, _ = await asyncio.wait({future}, timeout=max_wait_s)
            return future.result() if done and future.exception() is None else await fallback(text)

        return analyze

    def _finished(self, future: "asyncio.Future[EmotionEstimate]") -> None:
        self._pending -= 1
        if not future.cancelled() and (error := future.exception()) is not None:
            logger.error("emotion analysis failed", exc_info=error)
