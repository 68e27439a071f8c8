"""Listeners for the robustness scripts: conversations that are heard in real time, and what their listeners noticed."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from intone.client import AsyncSpeechClient
from intone.client.conversation import AsyncConversation
from intone.client.errors import IntoneError
from intone.client.events import AudioChunk, AudioPosition
from intone.client.tools.load_generator import SENTENCES


@dataclass(slots=True)
class Noticed:
    """What the listeners of some conversations noticed.

    Attributes:
        ttfa_ms: time to the first audible sound, of each utterance.
        underrun_s: silence inside each utterance for lack of audio.
        errors: of calls and utterances.
        interrupted: number of utterances that were interrupted.
    """

    ttfa_ms: list[float] = field(default_factory=list)
    underrun_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    interrupted: int = 0

    def __str__(self) -> str:
        if not self.ttfa_ms:
            return f"no utterance; {len(self.errors)} errors"
        p50, p99 = np.percentile(self.ttfa_ms, [50, 99])
        holes = sum(one > 0.1 for one in self.underrun_s)
        return (
            f"{len(self.underrun_s)} utterances, {self.interrupted} interrupted; first sound p50 {p50:.0f} ms, "
            f"p99 {p99:.0f} ms; {holes} with a hole over 100 ms, {len(self.errors)} errors"
        )

    @property
    def p99_ms(self) -> float:
        """99th percentile of the time to first sound."""
        return float(np.percentile(self.ttfa_ms, 99)) if self.ttfa_ms else float("nan")


@dataclass(slots=True)
class Talker:
    """One conversation that speaks sentences, one after another, each once the one before was heard.

    Attributes:
        target: address of the server.
        number: of the talker: its seed and its first sentence.
        barge_in: share of the utterances that are interrupted while they are heard.
        options: of the stream, see `AsyncSpeechClient.conversation`.
    """

    target: str
    number: int
    noticed: Noticed
    barge_in: float = 0.0
    texts: Sequence[str] = SENTENCES
    options: dict[str, str] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> None:
        """Talk until `stop` is set; open another conversation when one is lost."""
        draw = random.Random(self.number)
        await asyncio.sleep(draw.random())  # not all at the same moment
        async with AsyncSpeechClient(self.target) as client:
            while not stop.is_set():
                try:
                    async with client.conversation(**self.options) as talk:  # type: ignore[arg-type]
                        while not stop.is_set():
                            await self._speak(talk, draw)
                except IntoneError as error:
                    self.noticed.errors.append(str(error))
                    await asyncio.sleep(0.2)

    async def _speak(self, talk: AsyncConversation, draw: random.Random) -> None:
        """Speak one sentence and hear it to its end, or interrupt it."""
        utterance = talk.utterance().speak(draw.choice(self.texts))
        listens_s = draw.uniform(0.3, 1.5) if draw.random() < self.barge_in else None
        first_s = None
        async for event in utterance.events():
            if first_s is None and isinstance(event, AudioChunk):
                first_s = time.monotonic()
                if listens_s is not None:
                    await asyncio.sleep(listens_s)
                    position = AudioPosition(utterance.id, round(listens_s * utterance.speech.sample_rate_hz))
                    await utterance.interrupt(position)
                    self.noticed.interrupted += 1
                    break
        latency = utterance.speech.latency
        if listens_s is None:
            try:
                utterance.speech.raise_unless_completed()
            except IntoneError as error:
                self.noticed.errors.append(str(error))
                return
            await asyncio.sleep(max(0.0, (first_s or 0.0) + latency.audio_ms / 1000 - time.monotonic()))
        if latency.ttfa_ms is not None:
            self.noticed.ttfa_ms.append(latency.ttfa_ms)
        self.noticed.underrun_s.append(latency.underrun_s)


async def talk(
    target: str,
    count: int,
    barge_in: float = 0.0,
    *,
    seconds: float | None = None,
    stop: asyncio.Event | None = None,
    **options: str,
) -> Noticed:
    """Let talkers talk for some time, or until `stop` is set; returns what they noticed."""
    noticed, stop = Noticed(), stop or asyncio.Event()
    if seconds is not None:
        asyncio.get_running_loop().call_later(seconds, stop.set)
    talkers = [Talker(target, number, noticed, barge_in, options=options) for number in range(count)]
    await asyncio.gather(*(talker.run(stop) for talker in talkers))
    return noticed
