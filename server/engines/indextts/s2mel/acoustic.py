"""Codes to mel, a whole unit at a time, in the voice of a recording. Knows no text and no vocoder.

codes → content (codec, or table and hidden states) → a condition for each mel frame → flow, going on from the
recording's frames. `streaming.py` does the same in pieces.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig, Variant
from intone.server.engines.indextts.s2mel import dit_shapes, length_regulator
from intone.server.engines.indextts.s2mel.cfm import TimeTable, solve, time_table
from intone.server.engines.indextts.s2mel.content import content_source, latent_shapes, random_latent
from intone.server.engines.indextts.s2mel.dit import DiT
from intone.server.engines.indextts.s2mel.length_regulator import LengthRegulator, Moments, mel_frames
from intone.server.engines.indextts.s2mel.noise import frame_noise
from intone.server.engines.weights import Weights

DEFAULT_GUIDANCE = 0.7
DEFAULT_STEPS = 25

T = TypeVar("T")

FLOW, REGULATOR, LATENT = "cfm.estimator", "length_regulator", "gpt_layer"


def tensor_shapes(config: IndexTTSConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape of what is used of the s2mel file, its parts side by side."""
    return {
        **_prefixed(FLOW, dit_shapes.tensor_shapes(config.dit, config.wavenet)),
        **_prefixed(REGULATOR, length_regulator.tensor_shapes(config.regulator)),
        **_prefixed(LATENT, latent_shapes(config)),
    }


def dead_keys(config: IndexTTSConfig) -> tuple[str, ...]:
    """Patterns of the names (whole, as regular expressions) that the s2mel file has and nothing here uses."""
    flow = tuple(f"cfm\\.estimator\\.{pattern}" for pattern in dit_shapes.dead_keys(config.dit))
    regulator = tuple(f"length_regulator\\.{pattern}" for pattern in length_regulator.DEAD_KEYS)
    return flow + regulator + ((r"gpt_layer\..*",) if config.variant is Variant.V25 else ())


def random_tensors(config: IndexTTSConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """An untrained s2mel file, the same for the same generator state."""
    return {
        **_prefixed(FLOW, dit_shapes.random_tensors(config.dit, config.wavenet, generator)),
        **_prefixed(REGULATOR, length_regulator.random_tensors(config.regulator, generator)),
        **_prefixed(LATENT, random_latent(config, generator)),
    }


@dataclass(frozen=True, slots=True)
class AcousticPrompt:
    """What a recording tells the acoustic model; part of a prepared voice. All but `moments` float32.

    Attributes:
        mel: `[P, bands]`, the recording's natural-logarithm mel.
        condition: `[P, C]`, from the length regulator.
        style: `[S]`, of the speaker encoder.
        moments: `[blocks, 2]`, float64, what the regulator's norms saw in these P frames (`length_regulator.Moments`).
    """

    mel: Tensor
    condition: Tensor
    style: Tensor
    moments: Tensor

    def given(self, frames: int | None = None) -> "Given":
        """What the flow is given of it: all of it, or its last `frames` frames."""
        first = 0 if frames is None else max(0, self.mel.shape[0] - frames)
        return Given(self.mel[first:], self.condition[first:], self.style)

    def heard(self) -> Moments:
        """What the regulator's norms have seen when a stream begins."""
        return Moments(self.mel.shape[0], self.moments)


@dataclass(frozen=True, slots=True)
class Given:
    """Frames that the flow goes on from: `mel` `[G, bands]` and `condition` `[G, C]`; `style` is the speaker's."""

    mel: Tensor
    condition: Tensor
    style: Tensor

    def then(self, mel: Tensor, condition: Tensor) -> "Given":
        """These frames and more."""
        return Given(torch.cat((self.mel, mel)), torch.cat((self.condition, condition)), self.style)


@dataclass(frozen=True, slots=True)
class AcousticSettings:
    """How a unit is made; with its codes they decide every number.

    Attributes:
        seed: 0 to 2**64 - 1.
        times: from `AcousticModel.time_table`.
        guidance: 0 is none and needs half the work.
        duration_factor: stretches the speech; over 1 is slower. IndexTTS-2.5 was trained for 0.5 to 2.
    """

    seed: int
    times: TimeTable
    guidance: float = DEFAULT_GUIDANCE
    duration_factor: float = 1.0


class AcousticModel:
    """All modules between codes and mel; frozen once built. Tensors in and out are on the device of the weights.

    Attributes:
        source: codes or a recording's features to content.
        features_per_code: content rows of a code.
    """

    def __init__(self, config: IndexTTSConfig, s2mel: Weights, codec: Weights, packed: str = "fp32") -> None:
        """`s2mel` as `tensor_shapes` here, `codec` as `codec.tensor_shapes` describes; `packed` as in `dit.DiT`."""
        self.features_per_code = config.features_per_code
        self.regulator = LengthRegulator(config.regulator, s2mel.scope(REGULATOR))
        self.source = content_source(config, self.regulator, codec, s2mel.scope(LATENT))
        self._dit = DiT(config.dit, config.wavenet, s2mel.scope(FLOW), packed)

    @property
    def bands(self) -> int:
        """Numbers in a mel frame."""
        return self._dit.mel_bands

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.regulator.content_in.weight.device

    def time_table(self, steps: int = DEFAULT_STEPS) -> TimeTable:
        """For solves of so many steps; worth keeping."""
        return time_table(self._dit, steps, self.device)

    def prompt(self, mel: Tensor, features: Tensor, style: Tensor) -> AcousticPrompt:
        """From one recording: mel `[bands, P]`, normalised w2v-BERT features `[T, H]` and style `[S]`.

        Raises:
            ValueError: the recording has no frame or no feature.
        """
        if not (mel.shape[1] and features.shape[0]):
            raise ValueError(f"recording has {mel.shape[1]} frames and {features.shape[0]} features, expected some")
        condition, moments = self.regulator.whole(self.source.of_recording(features), mel.shape[1])
        return AcousticPrompt(mel.t().contiguous(), condition, style, moments.sums)

    def frames(self, codes: int, duration_factor: float) -> int:
        """How many mel frames so many codes last."""
        return mel_frames(codes * self.features_per_code, duration_factor)

    def solve_offline(
        self, prompt: AcousticPrompt, codes: Tensor, hidden: Tensor | None, settings: AcousticSettings
    ) -> Tensor:
        """A whole unit: codes `[n]`, and in IndexTTS-2 their hidden states `[n, GPT's width]` → mel `[bands, F]`."""
        return self.whole(prompt.given(), codes, hidden, settings)

    def whole(self, given: Given, codes: Tensor, hidden: Tensor | None, settings: AcousticSettings) -> Tensor:
        """As `solve_offline`, after any frames."""
        count = self.frames(codes.shape[0], settings.duration_factor)
        if count == 0:
            return given.mel.new_zeros(self.bands, 0)
        condition, _ = self.regulator.whole(self.source.of_codes(codes, hidden), count)
        return self.fill(given, condition, self.noise(settings, 0, count), settings).t()

    def noise(self, settings: AcousticSettings, first: int, count: int) -> Tensor:
        """Of the unit's frames `first` to `first + count - 1`, `[count, bands]`."""
        return torch.from_numpy(frame_noise(settings.seed, first, count, self.bands)).to(self.device)

    def fill(self, given: Given, condition: Tensor, noise: Tensor, settings: AcousticSettings) -> Tensor:
        """Mel of the frames that follow the given ones: conditions `[F, C]` and noise `[F, bands]` → `[F, bands]`."""
        content = torch.cat((given.condition, condition)).unsqueeze(0)
        told = self._dit.condition(
            given.mel.unsqueeze(0), content, given.style.unsqueeze(0), guided=settings.guidance > 0
        )
        return solve(self._dit, noise.unsqueeze(0), told, settings.guidance, settings.times)[0]


def _prefixed(prefix: str, parts: Mapping[str, T]) -> dict[str, T]:
    return {f"{prefix}.{name}": part for name, part in parts.items()}
