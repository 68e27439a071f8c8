"""Configurations of the published sizes and `nano`, and random weights for them (`--random-weights`, tests).

An untrained model generates noise and never stops by itself, because its stop head is zero: the length limit ends it.
"""

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from intone.server.engines.voxcpm import audio_vae
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.text import TextTokenizer
from intone.server.engines.voxcpm.weights import Checkpoint, tensor_shapes

BYTES = 256
RESERVED = {0: "<unk>", 1: "<s>", 2: "</s>"} | dict(
    zip(range(101, 105), ("<|audio_start|>", "<|audio_end|>", "<|ref_start|>", "<|ref_end|>"), strict=True)
)

# Short and long factors of 0.5B and 1.5. Those of 2 are only in its checkpoint; factors of 1 are plain RoPE.
LONGROPE_FACTORS = [
    *(1.00043607, 1.06684434, 1.16314256, 1.30257428, 1.50402057, 1.79415059, 2.21012211, 2.80266666),
    *(3.63899708, 4.80419254, 6.39855433, 8.52714825, 11.27754211, 14.68499851, 18.69317055, 23.13019371),
    *(27.72362518, 32.16065598, 36.16882706, 39.57626868, 42.32667542, 44.45526886, 46.04962921, 47.21482849),
    *(48.05115509, 48.64370346, 49.05967712, 49.34980392, 49.55124664, 49.69068146, 49.78697968, 49.85338593),
]


def size_names() -> tuple[str, ...]:
    """The names of the sizes."""
    return tuple(_DOCUMENTS)


def document(size: str) -> dict[str, Any]:
    """The `config.json` of a size. KeyError for a name not in `size_names`."""
    return {**_DOCUMENTS[size], "trained": False}


def config_of(size: str) -> VoxCPMConfig:
    """The configuration of a size. KeyError as `document`."""
    return VoxCPMConfig.from_json(document(size))


def size_of(config: VoxCPMConfig) -> str | None:
    """The name of a model's size; None for another size."""
    known = {_measures(config_of(name)): name for name in size_names()}
    return known.get(_measures(config))


def model_name(config: VoxCPMConfig, folder: Path, lora: Path | None) -> str:
    """Name of a checkpoint in a folder, for people."""
    size = size_of(config)
    name = f"VoxCPM {size.upper()}" if size else folder.resolve().name
    if not config.trained:
        name = f"{size or name}, random weights"
    return f"{name} with {lora.resolve().name}" if lora else name


def random_tensors(config: VoxCPMConfig, seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Untrained tensors of the model without its VAE, by published name.

    Each depends on seed and name only. Matrices keep the variance of their input; those at the end of a residual branch
    are smaller, so that the sum stays near 1 through any number of layers.
    """
    tensors: dict[str, Tensor] = {}
    for name, shape in tensor_shapes(config).items():
        generator = torch.Generator().manual_seed((seed << 32 | zlib.crc32(name.encode())) & (2**63 - 1))
        if name == "stop_head.weight":
            tensor = torch.zeros(shape)
        elif name.endswith("norm.weight"):
            tensor = torch.ones(shape)
        else:
            tensor = torch.randn(shape, generator=generator) * _scale(name, shape, config)
        tensors[name] = tensor.to(dtype)
    return tensors


def in_memory(size: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """An untrained model of a size, made in memory. KeyError for an unknown size."""
    config = config_of(size)
    vae = audio_vae.random_tensors(config.vae, torch.Generator().manual_seed(seed & (2**63 - 1)))
    return Checkpoint(config, random_tensors(config, seed, dtype), vae, f"random-{size}-{seed}")


def byte_tokenizer() -> TextTokenizer:
    """The tokenizer of untrained models, see `byte_level`."""
    return TextTokenizer(byte_level(), 0)


def byte_level() -> Any:
    """A `tokenizers.Tokenizer` whose tokens are the bytes of UTF-8; the model's special ids are not used."""
    from tokenizers import Tokenizer, models  # slow to import, and only needed for random weights

    free = (number for number in range(BYTES + len(RESERVED)) if number not in RESERVED)
    vocabulary = {token: number for number, token in RESERVED.items()}
    vocabulary |= {f"<0x{byte:02X}>": number for byte, number in zip(range(BYTES), free, strict=True)}
    return Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token=RESERVED[0]))


def _measures(config: VoxCPMConfig) -> tuple[int, ...]:
    stacks = (config.base, config.residual, config.local_encoder, config.local_dit)
    return (config.version, config.patch_frames, *(n for s in stacks for n in (s.layers, s.hidden, s.feed_forward)))


def _scale(name: str, shape: tuple[int, ...], config: VoxCPMConfig) -> float:
    if name.endswith(".bias"):
        return 0.02
    if name.endswith(("embed_tokens.weight", "special_token")):
        return 1.0
    if name.endswith(("o_proj.weight", "down_proj.weight")):
        layers = max(config.base.layers, config.local_dit.layers, config.local_encoder.layers)
        return math.sqrt(1 / (2 * layers * shape[-1]))
    return math.sqrt(1 / shape[-1])


def _lm(hidden: int, layers: int, feed_forward: int, heads: int, **more: Any) -> dict[str, Any]:
    """`lm_config`; the releases contain the muP keys and do not use them."""
    factors = more.pop("factors", LONGROPE_FACTORS)
    return {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "max_position_embeddings": 32768,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": {
            "type": "longrope",
            "long_factor": factors,
            "short_factor": factors,
            "original_max_position_embeddings": 32768,
        },
        "vocab_size": 73448,
        "use_mup": False,
        "scale_emb": 12,
        "dim_model_base": 256,
        "scale_depth": 1.4,
        **more,
    }


def _local(hidden: int, layers: int, feed_forward: int, heads: int, **more: Any) -> dict[str, Any]:
    return {"hidden_dim": hidden, "num_layers": layers, "ffn_dim": feed_forward, "num_heads": heads, **more}


_CFM = {"sigma_min": 1e-6, "solver": "euler", "t_scheduler": "log-norm", "inference_cfg_rate": 2.0}

_DOCUMENTS: Mapping[str, dict[str, Any]] = {
    "nano": {
        "architecture": "voxcpm",
        "lm_config": _lm(256, 4, 768, 4, vocab_size=512),
        "patch_size": 4,
        "feat_dim": 64,
        "residual_lm_num_layers": 2,
        "scalar_quantization_latent_dim": 64,
        "scalar_quantization_scale": 9,
        "encoder_config": _local(256, 2, 768, 4),
        "dit_config": {**_local(256, 3, 768, 4), "cfm_config": _CFM},
        "audio_vae_config": {
            "encoder_dim": 16,
            "encoder_rates": [2, 5, 8, 8],
            "latent_dim": 64,
            "decoder_dim": 256,
            "decoder_rates": [8, 8, 5, 2],
            "sample_rate": 16000,
        },
        "max_length": 4096,
        "dtype": "float32",
    },
    "0.5b": {
        "architecture": "voxcpm",
        "lm_config": _lm(1024, 24, 4096, 16),
        "patch_size": 2,
        "feat_dim": 64,
        "residual_lm_num_layers": 6,
        "scalar_quantization_latent_dim": 256,
        "scalar_quantization_scale": 9,
        "encoder_config": _local(1024, 4, 4096, 16),
        "dit_config": {**_local(1024, 4, 4096, 16), "cfm_config": _CFM},
        "max_length": 4096,
        "dtype": "bfloat16",
    },
    "1.5": {
        "architecture": "voxcpm",
        "lm_config": _lm(1024, 24, 4096, 16),
        "patch_size": 4,
        "feat_dim": 64,
        "residual_lm_num_layers": 8,
        "scalar_quantization_latent_dim": 256,
        "scalar_quantization_scale": 9,
        "encoder_config": _local(1024, 8, 4096, 16),
        "dit_config": {**_local(1024, 8, 4096, 16), "cfm_config": _CFM},
        "audio_vae_config": {
            "encoder_dim": 64,
            "encoder_rates": [2, 3, 6, 7, 7],
            "latent_dim": 64,
            "decoder_dim": 2048,
            "decoder_rates": [7, 7, 6, 3, 2],
            "sample_rate": 44100,
        },
        "max_length": 4096,
        "dtype": "bfloat16",
    },
    "2": {
        "architecture": "voxcpm2",
        "lm_config": _lm(2048, 28, 6144, 16, kv_channels=128, factors=[1.0] * 64),
        "patch_size": 4,
        "feat_dim": 64,
        "residual_lm_num_layers": 8,
        "residual_lm_no_rope": True,
        "scalar_quantization_latent_dim": 512,
        "scalar_quantization_scale": 9,
        "encoder_config": _local(1024, 12, 4096, 16, kv_channels=128),
        "dit_config": {**_local(1024, 12, 4096, 16, kv_channels=128), "cfm_config": _CFM},
        "max_length": 8192,
        "dtype": "bfloat16",
    },
}
