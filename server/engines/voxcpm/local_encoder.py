"""LocEnc: embeds a patch of latent frames for the language models. Patches are independent of each other."""

import torch
from torch import Tensor

from intone.server.engines.voxcpm.backend import TORCH_BACKEND, Backend
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.weights import Weights


class LocalEncoder:
    """Bidirectional layers over a learned token and the frames; the output is taken at the token."""

    def __init__(self, config: VoxCPMConfig, weights: Weights, backend: Backend = TORCH_BACKEND) -> None:
        inner, hidden = weights.scope("feat_encoder"), config.local_encoder.hidden
        self.token = inner.tensor("special_token", (1, 1, 1, hidden)).flatten()
        self.frames_in = backend.read(inner, "in_proj", (hidden, config.latent_dim))
        self.stack = backend.stack(config.local_encoder, inner.scope("encoder"), config.patch_frames + 1)
        self.out = backend.read(weights, "enc_to_lm_proj", (config.base.hidden, hidden))

    def __call__(self, patches: Tensor) -> Tensor:
        """Latents `[N, P, D]`, float32 → embeddings `[N, H of the language model]`."""
        frames = self.frames_in(patches.to(self.token.dtype))
        token = self.token.expand(frames.shape[0], 1, -1)
        hidden = self.stack.bidirectional(torch.cat((token, frames), dim=1), 0, 1)  # [N, 1, H]
        return self.out(hidden[:, 0])
