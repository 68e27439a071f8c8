"""The trainable acoustic model: codec, length regulator and flow, which are the server's own modules."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.s2mel.acoustic import FLOW, LATENT, REGULATOR
from intone.server.engines.indextts.s2mel.cfm import solve, time_table
from intone.server.engines.indextts.s2mel.codec import BOOK
from intone.server.engines.indextts.s2mel.content import ContentSource, content_source
from intone.server.engines.indextts.s2mel.dit import DiT
from intone.server.engines.indextts.s2mel.flow_inputs import Condition
from intone.server.engines.indextts.s2mel.length_regulator import LengthRegulator, Moments, mel_frames
from intone.server.engines.indextts.vocoder.source import REFERENCE_HZ
from intone.server.engines.indextts.voice.mel import FLOOR
from intone.server.engines.weights import Weights
from training.indextts.codes import (
    CODES,
    EFFORT_LEVELS,
    FEATURES_PER_CODE,
    PAUSE,
    PITCH_LEVELS,
    SOUND_COUNT,
    parts,
)
from training.indextts.features import Basis
from training.indextts.parameters import Parameters, initial
from training.indextts.speech import MEL_BANDS

CODEBOOK = f"{BOOK}.codebook.weight"
PROMPT_CODES = 4
"""Length of the voice's recording, in codes: silence, because the voice is always the same."""

OUTPUT_GAIN = 0.1
"""Scales the initial output layer of the flow."""


class Acoustic(nn.Module):
    """Codes to frames. The codebook is a sum over the parts of a code, as in `gpt.py`."""

    def __init__(self, config: IndexTTSConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        s2mel, codec = initial(config, "s2mel", seed), initial(config, "codec", seed)
        s2mel[f"{FLOW}.conv2.weight"] *= OUTPUT_GAIN
        codec[CODEBOOK] = torch.zeros_like(codec[CODEBOOK])
        random = torch.Generator().manual_seed(seed)
        levels = SOUND_COUNT + PITCH_LEVELS + EFFORT_LEVELS
        self.s2mel = Parameters(s2mel, (f"{FLOW}.t_embedder.freqs", f"{FLOW}.t_embedder2.freqs"))
        self.codec = Parameters(codec)
        self.codebook_parts = nn.Parameter(0.6 * torch.randn(levels, config.codec.codebook_dim, generator=random))
        sounds, pitch, effort = parts(torch.arange(CODES))
        rows = torch.stack((sounds, SOUND_COUNT + pitch, SOUND_COUNT + PITCH_LEVELS + effort), 1)
        self.register_buffer("levels", rows, persistent=False)

    def published_codec(self) -> dict[str, Tensor]:
        """The codec's tensors by their published names."""
        levels = self.levels
        assert isinstance(levels, Tensor)
        tensors = self.codec.tensors()
        return tensors | {CODEBOOK: tensors[CODEBOOK] + self.codebook_parts[levels].sum(1)}

    def built(self) -> "Built":
        """The server's modules on the current parameters."""
        config, s2mel = self.config, self.s2mel.weights()
        regulator = LengthRegulator(config.regulator, s2mel.scope(REGULATOR))
        codec = Weights(self.published_codec(), device=self.codebook_parts.device)
        content = content_source(config, regulator, codec, s2mel.scope(LATENT))
        return Built(content, regulator, DiT(config.dit, config.wavenet, s2mel.scope(FLOW)), config.dit.style_dim)


@dataclass(frozen=True, slots=True)
class Built:
    """The modules between codes and frames. The style of the only speaker is zero."""

    content: ContentSource
    regulator: LengthRegulator
    dit: DiT
    style_dim: int

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.regulator.content_in.weight.device

    def prompt(self, basis: Basis) -> tuple[Tensor, Tensor, Moments]:
        """The silence that stands for the voice's recording: rows `[P, R]`, conditions `[P, C]`, and their moments."""
        frames = mel_frames(PROMPT_CODES * FEATURES_PER_CODE)
        mel = torch.full((frames, MEL_BANDS), FLOOR).log()
        rows = basis.rows(mel, torch.tensor([[REFERENCE_HZ, 0.0]]).expand(frames, -1)).to(self.device)
        codes = torch.full((PROMPT_CODES,), PAUSE * PITCH_LEVELS * EFFORT_LEVELS, device=self.device)
        condition, moments = self.regulator.whole(self.content.of_codes(codes, None), frames)
        return rows, condition, moments

    def fixed(self, known: Tensor, conditions: Tensor) -> Condition:
        """What is constant during a solve: known rows `[B, K, R]` and the conditions of all frames, `[B, T, C]`."""
        style = torch.zeros(len(known), self.style_dim, device=self.device)
        return self.dit.inputs.condition(known, conditions, style, guided=False)

    def velocity(self, x: Tensor, fixed: Condition, time: float) -> Tensor:
        """The velocity at a time, 0 to 1, of noisy rows `[B, F, R]`."""
        (modulation,) = self.dit.inputs.modulations(torch.tensor([time], device=self.device))
        return self.dit.velocity(x, fixed, modulation)

    def solved(self, noise: Tensor, fixed: Condition, steps: int) -> Tensor:
        """Rows made of noise `[B, F, R]` in so many steps."""
        return solve(self.dit, noise, fixed, 0.0, time_table(self.dit.inputs, steps, noise.device))
