"""Chunk sizes by the speed of the machine.

Where it is faster than playback: the earliest first sound after which playback never waits. Where it is slower, and
waits cannot be avoided: the least work after an early first sound.
"""

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from intone.server.domain import Step
from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.s2mel.acoustic import AcousticPrompt, AcousticSettings
from intone.server.engines.indextts.s2mel.flow_work import FlowWork
from intone.server.engines.indextts.s2mel.length_regulator import mel_frames
from intone.server.engines.indextts.s2mel.streaming import ChunkPlan
from intone.server.engines.indextts.s2mel.voice_cache import cached_frames
from intone.server.engines.indextts.state import IndexTTSState

UNIT_FEATURES = 500
"""Of the unit that plans are tried on: 10 s."""

FIRST_FEATURES = (28, 42, 56, 84, 112, 168, 252)
GROWTHS = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
MAX_FEATURES = (100, 200)

MARGIN = 1.25
"""How much slower than measured a machine may be for a while without a wait."""


def evaluations_of(settings: AcousticSettings) -> int:
    """Evaluations of the field in a solve, for one sequence each."""
    return len(settings.times.lengths) * (2 if settings.guidance > 0 else 1)


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured seconds for a code, for a multiplication of the flow, and for a mel frame in the vocoder."""

    code_s: float
    multiplication_s: float
    frame_s: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Features (50 a second) for a code, and mel frames in a second."""

    features_per_code: int
    frames_per_s: float

    @classmethod
    def of(cls, config: IndexTTSConfig) -> "Rates":
        """From a model's configuration."""
        return cls(config.features_per_code, config.mel.sample_rate_hz / config.mel.hop_samples)


@dataclass(frozen=True, slots=True)
class Played:
    """A unit that is played from its first sound on: when that is, how long playback waits in all, when all is made."""

    first_s: float
    waits_s: float
    total_s: float


@dataclass(frozen=True)
class Pace:
    """Chooses plans. Choosing is deterministic; `speed` is that of one load of the model.

    Attributes:
        base: what `FIRST_FEATURES` and the like do not replace.
        caches_voice: whether the first frames of a voice are cached.
    """

    base: ChunkPlan
    work: FlowWork
    speed: Speed
    rates: Rates
    caches_voice: bool
    _chosen: dict[tuple[int, int], ChunkPlan] = field(default_factory=dict)

    def plan_of(self, settings: AcousticSettings, prompt: AcousticPrompt) -> ChunkPlan:
        """For a unit with this voice."""
        frames = prompt.mel.shape[0]
        if self.base.prompt_frames is not None:
            frames = min(frames, self.base.prompt_frames)
        key = evaluations_of(settings), frames
        if key not in self._chosen:
            self._chosen[key] = self.plan(*key)
        return self._chosen[key]

    def play(self, plan: ChunkPlan, evaluations: int, voice_frames: int, margin: float = 1.0) -> Played:
        """A unit of `UNIT_FEATURES`, times multiplied by `margin`."""
        speed, last_code = self.speed, UNIT_FEATURES // self.rates.features_per_code
        made_s = played_s = first_s = waits_s = 0.0
        codes = frames = 0
        for chunk in itertools.count():
            new_codes = min(plan.codes(chunk, self.rates.features_per_code), last_code - codes)
            codes += new_codes
            available, recent = mel_frames(codes * self.rates.features_per_code), min(frames, plan.context_frames)
            cached = cached_frames(voice_frames, self.work.context_frames) if self.caches_voice else 0
            voice = voice_frames if self.caches_voice else plan.voice_frames(chunk, recent, voice_frames)
            work = evaluations * self.work.of_solve(voice + recent, available - frames, cached)
            took_s = new_codes * speed.code_s + work * speed.multiplication_s + (available - frames) * speed.frame_s
            made_s += margin * took_s
            final = available if codes == last_code else available - plan.lookahead_frames
            first_s = first_s or made_s
            waits_s += max(0.0, made_s - played_s) if chunk else 0.0
            played_s = max(played_s, made_s) + (final - frames) / self.rates.frames_per_s
            frames = final
            if codes == last_code:
                break
        return Played(first_s, waits_s, made_s)

    def plan(self, evaluations: int, voice_frames: int) -> ChunkPlan:
        """For units of so many evaluations of the field (steps, twice as many with guidance) and this voice."""
        found: list[tuple[Played, ChunkPlan]] = []
        for first, growth, largest in itertools.product(FIRST_FEATURES, GROWTHS, MAX_FEATURES):
            plan = replace(self.base, first_features=first, growth=growth, max_features=max(first, largest))
            found.append((self.play(plan, evaluations, voice_frames, MARGIN), plan))
        without_waits = [each for each in found if each[0].waits_s == 0]
        if without_waits:
            chosen = min(without_waits, key=lambda each: (each[0].first_s, each[0].total_s))
        else:
            early = [each for each in found if each[1].first_features == FIRST_FEATURES[0]]
            chosen = min(early, key=lambda each: each[0].total_s)
        played, plan = chosen
        told = "without waits" if without_waits else f"with waits of {played.waits_s:.1f} s"
        logger.info(
            "IndexTTS, %d evaluations, voice of %d frames: first chunk %d features, growing by %g to %d; 10 s of "
            "speech are expected in %.1f s, first sound after %.2f s, %s",
            *(evaluations, voice_frames, plan.first_features, plan.growth, plan.max_features),
            *(played.total_s, played.first_s, told),
        )
        return plan


def measured(state: IndexTTSState, work: FlowWork, step: Callable[[], Sequence[Step]]) -> Speed:
    """The speed of a whole unit that has been started and is stepped by `step`."""
    spent: dict[str, float] = {}
    while not state.done:
        for name, took_ms in step()[0].stage_ms.items():
            spent[name] = spent.get(name, 0.0) + took_ms / 1000
    assert state.acoustic is not None, "it is done"
    known, frames = state.acoustic.voice.mel.shape[0], max(1, state.acoustic.frames)
    evaluations = evaluations_of(state.settings)
    return Speed(
        code_s=spent.get("gpt_gen_time", 0.0) / max(1, len(state.all_codes)),
        multiplication_s=spent.get("s2mel_time", 0.0) / (evaluations * work.of_solve(known, frames)),
        frame_s=spent.get("bigvgan_time", 0.0) / frames,
    )
