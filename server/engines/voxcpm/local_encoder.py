"""LocEnc: a patch of latent frames → one embedding for the language models. No memory from patch to patch."""

import torch
from torch import Tensor

from intone.server.engines.voxcpm.backend import TORCH_BACKEND, Backend
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.transformer import stack_shapes
from intone.server.engines.weights import Shapes, Weights


def encoder_shapes(config: VoxCPMConfig) -> Shapes:
    """Published names and shapes, the projection into the language model included."""
    hidden = config.local_encoder.hidden
    shapes = {f"feat_encoder.encoder.{name}": shape for name, shape in stack_shapes(config.local_encoder).items()}
    return shapes | {
        "feat_encoder.special_token": (1, 1, 1, hidden),
        "feat_encoder.in_proj.weight": (hidden, config.latent_dim),
        "feat_encoder.in_proj.bias": (hidden,),
        "enc_to_lm_proj.weight": (config.base.hidden, hidden),
        "enc_to_lm_proj.bias": (config.base.hidden,),
    }


class LocalEncoder:
    """A learned token before the frames, bidirectional layers over all, of which the token's row is kept."""

    def __init__(self, config: VoxCPMConfig, weights: Weights, kit: Backend = TORCH_BACKEND) -> None:
        inner = weights.scope("feat_encoder")
        self.token = inner["special_token"].flatten()  # [H]
        self.frames_in = kit.named(inner, "in_proj")
        self.stack = kit.stack(config.local_encoder, inner.scope("encoder"), config.patch_frames + 1)
        self.out = kit.named(weights, "enc_to_lm_proj")

    def __call__(self, patches: Tensor) -> Tensor:
        """Latents `[N, P, D]`, float32 → embeddings `[N, H of the language model]`."""
        frames = self.frames_in(patches.to(self.token.dtype))
        token = self.token.expand(frames.shape[0], 1, -1)
        hidden = self.stack.bidirectional(torch.cat((token, frames), dim=1), 0, 1)  # [N, 1, H]
        return self.out(hidden[:, 0])
