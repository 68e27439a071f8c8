"""Streaming codes to mel: the acoustic model in chunks while codes are still being generated.

The flow is bidirectional, so each chunk is a solve of its own. It continues known frames, as in training: the
recording's last ones and the last ones emitted. The last frames of a chunk lack their future context: they stay
provisional, and the next chunk solves them again. The noise depends on the frame, not on the chunk.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from intone.server.engines.indextts.s2mel.acoustic import AcousticModel, AcousticPrompt, AcousticSettings, KnownFrames
from intone.server.engines.indextts.s2mel.length_regulator import (
    Moments,
    mel_frames,
    nominal_ratio,
    source_features,
)
from intone.server.engines.indextts.s2mel.voice_cache import CachedVoice
from intone.server.nn.transfer import send


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """Chunk sizes. A feature is 20 ms, a mel frame 11.6 ms.

    Attributes:
        first_features: new features in the first chunk.
        growth: ratio of a chunk's features to those of the chunk before it.
        max_features: upper bound of a chunk's new features.
        lookahead_frames: provisional frames at the end of a solve.
        prompt_frames: frames of the recording in the first solve; None for all.
        context_frames: frames emitted before that a solve continues.
        later_frames: known frames in a later solve: those emitted before, and ahead of them as many of the recording's
            last ones as there is room for; None for all `prompt_frames`. Cached frames cost little: all are used.
    """

    first_features: int = 28
    growth: float = 2.0
    max_features: int = 100
    lookahead_frames: int = 18
    prompt_frames: int | None = 430
    context_frames: int = 129
    later_frames: int | None = 215

    def codes(self, chunk: int, features_per_code: int) -> int:
        """New codes to wait for before solving chunk number `chunk`."""
        features = min(float(self.max_features), self.first_features * self.growth ** min(chunk, 64))
        return max(1, round(features / features_per_code))

    def solves(self, features_per_code: int, chunks: int = 6) -> list[tuple[int, int]]:
        """Known and new frames of the first solves of a unit whose recording is long enough for `prompt_frames`."""
        found, codes, emitted = [], 0, 0
        for chunk in range(chunks):
            codes += self.codes(chunk, features_per_code)
            available, recent = mel_frames(codes * features_per_code), min(emitted, self.context_frames)
            found.append((self.voice_frames(chunk, recent, self.prompt_frames or 0) + recent, available - emitted))
            emitted = available - self.lookahead_frames
        return found

    def voice_frames(self, chunk: int, recent: int, most: int) -> int:
        """Frames of the recording in solve number `chunk`, which continues `recent` frames; of at most `most`."""
        return most if chunk == 0 or self.later_frames is None else min(most, max(0, self.later_frames - recent))


WHOLE = ChunkPlan(first_features=1 << 30, max_features=1 << 30, lookahead_frames=0, prompt_frames=None)
"""Waits for the last code, then solves the whole unit as the official pipeline does."""


@dataclass(frozen=True, slots=True)
class AcousticState:
    """A unit between two chunks. Immutable: `extend` returns a new one.

    Attributes:
        voice: the recording's frames.
        recent: the last frames emitted, at most `context_frames`, with their conditions.
        moments: running sums of the regulator's norms over the recording and every frame emitted.
        codes: `[k]`, from code number `first_code` on: all that later frames depend on.
        hidden: `[k, GPT width]`, their hidden states, in IndexTTS-2.
        frames: mel frames emitted.
        chunks: solves so far.
        provisional: `[bands, h]`, the frames after those emitted, from the last solve; context for the vocoder.
        provisional_codes: codes of the unit that the last solve used.
        done: nothing follows.
    """

    settings: AcousticSettings
    plan: ChunkPlan
    voice: KnownFrames
    recent: KnownFrames
    moments: Moments
    codes: Tensor
    hidden: Tensor | None
    provisional: Tensor
    first_code: int = 0
    frames: int = 0
    chunks: int = 0
    provisional_codes: int = 0
    done: bool = False


def start(prompt: AcousticPrompt, settings: AcousticSettings, plan: ChunkPlan) -> AcousticState:
    """The state of a unit before its first code."""
    voice = prompt.known_frames(plan.prompt_frames)
    return AcousticState(
        settings=settings,
        plan=plan,
        voice=voice,
        recent=KnownFrames(voice.mel[:0], voice.condition[:0], voice.style),
        moments=prompt.initial_moments(),
        codes=torch.zeros(0, dtype=torch.long, device=voice.mel.device),
        hidden=None,
        provisional=voice.mel[:0].t(),
    )


def extend(
    model: AcousticModel, state: AcousticState, codes: Tensor, hidden: Tensor | None, last: bool
) -> tuple[Tensor, AcousticState]:
    """Append codes `[n]`, n of any size: the mel frames that have become final, `[bands, f]`, and the new state.

    Solves all frames not yet emitted if that makes at least one of them final. `ChunkPlan.codes` says how many codes to
    collect for a call: fewer cost more work, more make a solve longer. A unit whose codes all come in one call gives
    the result of `AcousticModel.whole`.

    Args:
        hidden: `[n, GPT width]`, in IndexTTS-2 only.
        last: no code follows these.
    """
    assert not state.done, "nothing follows the last code"
    state = _with_codes(state, codes, hidden)
    code_count = state.first_code + state.codes.shape[0]
    available = model.frames(code_count, state.settings.duration_factor)
    if last and state.chunks == 0:
        mel = model.whole(state.voice, state.codes, state.hidden, state.settings)
        return mel, _ended(state, available)
    if last and code_count == state.provisional_codes:  # the last solve already assumed the end of the speech
        return state.provisional, _ended(state, available)
    final = available if last else available - state.plan.lookahead_frames
    if final <= state.frames:
        return state.provisional[:, :0], _ended(state, available) if last else state
    condition, moments = conditions(model, state, available, final - state.frames)
    noise = model.noise(state.settings, state.frames, available - state.frames)
    mel = model.fill(_known(state), condition, noise, state.settings)
    emitted = final - state.frames
    if last:
        return mel.t(), _ended(state, available)
    after = _without_old_codes(model, state, final)
    return mel[:emitted].t(), replace(
        after,
        recent=_own(state.recent.followed_by(mel[:emitted], condition[:emitted]).last(state.plan.context_frames)),
        moments=moments,
        provisional=mel[emitted:].t().clone(),
        frames=final,
        chunks=state.chunks + 1,
        provisional_codes=code_count,
    )


def with_cached_voice(state: AcousticState, cached: CachedVoice) -> AcousticState:
    """A unit whose solves compute only the frames of the recording that are not cached."""
    return replace(state, voice=replace(state.voice, cached=cached))


def conditions(model: AcousticModel, state: AcousticState, available: int, emitted: int) -> tuple[Tensor, Moments]:
    """Conditions of all frames not yet emitted, below `available`; and the moments plus the first `emitted` of them."""
    lead = min(state.frames, model.regulator.context_frames)
    content = model.source.of_codes(state.codes, state.hidden)
    before = state.first_code * model.features_per_code
    ratio = nominal_ratio(state.settings.duration_factor)
    index = source_features(state.frames - lead, available, ratio, before + content.shape[0]) - before
    rows = content[send(torch.from_numpy(index), content.device)]
    return model.regulator.condition(rows, state.moments, lead, emitted)


def _with_codes(state: AcousticState, codes: Tensor, hidden: Tensor | None) -> AcousticState:
    if codes.shape[0] == 0:
        return state
    joined = hidden if state.hidden is None or hidden is None else torch.cat((state.hidden, hidden))
    return replace(state, codes=torch.cat((state.codes, codes)), hidden=joined)


def _without_old_codes(model: AcousticModel, state: AcousticState, frames: int) -> AcousticState:
    """Drop codes that frames from number `frames` on do not depend on."""
    earliest = max(0, frames - model.regulator.context_frames)
    ratio = nominal_ratio(state.settings.duration_factor)
    feature = int(source_features(earliest, earliest + 1, ratio, 1 << 30)[0])
    first = max(state.first_code, feature // model.features_per_code - model.source.context_codes)
    drop = first - state.first_code
    hidden = None if state.hidden is None else state.hidden[drop:].clone()
    return replace(state, codes=state.codes[drop:].clone(), hidden=hidden, first_code=first)


def _known(state: AcousticState) -> KnownFrames:
    """What the next solve continues."""
    voice, recent = state.voice, state.recent
    if voice.cached is None:
        voice = voice.last(state.plan.voice_frames(state.chunks, recent.mel.shape[0], voice.mel.shape[0]))
    return voice.followed_by(recent.mel, recent.condition)


def _own(known: KnownFrames) -> KnownFrames:
    """Copies, not views that keep more in memory."""
    return replace(known, mel=known.mel.clone(), condition=known.condition.clone())


def _ended(state: AcousticState, frames: int) -> AcousticState:
    return replace(state, provisional=state.provisional[:, :0], frames=frames, done=True)
