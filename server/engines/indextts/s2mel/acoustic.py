"""The acoustic model: semantic codes of a whole unit to mel frames in the voice of a recording.

codes → content (codec, or table and hidden states) → a condition for each mel frame (length regulator) → flow matching,
which continues the recording's frames. `streaming.py` does the same in chunks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.s2mel.cfm import TimeTable, solve, time_table
from intone.server.engines.indextts.s2mel.content import content_source
from intone.server.engines.indextts.s2mel.dit import DiT
from intone.server.engines.indextts.s2mel.flow_inputs import Condition
from intone.server.engines.indextts.s2mel.flow_programs import FlowPrograms
from intone.server.engines.indextts.s2mel.flow_work import FlowWork
from intone.server.engines.indextts.s2mel.length_regulator import LengthRegulator, Moments, mel_frames
from intone.server.engines.indextts.s2mel.native_flow import NativeFlow
from intone.server.engines.indextts.s2mel.noise import frame_noise
from intone.server.engines.indextts.s2mel.voice_cache import CachedVoice, VoiceCache
from intone.server.engines.weights import Weights
from intone.server.nn.transfer import send

DEFAULT_GUIDANCE = 0.7
DEFAULT_STEPS = 25

Solver = Callable[[Tensor, Condition, float, TimeTable], Tensor]
"""As `cfm.solve` for one unit, without the field."""

FLOW, REGULATOR, LATENT = "cfm.estimator", "length_regulator", "gpt_layer"


@dataclass(frozen=True, slots=True)
class AcousticPrompt:
    """A recording as the acoustic model takes it; part of a prepared voice. Float32 except `moments`.

    Attributes:
        mel: `[P, bands]`, the recording's log mel spectrogram.
        condition: `[P, C]`, from the length regulator.
        style: `[S]`, the speaker embedding.
        moments: `[blocks, 2]`, float64, `length_regulator.Moments.sums` of these P frames.
    """

    mel: Tensor
    condition: Tensor
    style: Tensor
    moments: Tensor

    def known_frames(self, frames: int | None = None) -> "KnownFrames":
        """All frames for the flow to continue, or the last `frames` of them."""
        whole = KnownFrames(self.mel, self.condition, self.style)
        return whole if frames is None else whole.last(frames)

    def initial_moments(self) -> Moments:
        """The state of the regulator's norms at the start of a stream."""
        return Moments(self.mel.shape[0], self.moments)


@dataclass(frozen=True, slots=True)
class KnownFrames:
    """Frames that the flow continues: `mel` `[G, bands]`, `condition` `[G, C]`; `style` is the speaker's.

    Attributes:
        cached: the first of these frames, which are not computed again; None to compute all.
    """

    mel: Tensor
    condition: Tensor
    style: Tensor
    cached: CachedVoice | None = None

    def followed_by(self, mel: Tensor, condition: Tensor) -> "KnownFrames":
        """These frames with more after them."""
        return replace(self, mel=torch.cat((self.mel, mel)), condition=torch.cat((self.condition, condition)))

    def last(self, frames: int) -> "KnownFrames":
        """The last of them, at most `frames`, none of them cached."""
        first = max(0, self.mel.shape[0] - frames)
        return KnownFrames(self.mel[first:], self.condition[first:], self.style)


@dataclass(frozen=True, slots=True)
class AcousticSettings:
    """Settings of a unit; with its codes they determine the result.

    Attributes:
        seed: 0 to 2**64 - 1.
        times: from `AcousticModel.time_table`.
        guidance: strength of classifier-free guidance; 0 is none and halves the work.
        duration_factor: stretches the speech; over 1 is slower. IndexTTS-2.5 was trained for 0.5 to 2.
    """

    seed: int
    times: TimeTable
    guidance: float = DEFAULT_GUIDANCE
    duration_factor: float = 1.0


class AcousticModel:
    """All modules between codes and mel; immutable. Tensors in and out are on the device of the weights.

    Attributes:
        source: codes or a recording's features to content.
        features_per_code: content rows per code.
        flow: the programs that solve, on a GPU; None to solve without.
        voices: the cache of keys and values of voices; None where the solver has none.
        work: how much there is to do in a step of the flow.
    """

    def __init__(self, config: IndexTTSConfig, s2mel: Weights, codec: Weights, packed: str | None = "fp32") -> None:
        """Read the s2mel file and the codec's file; `packed` as in `NativeFlow`, None to solve in torch."""
        self.features_per_code = config.features_per_code
        self.regulator = LengthRegulator(config.regulator, s2mel.scope(REGULATOR))
        self.source = content_source(config, self.regulator, codec, s2mel.scope(LATENT))
        dit = DiT(config.dit, config.wavenet, s2mel.scope(FLOW))
        self._inputs, self.work = dit.inputs, FlowWork.of(dit)
        self._dit = dit if packed is None else None  # the native solver has its own copy of the weights
        self._solve: Solver = partial(solve, dit)
        self.voices: VoiceCache | None = None
        if packed is not None:
            native = NativeFlow(dit, packed)
            self._solve, self.voices = native.solve, VoiceCache(native, dit.inputs, dit.context_frames)
        self.flow: FlowPrograms | None = None

    def use_programs(self, capture: bool) -> FlowPrograms:
        """Solve by programs over fixed buffers from now on, as on a GPU; not with a native solver."""
        assert self._dit is not None, "programs run in torch"
        self.flow = FlowPrograms(self._dit, self.device, capture)
        return self.flow

    @property
    def bands(self) -> int:
        """Bands of a mel frame."""
        return self._inputs.mel_bands

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.regulator.content_in.weight.device

    def time_table(self, steps: int = DEFAULT_STEPS) -> TimeTable:
        """The table for solves of so many steps, worth caching."""
        return time_table(self._inputs, steps, self.device)

    def prompt(self, mel: Tensor, features: Tensor, style: Tensor) -> AcousticPrompt:
        """The prompt of one recording: mel `[bands, P]`, normalised w2v-BERT features `[T, H]` and style `[S]`.

        Raises:
            ValueError: the recording has no frame or no feature.
        """
        if not (mel.shape[1] and features.shape[0]):
            raise ValueError(f"recording has {mel.shape[1]} frames and {features.shape[0]} features, expected some")
        condition, moments = self.regulator.whole(self.source.of_recording(features), mel.shape[1])
        return AcousticPrompt(mel.t().contiguous(), condition, style, moments.sums)

    def frames(self, codes: int, duration_factor: float) -> int:
        """Mel frames of so many codes."""
        return mel_frames(codes * self.features_per_code, duration_factor)

    def whole(self, known: KnownFrames, codes: Tensor, hidden: Tensor | None, settings: AcousticSettings) -> Tensor:
        """A whole unit: codes `[n]`, and in IndexTTS-2 their hidden states `[n, GPT width]` → mel `[bands, F]`."""
        count = self.frames(codes.shape[0], settings.duration_factor)
        if count == 0:
            return known.mel.new_zeros(self.bands, 0)
        condition, _ = self.regulator.whole(self.source.of_codes(codes, hidden), count)
        return self.fill(known, condition, self.noise(settings, 0, count), settings).t()

    def noise(self, settings: AcousticSettings, first: int, count: int) -> Tensor:
        """The noise of the unit's frames `first` to `first + count - 1`, `[count, bands]`."""
        return send(torch.from_numpy(frame_noise(settings.seed, first, count, self.bands)), self.device)

    def fill(self, known: KnownFrames, condition: Tensor, noise: Tensor, settings: AcousticSettings) -> Tensor:
        """Mel frames after the known ones: conditions `[F, C]` and noise `[F, bands]` → `[F, bands]`."""
        skipped, cached = (known.cached.frames, known.cached.steps) if known.cached else (0, ())
        content = torch.cat((known.condition[skipped:], condition)).unsqueeze(0)
        mel, style = known.mel[skipped:].unsqueeze(0), known.style.unsqueeze(0)
        fixed = replace(self._inputs.condition(mel, content, style, guided=settings.guidance > 0), cached=cached)
        start = noise.unsqueeze(0)
        if self.flow is not None and self.flow.fits(fixed.prompt, noise.shape[0]):
            return self.flow.solve(start, fixed, settings.guidance, settings.times)[0]
        return self._solve(start, fixed, settings.guidance, settings.times)[0]
