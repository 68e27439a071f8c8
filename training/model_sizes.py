"""Trainable model sizes, defined by the `config.json` of each."""

from collections.abc import Mapping
from typing import Any

from intone.server.engines.phonemes import HIBARI
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.config import VoxCPMConfig

TEXT_ENDS = ".?!,"
"""Punctuation marks that a text of the corpus may end with."""


def names() -> tuple[str, ...]:
    """Names of the sizes, as accepted by `document`."""
    return ("nano", "tiny")


def document(name: str) -> dict[str, Any]:
    """The `config.json` of a trained model of this size.

    Raises:
        KeyError: unknown name.
    """
    return {"nano": _nano, "tiny": _tiny}[name]()


def config_of(name: str) -> VoxCPMConfig:
    """The parsed configuration of this size.

    Raises:
        KeyError: unknown name.
    """
    return VoxCPMConfig.from_json(document(name))


def patch_samples(config: VoxCPMConfig) -> int:
    """Input samples of the VAE per patch."""
    product = 1
    for rate in config.vae.encoder_rates:
        product *= rate
    return product * config.patch_frames


def _nano() -> dict[str, Any]:
    """The served size with a wider decoder, a smaller latent dimension (for one voice), and a phoneme vocabulary."""
    nano = sizes.document("nano")
    return {
        **nano,
        "lm_config": {**nano["lm_config"], "vocab_size": 288},
        "feat_dim": 64,
        "audio_vae_config": {
            **nano["audio_vae_config"],
            "latent_dim": 64,
            "decoder_dim": 384,
            "decoder_rates": [8, 8, 5, 3],
            "out_sample_rate": 24000,
        },
        "languages": ["en"],
        "clones_voices": False,
        "phonemes": HIBARI,
        "text_ends": TEXT_ENDS,
        "inference_timesteps": 20,
        "temperature": 0.6,
        "trained": True,
    }


def _tiny() -> dict[str, Any]:
    """Same rates and layout as nano, to test every stage in seconds; too small to generate speech."""
    nano = _nano()
    local: Mapping[str, int] = {"hidden_dim": 32, "num_layers": 1, "ffn_dim": 64, "num_heads": 2}
    factors = [1.0] * 8
    rope = {**nano["lm_config"]["rope_scaling"], "long_factor": factors, "short_factor": factors}
    stack = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    return {
        **nano,
        "lm_config": {**nano["lm_config"], **stack, "rope_scaling": rope},
        "feat_dim": 24,
        "residual_lm_num_layers": 1,
        "scalar_quantization_latent_dim": 16,
        "encoder_config": dict(local),
        "dit_config": {**nano["dit_config"], **local},
        "audio_vae_config": {
            **nano["audio_vae_config"],
            "encoder_dim": 4,
            "latent_dim": 24,
            "decoder_dim": 32,
        },
        "max_length": 1024,
    }
