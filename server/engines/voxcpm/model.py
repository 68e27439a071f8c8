"""VoxCPM as one piece: prompt → wish → patch → wish → … Knows nothing of text, requests or when to stop for length.

`VoxCPM: Tokenizer-Free TTS` (arXiv 2509.24650). Differences from the published loop are exact savings only: LocEnc sees
audio positions alone, no work follows the last patch, attention ends at the true length.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae import AudioVAE, DecoderState
from intone.server.engines.voxcpm.flow import solve, time_table
from intone.server.engines.voxcpm.lm import LanguageModels, Wish
from intone.server.engines.voxcpm.local_dit import LocalDiT
from intone.server.engines.voxcpm.local_encoder import LocalEncoder
from intone.server.engines.voxcpm.prompt import Clip, Prompt
from intone.server.engines.voxcpm.state import Progress
from intone.server.engines.voxcpm.weights import Checkpoint
from intone.server.engines.weights import Progress as LoadProgress
from intone.server.engines.weights import Weights
from intone.server.nn.transfer import send

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class VoxCPM:
    """The model, frozen once built; every method takes and gives values. The VAE always computes in float32."""

    def __init__(
        self, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device, progress: LoadProgress | None = None
    ) -> None:
        self.config, self.device, self.dtype = checkpoint.config, device, dtype
        with torch.inference_mode():
            weights = Weights(checkpoint.model, dtype, device, progress)
            self.lm = LanguageModels(self.config, weights)
            self.encoder = LocalEncoder(self.config, weights)
            self.dit = LocalDiT(self.config, weights)
            vae = Weights(checkpoint.vae, torch.float32, device)
            self.vae = AudioVAE(self.config.vae, {name: vae[name] for name in checkpoint.vae})

    @property
    def silence(self) -> Clip:
        """A clip of no patches."""
        config = self.config
        latents = torch.zeros(0, config.patch_frames, config.latent_dim, device=self.device)
        return Clip(latents, torch.zeros(0, config.base.hidden, dtype=self.dtype, device=self.device))

    def hear(self, audio: Tensor) -> Clip:
        """A recording `[T]` at the VAE's input rate, T a multiple of a patch."""
        frames = self.vae.encode(audio.unsqueeze(0))[0].T  # [N, D]
        latents = frames.reshape(-1, self.config.patch_frames, self.config.latent_dim)
        return Clip(latents, self.encoder(latents))

    def read(self, prompt: Prompt, positions: int, steps: int) -> Progress:
        """Prefill. `positions` is the most that prompt and speech will need, `steps` those of the flow."""
        caches = self.lm.new_caches(positions)
        wish = self.lm.prefill(prompt.tokens, prompt.audio_at, prompt.audio, caches)
        return Progress(caches, wish, prompt.before, time_table(self.dit, steps, self.config.mean_mode))

    def advance(self, units: Sequence[Progress]) -> None:
        """From the patch made last to the wish for the next one, for every unit."""
        embedded = self.encoder(torch.stack([unit.patch for unit in units]))
        wish = self.lm.step(embedded, [unit.caches for unit in units])
        for unit, own in zip(units, wish.split(), strict=True):
            unit.wish = own

    def wants_to_stop(self, units: Sequence[Progress]) -> Tensor:
        """Whether the patch of each unit's present wish is its last: `[B]`, bool. Known before the patch is made."""
        return self.lm.wants_to_stop(torch.stack([unit.wish.base for unit in units]))

    def make_patches(self, units: Sequence[Progress], noise: Tensor, guidance: Sequence[float]) -> None:
        """From wish and noise `[B, P, D]` to the next patch of every unit.

        Units of one number of steps are computed together, as far as they agree on whether there is guidance at all.
        """
        groups: dict[tuple[int, bool], list[int]] = {}
        for row, unit in enumerate(units):
            groups.setdefault((unit.times.steps, guidance[row] != 1.0), []).append(row)
        for (_, guided), rows in groups.items():
            members = [units[row] for row in rows]
            wish = Wish.stack([unit.wish for unit in members])
            condition = self.dit.condition(wish.base, wish.residual, torch.stack([unit.patch for unit in members]))
            weights = send(torch.tensor([guidance[row] for row in rows]), self.device) if guided else None
            start = noise if len(rows) == len(units) else noise[rows]
            for unit, patch in zip(members, solve(self.dit, start, condition, weights, members[0].times), strict=True):
                unit.patch = patch

    def decode(self, frames: Sequence[Tensor], states: Sequence[DecoderState]) -> list[tuple[Tensor, DecoderState]]:
        """Sound for latent frames `[D, N]` of each stream: samples `[N · hop]` and the state after, in order.

        Streams with as many frames are decoded together.
        """
        results: dict[int, tuple[Tensor, DecoderState]] = {}
        groups: dict[int, list[int]] = {}
        for row, latents in enumerate(frames):
            groups.setdefault(latents.shape[1], []).append(row)
        for rows in groups.values():
            alone = len(rows) == 1
            state = states[rows[0]] if alone else DecoderState.stack([states[row] for row in rows])
            audio, state = self.vae.decode(torch.stack([frames[row] for row in rows]), state)
            after = [state] if alone else state.split()
            results.update((row, (audio[at], after[at])) for at, row in enumerate(rows))
        return [results[row] for row in range(len(frames))]
