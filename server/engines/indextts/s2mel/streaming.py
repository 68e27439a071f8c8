"""Codes to mel while the codes are still coming. Knows no codes' origin and no vocoder.

The flow sees a whole sequence at once. So each chunk is a solve of its own: after the recording's last frames and the
last frames spoken, which it is given as it was trained to be, it fills in the new ones. The end of what it fills has
not seen its future: it stays provisional, and the next chunk makes it anew. Noise belongs to a frame, not to a chunk.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from intone.server.engines.indextts.s2mel.acoustic import AcousticModel, AcousticPrompt, AcousticSettings, Given
from intone.server.engines.indextts.s2mel.length_regulator import Moments, nominal_ratio, source_features


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """How a unit is cut. A feature is 20 ms, a mel frame 11.6 ms.

    Attributes:
        first_features: wait for so many before the first solve.
        growth: each chunk waits for so many times the features that the one before it waited for.
        max_features: but for no more than these.
        lookahead_frames: provisional frames at the end of a solve.
        prompt_frames: of the recording; None for all of it.
        context_frames: of what was spoken.
    """

    first_features: int = 28
    growth: float = 2.0
    max_features: int = 100
    lookahead_frames: int = 18
    prompt_frames: int | None = 430
    context_frames: int = 129

    def codes(self, chunk: int, features_per_code: int) -> int:
        """New codes that the solve of chunk number `chunk` is worth waiting for."""
        features = min(float(self.max_features), self.first_features * self.growth ** min(chunk, 64))
        return max(1, round(features / features_per_code))


WHOLE = ChunkPlan(first_features=1 << 30, max_features=1 << 30, lookahead_frames=0, prompt_frames=None)
"""Waits for the last code, then makes the unit as the official pipeline does."""


@dataclass(frozen=True, slots=True)
class AcousticState:
    """A unit between two chunks. A value: `extend` gives a new one.

    Attributes:
        voice: the recording's frames.
        recent: frames spoken, at most `context_frames`, with the conditions they were made from.
        moments: what the regulator's norms have seen: the recording and every frame spoken.
        codes: `[k]`, from code number `first_code` on: all that frames to come depend on.
        hidden: `[k, GPT's width]`, theirs, in IndexTTS-2.
        frames: mel frames spoken.
        chunks: solves made.
        provisional: `[bands, h]`, the frames after those, as the last solve has them; a vocoder may look at them.
        provisional_codes: how many codes of the unit that solve knew.
        done: nothing follows.
    """

    settings: AcousticSettings
    plan: ChunkPlan
    voice: Given
    recent: Given
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
    """A unit before its first code."""
    voice = prompt.given(plan.prompt_frames)
    return AcousticState(
        settings=settings,
        plan=plan,
        voice=voice,
        recent=Given(voice.mel[:0], voice.condition[:0], voice.style),
        moments=prompt.heard(),
        codes=torch.zeros(0, dtype=torch.long, device=voice.mel.device),
        hidden=None,
        provisional=voice.mel[:0].t(),
    )


def extend(
    model: AcousticModel, state: AcousticState, codes: Tensor, hidden: Tensor | None, last: bool
) -> tuple[Tensor, AcousticState]:
    """Take the codes `[n]` that follow, n of any size, and speak: mel `[bands, f]` and the state after.

    There is a solve, of all frames not yet spoken, where it would make at least one of them final. `ChunkPlan.codes`
    says when to come; coming earlier costs more work, coming later makes a solve longer. A unit that comes whole is
    made as `AcousticModel.whole` makes it. `hidden` `[n, GPT's width]` in IndexTTS-2 only.
    """
    assert not state.done, "nothing follows the last code"
    state = _with_codes(state, codes, hidden)
    known = state.first_code + state.codes.shape[0]
    available = model.frames(known, state.settings.duration_factor)
    if last and state.chunks == 0:
        mel = model.whole(state.voice, state.codes, state.hidden, state.settings)
        return mel, _ended(state, available)
    if last and known == state.provisional_codes:  # that solve took the end of the codes for the end of the speech
        return state.provisional, _ended(state, available)
    final = available if last else available - state.plan.lookahead_frames
    if final <= state.frames:
        return state.provisional[:, :0], _ended(state, available) if last else state
    condition, moments = conditions(model, state, available, final - state.frames)
    noise = model.noise(state.settings, state.frames, available - state.frames)
    given = state.voice.then(state.recent.mel, state.recent.condition)
    mel = model.fill(given, condition, noise, state.settings)
    spoken = final - state.frames
    if last:
        return mel.t(), _ended(state, available)
    after = _forgotten(model, state, final)
    return mel[:spoken].t(), replace(
        after,
        recent=_last(state.recent.then(mel[:spoken], condition[:spoken]), state.plan.context_frames),
        moments=moments,
        provisional=mel[spoken:].t().clone(),
        frames=final,
        chunks=state.chunks + 1,
        provisional_codes=known,
    )


def conditions(model: AcousticModel, state: AcousticState, available: int, spoken: int) -> tuple[Tensor, Moments]:
    """Of all frames not yet spoken, up to number `available`; and the moments with the first `spoken` of them added."""
    lead = min(state.frames, model.regulator.context_frames)
    content = model.source.of_codes(state.codes, state.hidden)
    before = state.first_code * model.features_per_code
    ratio = nominal_ratio(state.settings.duration_factor)
    index = source_features(state.frames - lead, available, ratio, before + content.shape[0]) - before
    rows = content[torch.from_numpy(index).to(content.device)]
    return model.regulator.condition(rows, state.moments, lead, spoken)


def _with_codes(state: AcousticState, codes: Tensor, hidden: Tensor | None) -> AcousticState:
    if codes.shape[0] == 0:
        return state
    seen = hidden if state.hidden is None or hidden is None else torch.cat((state.hidden, hidden))
    return replace(state, codes=torch.cat((state.codes, codes)), hidden=seen)


def _forgotten(model: AcousticModel, state: AcousticState, frames: int) -> AcousticState:
    """Without the codes that frames from number `frames` on do not depend on."""
    earliest = max(0, frames - model.regulator.context_frames)
    ratio = nominal_ratio(state.settings.duration_factor)
    feature = int(source_features(earliest, earliest + 1, ratio, 1 << 30)[0])
    first = max(state.first_code, feature // model.features_per_code - model.source.context_codes)
    drop = first - state.first_code
    hidden = None if state.hidden is None else state.hidden[drop:].clone()
    return replace(state, codes=state.codes[drop:].clone(), hidden=hidden, first_code=first)


def _last(given: Given, frames: int) -> Given:
    first = max(0, given.mel.shape[0] - frames)
    return Given(given.mel[first:].clone(), given.condition[first:].clone(), given.style)


def _ended(state: AcousticState, frames: int) -> AcousticState:
    return replace(state, provisional=state.provisional[:, :0], frames=frames, done=True)
