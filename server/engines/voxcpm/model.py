"""VoxCPM as one piece: prompt → wish → patch → wish → … Knows nothing of text, requests or when to stop for length.

`VoxCPM: Tokenizer-Free TTS` (arXiv 2509.24650). Differences from the published loop are exact savings only: LocEnc sees
audio positions alone, no work follows the last patch, attention ends at the true length.
"""

from collections.abc import Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae import AudioVAE
from intone.server.engines.voxcpm.backend import TORCH_BACKEND
from intone.server.engines.voxcpm.flow import solve, time_table
from intone.server.engines.voxcpm.lm import Caches, LanguageModels, Wish
from intone.server.engines.voxcpm.local_dit import LocalDiT
from intone.server.engines.voxcpm.local_encoder import LocalEncoder
from intone.server.engines.voxcpm.native_stack import NativeFlow, native_kit
from intone.server.engines.voxcpm.native_vae import NativeAudioVAE
from intone.server.engines.voxcpm.packed_cache import PackedLayers
from intone.server.engines.voxcpm.prompt import Clip, Prompt
from intone.server.engines.voxcpm.state import Beginning, Progress
from intone.server.engines.voxcpm.weights import Checkpoint
from intone.server.engines.weights import Progress as LoadProgress
from intone.server.engines.weights import Weights
from intone.server.nn.transfer import send


class VoxCPM:
    """The model, frozen once built; every method takes and gives values. The VAE always computes in float32.

    Args:
        dtype: of what torch computes.
        packed: weights of the native stacks, "int8", "bf16" or "fp32", which want the CPU and float32 for `dtype`; None
            leaves the stacks to torch.
        layers: where what is packed comes from; None packs it.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: torch.dtype,
        device: torch.device,
        progress: LoadProgress | None = None,
        packed: str | None = None,
        layers: PackedLayers | None = None,
    ) -> None:
        assert packed is None or (device.type == "cpu" and dtype == torch.float32), "see `packed`"
        self.config, self.device, self.dtype, self.packed = checkpoint.config, device, dtype, packed
        with torch.inference_mode():
            # First the VAE, which takes three times its size while it is packed: the peak of memory is lowest so.
            vae = Weights(checkpoint.vae, torch.float32, device, mapped=checkpoint.mapped)
            if device.type == "cpu":
                self.vae: AudioVAE | NativeAudioVAE = NativeAudioVAE(self.config.vae, vae, layers=layers)
                vae.release()
            else:
                self.vae = AudioVAE(self.config.vae, vae)
            weights = Weights(checkpoint.model, dtype, device, progress, mapped=checkpoint.mapped)
            kit = TORCH_BACKEND if packed is None else native_kit(packed, layers)
            self.lm = LanguageModels(self.config, weights, kit)
            self.encoder = LocalEncoder(self.config, weights, kit)
            self.dit = LocalDiT(self.config, weights, kit)
            self.solve = partial(solve, self.dit) if packed is None else NativeFlow(self.dit).solve
            self._table = lru_cache(8)(partial(time_table, self.dit, mean_mode=self.config.mean_mode))
            if packed is not None:  # torch's parts would hold on to tensors of the file
                weights.release()

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

    def read(
        self, prompt: Prompt, positions: int, steps: int, beginning: Beginning | None = None, shared: int = 0
    ) -> Progress:
        """Prefill. `positions` is the most that prompt and speech will need, `steps` those of the flow.

        The first `shared` positions of the prompt, fewer than all, are those of `beginning` and not computed again.
        """
        caches = self.begun(beginning).fork(shared, positions) if beginning else self.lm.new_caches(positions)
        wish = self._prefill(prompt.after(shared), caches)
        return Progress(caches, wish, prompt.before, self._table(steps))

    def begun(self, beginning: Beginning) -> Caches:
        """The caches of a beginning, which is read if it has not been yet."""
        if beginning.caches.length < len(beginning.prompt):
            self._prefill(beginning.prompt, beginning.caches)
        return beginning.caches

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
            for unit, patch in zip(members, self.solve(start, condition, weights, members[0].times), strict=True):
                unit.patch = patch

    def _prefill(self, prompt: Prompt, caches: Caches) -> Wish:
        tokens, audio_at = (send(part, self.device) for part in (prompt.tokens, prompt.audio_at))
        return self.lm.prefill(tokens, audio_at, prompt.audio, caches)
