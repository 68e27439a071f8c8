"""The VoxCPM model: prefill, then per patch: hidden states → diffusion → patch → language models.

VoxCPM: arXiv 2509.24650. The differences from the published loop do not change the result: LocEnc runs on audio
positions only, nothing is computed after the last patch, attention ends at the actual length.
"""

from collections.abc import Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from intone.server.engines.packed_cache import PackedLayers
from intone.server.engines.pieces import Pieces, complete
from intone.server.engines.voxcpm.audio_vae import AudioVAE
from intone.server.engines.voxcpm.backend import TORCH_BACKEND
from intone.server.engines.voxcpm.flow import build_time_table, solve
from intone.server.engines.voxcpm.lm import Caches, LanguageModels, LMCondition
from intone.server.engines.voxcpm.local_dit import LocalDiT
from intone.server.engines.voxcpm.local_encoder import LocalEncoder
from intone.server.engines.voxcpm.native_stack import NativeFlow, native_backend
from intone.server.engines.voxcpm.native_vae import NativeAudioVAE
from intone.server.engines.voxcpm.prompt import AudioPrompt, Prompt
from intone.server.engines.voxcpm.slot_stack import INT8_SLOT_BACKEND, SLOT_BACKEND
from intone.server.engines.voxcpm.state import Generation, PromptPrefix
from intone.server.engines.voxcpm.weights import Checkpoint
from intone.server.engines.weights import LoadProgress, Weights
from intone.server.nn.transfer import send

PIECE_POSITIONS = 32
"""Positions of a prefix that are read in one piece."""


class VoxCPM:
    """The model; immutable. The VAE always computes in float32.

    Args:
        dtype: of the parts computed by torch.
        packed: weights of the native stacks, "int8", "bf16" or "fp32", which need the CPU and float32 as `dtype`; None
            for stacks computed by torch.
        layers: the source of packed layers; None packs them.
        on_slots: build what `SlotModel` needs; the stacks are computed by torch then.
        int8: of stacks on slots, whether their weights are int8.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: torch.dtype,
        device: torch.device,
        progress: LoadProgress | None = None,
        packed: str | None = None,
        layers: PackedLayers | None = None,
        on_slots: bool = False,
        int8: bool = False,
    ) -> None:
        assert packed is None or (device.type == "cpu" and dtype == torch.float32), (
            "native stacks need the CPU and float32"
        )
        self.config, self.device, self.dtype, self.packed = checkpoint.config, device, dtype, packed
        self.int8 = int8
        with torch.inference_mode():
            # The VAE first, for the lowest peak of memory: it takes three times its size while it is packed.
            vae = Weights(checkpoint.vae, torch.float32, device, mapped=checkpoint.mapped)
            if device.type == "cpu" and not on_slots:
                self.vae: AudioVAE | NativeAudioVAE = NativeAudioVAE(self.config.vae, vae, layers=layers)
                vae.release()
            else:
                self.vae = AudioVAE(self.config.vae, vae)
            weights = Weights(checkpoint.model, dtype, device, progress, mapped=checkpoint.mapped)
            torch_backend = (INT8_SLOT_BACKEND if int8 else SLOT_BACKEND) if on_slots else TORCH_BACKEND
            backend = torch_backend if packed is None else native_backend(packed, layers)
            self.lm = LanguageModels(self.config, weights, backend)
            self.encoder = LocalEncoder(self.config, weights, backend)
            self.dit = LocalDiT(self.config, weights, backend)
            self.solve = partial(solve, self.dit) if packed is None else NativeFlow(self.dit).solve
            self.table = lru_cache(8)(partial(build_time_table, self.dit, mean_mode=self.config.mean_mode))
            if packed is not None:  # parts computed by torch keep views of the file
                weights.release()

    @property
    def empty_audio(self) -> AudioPrompt:
        """An audio prompt without patches."""
        config = self.config
        latents = torch.zeros(0, config.patch_frames, config.latent_dim, device=self.device)
        return AudioPrompt(latents, torch.zeros(0, config.base.hidden, dtype=self.dtype, device=self.device))

    def embed_audio(self, audio: Tensor) -> Pieces[AudioPrompt]:
        """Encode a recording `[T]` at the VAE's input rate, T a multiple of a patch; a patch in each piece."""
        state = self.vae.initial_encoder_state()
        latents, embeddings = [], []
        for samples in audio.split(self.vae.hop_in_samples * self.config.patch_frames):
            frames, state = self.vae.encode_next(samples, state)  # [D, P]
            latents.append(frames.T)
            embeddings.append(self.encoder(frames.T.unsqueeze(0)))
            yield
        return AudioPrompt(torch.stack(latents), torch.cat(embeddings))

    def prefill(
        self, prompt: Prompt, max_positions: int, steps: int, prefix: PromptPrefix | None = None, shared_length: int = 0
    ) -> Generation:
        """Read a prompt.

        Args:
            max_positions: that prompt and generated patches will need.
            steps: of the flow's time grid.
            prefix, shared_length: the first `shared_length` positions of the prompt, fewer than all, are those of
                `prefix` and are taken from its cache.
        """
        caches = self.lm.new_caches(max_positions)
        if prefix is not None:
            caches = self.prefix_cache(prefix).fork(shared_length, max_positions)
        condition = self._prefill(prompt.after(shared_length), caches)
        return Generation(caches, condition, prompt.previous, self.table(steps))

    def prefix_cache(self, prefix: PromptPrefix) -> Caches:
        """The KV caches of a prefix, filled on first use."""
        if prefix.caches is None:
            prefix.caches = complete(self.read_prefix(prefix.prompt))
        return prefix.caches

    def read_prefix(self, prompt: Prompt) -> Pieces[Caches]:
        """The KV caches of a prefix, read in pieces."""
        caches = self.lm.new_caches(len(prompt))
        for start in range(0, len(prompt), PIECE_POSITIONS):
            self._prefill(prompt.part(start, start + PIECE_POSITIONS), caches)
            yield
        return caches

    def advance(self, units: Sequence[Generation]) -> None:
        """From the latest patch to the condition of the next one, for every unit."""
        embedded = self.encoder(torch.stack([unit.patch for unit in units]))
        conditions = self.lm.step(embedded, [unit.caches for unit in units]).split()
        for unit, condition in zip(units, conditions, strict=True):
            unit.condition = condition

    def should_stop(self, units: Sequence[Generation]) -> Tensor:
        """Whether the patch of each unit's current condition is its last: `[B]`, bool. Known before the diffusion."""
        return self.lm.should_stop(torch.stack([unit.condition.base for unit in units]))

    def make_patches(self, units: Sequence[Generation], noise: Tensor, guidance: Sequence[float]) -> None:
        """Solve the flow from noise `[B, P, D]` to the next patch of every unit.

        Units are batched by their number of steps and by whether they use guidance.
        """
        groups: dict[tuple[int, bool], list[int]] = {}
        for row, unit in enumerate(units):
            groups.setdefault((unit.times.steps, guidance[row] != 1.0), []).append(row)
        for (_, guided), rows in groups.items():
            members = [units[row] for row in rows]
            hidden = LMCondition.stack([unit.condition for unit in members])
            previous = torch.stack([unit.patch for unit in members])
            condition = self.dit.condition(hidden.base, hidden.residual, previous)
            weights = send(torch.tensor([guidance[row] for row in rows]), self.device) if guided else None
            start = noise if len(rows) == len(units) else noise[rows]
            for unit, patch in zip(members, self.solve(start, condition, weights, members[0].times), strict=True):
                unit.patch = patch

    def _prefill(self, prompt: Prompt, caches: Caches) -> LMCondition:
        tokens, audio_positions = (send(part, self.device) for part in (prompt.tokens, prompt.audio_positions))
        return self.lm.prefill(tokens, audio_positions, prompt.audio, caches)
