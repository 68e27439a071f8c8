"""The configuration of a VoxCPM checkpoint, read from its `config.json`.

Keys that the released models do not use at inference are ignored; keys that would change the computation are read or
refused.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intone.server.engines.config_section import Section
from intone.server.engines.phonemes import SENTENCE_ENDS
from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from intone.server.errors import CheckpointError

ENGINE = "voxcpm"

LANGUAGES = {
    1: ("zh", "en"),
    2: (
        *("zh", "en", "ar", "my", "da", "nl", "fi", "fr", "de", "el", "he", "hi", "id", "it", "ja"),
        *("km", "ko", "lo", "ms", "no", "pl", "pt", "ru", "es", "sw", "sv", "tl", "th", "tr", "vi"),
    ),
}
"""Architecture version → languages of the published models; a checkpoint may have its own list."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Rotary embedding of all stacks of a model. `factors` are LongRoPE's, one for each of head_dim / 2 frequencies."""

    theta: float
    factors: tuple[float, ...]
    max_positions: int
    original_positions: int


@dataclass(frozen=True, slots=True)
class StackConfig:
    """One stack of transformer layers; `rope` is None for a stack without positional encoding."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    rope: RopeConfig | None


@dataclass(frozen=True, slots=True)
class VoxCPMConfig:
    """A model.

    Attributes:
        version: 1 for 0.5B and 1.5 (`architecture` "voxcpm" or absent), 2 for 2 ("voxcpm2").
        patch_frames: latent frames in a patch, which is one position of the language models.
        latent_dim: numbers in a latent frame.
        max_length: maximum of positions of the language models, prompt included.
        mean_mode: whether the diffusion transformer is conditioned on the size of each step.
        languages: that it speaks, as BCP 47 codes.
        trained: False for random weights.
        clones_voices: False for a model trained with a single voice.
        phonemes: name of the phonemizer, see `engines/phonemes.py`; None for a model whose tokens are text.
        text_ends: the marks that texts ended with in training; only for checkpoints with `phonemes`.
        steps: default of the flow's steps; the official package's `inference_timesteps`.
        guidance: default of the flow's guidance scale, 0 to 10; 1 for a flow that was distilled to need none. The
            official package has an argument, `cfg_value`, and no key.
        temperature: factor of the noise that a patch starts from, over 0 and at most 1; the official package's argument
            of that name.
    """

    version: int
    base: StackConfig
    residual: StackConfig
    local_encoder: StackConfig
    local_dit: StackConfig
    vocabulary: int
    patch_frames: int
    latent_dim: int
    fsq_dim: int
    fsq_scale: int
    max_length: int
    mean_mode: bool
    vae: AudioVAEConfig
    languages: tuple[str, ...]
    trained: bool = True
    clones_voices: bool = True
    phonemes: str | None = None
    text_ends: str = SENTENCE_ENDS
    steps: int = 10
    guidance: float = 2.0
    temperature: float = 1.0

    @classmethod
    def load(cls, path: Path) -> "VoxCPMConfig":
        """Read `config.json`.

        Raises:
            CheckpointError: the file cannot be read, or describes an unsupported model.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error
        if not isinstance(document, dict):
            raise CheckpointError(ENGINE, f"{path}: found {type(document).__name__}, expected an object")
        try:
            return cls.from_json(document)
        except CheckpointError as error:
            raise CheckpointError(ENGINE, f"{path}: {str(error).removeprefix(f'{ENGINE}: ')}") from error

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "VoxCPMConfig":
        """Build from the parsed file, with the official package's defaults for absent keys.

        Raises:
            CheckpointError: names the key, what was found and what was expected.
        """
        root = Section(ENGINE, document)
        architecture = root.text("architecture", "voxcpm").lower()
        if architecture not in ("voxcpm", "voxcpm2"):
            raise CheckpointError(ENGINE, f"architecture: found {architecture!r}, expected 'voxcpm' or 'voxcpm2'")
        version = 2 if architecture == "voxcpm2" else 1
        lm, encoder, dit = root.section("lm_config"), root.section("encoder_config"), root.section("dit_config")
        base = _language_stack(lm)
        config = cls(
            version=version,
            base=base,
            residual=_residual_stack(base, root, version),
            local_encoder=_local_stack(base, encoder),
            local_dit=_local_stack(base, dit),
            vocabulary=lm.count("vocab_size"),
            patch_frames=root.count("patch_size", 4 if version == 2 else 2),
            latent_dim=root.count("feat_dim", 64),
            fsq_dim=root.count("scalar_quantization_latent_dim", 512 if version == 2 else 256),
            fsq_scale=root.count("scalar_quantization_scale", 9),
            max_length=root.count("max_length", 8192 if version == 2 else 4096),
            # The key moved between the versions; like the official package, this ignores the key of the other version.
            mean_mode=dit.flag("dit_mean_mode", False) if version == 2 else root.flag("dit_mean_mode", False),
            vae=AudioVAEConfig.from_json(architecture, document.get("audio_vae_config")),
            languages=_languages(root, version),
            trained=root.flag("trained", True),
            clones_voices=root.flag("clones_voices", True),
            phonemes=root.text("phonemes", "") or None,
            text_ends=root.text("text_ends", SENTENCE_ENDS),
            steps=root.count("inference_timesteps", 10),
            guidance=root.number("guidance", 2.0),
            temperature=root.number("temperature", 1.0),
        )
        _check(config)
        return config


def _languages(root: Section, version: int) -> tuple[str, ...]:
    found = root.raw("languages")
    if found is None:
        return LANGUAGES[version]
    if not isinstance(found, list) or not found or not all(map(_is_language, found)):
        raise CheckpointError(ENGINE, f'languages: found {repr(found)[:60]}, expected codes such as ["en"]')
    return tuple(found)


def _is_language(code: object) -> bool:
    return isinstance(code, str) and _LANGUAGE.fullmatch(code) is not None


def _language_stack(lm: Section) -> StackConfig:
    if lm.flag("use_mup", True):  # absent means true in the official package
        raise CheckpointError(
            ENGINE,
            "lm_config.use_mup: found true (or nothing, which means true), expected false: the muP scalings "
            "(scale_emb, scale_depth) are not implemented, and no released model uses them",
        )
    hidden, heads = lm.count("hidden_size"), lm.count("num_attention_heads")
    scaling = lm.section("rope_scaling")
    max_positions = lm.count("max_position_embeddings")
    original_positions = scaling.count("original_max_position_embeddings")
    rope = RopeConfig(
        theta=lm.number("rope_theta"),
        factors=scaling.numbers("long_factor" if max_positions > original_positions else "short_factor"),
        max_positions=max_positions,
        original_positions=original_positions,
    )
    return StackConfig(
        layers=lm.count("num_hidden_layers"),
        hidden=hidden,
        feed_forward=lm.count("intermediate_size"),
        heads=heads,
        kv_heads=lm.count("num_key_value_heads"),
        head_dim=lm.optional_count("kv_channels") or hidden // heads,
        norm_eps=lm.number("rms_norm_eps"),
        rope=None if lm.flag("no_rope", False) else rope,
    )


def _residual_stack(base: StackConfig, root: Section, version: int) -> StackConfig:
    no_rope = version == 2 and root.flag("residual_lm_no_rope", False)
    return StackConfig(
        layers=root.count("residual_lm_num_layers", 8 if version == 2 else 6),
        hidden=base.hidden,
        feed_forward=base.feed_forward,
        heads=base.heads,
        kv_heads=base.kv_heads,
        head_dim=base.head_dim,
        norm_eps=base.norm_eps,
        rope=None if no_rope else base.rope,
    )


def _local_stack(base: StackConfig, section: Section) -> StackConfig:
    hidden, heads = section.count("hidden_dim", 1024), section.count("num_heads", 16)
    return StackConfig(
        layers=section.count("num_layers", 4),
        hidden=hidden,
        feed_forward=section.count("ffn_dim", 4096),
        heads=heads,
        kv_heads=base.kv_heads,
        head_dim=section.optional_count("kv_channels") or hidden // heads,
        norm_eps=base.norm_eps,
        rope=base.rope,
    )


def _check(config: VoxCPMConfig) -> None:
    """Check the constraints between parts."""
    for name in ("base", "residual", "local_encoder", "local_dit"):
        stack: StackConfig = getattr(config, name)
        if stack.heads % stack.kv_heads:
            raise CheckpointError(ENGINE, f"{name}: {stack.heads} heads do not share {stack.kv_heads} key heads evenly")
        if stack.rope and 2 * len(stack.rope.factors) != stack.head_dim:
            raise CheckpointError(
                ENGINE,
                f"lm_config.rope_scaling: found {len(stack.rope.factors)} factors, expected {stack.head_dim // 2}, "
                f"half the head size of {name}",
            )
    if config.base.rope and config.max_length > config.base.rope.max_positions:
        raise CheckpointError(
            ENGINE,
            f"max_length: found {config.max_length}, expected at most max_position_embeddings = "
            f"{config.base.rope.max_positions}",
        )
    if config.latent_dim != config.vae.latent_dim:
        raise CheckpointError(
            ENGINE,
            f"feat_dim: found {config.latent_dim}, expected audio_vae_config.latent_dim = {config.vae.latent_dim}",
        )
    if config.guidance > 10:
        raise CheckpointError(ENGINE, f"guidance: found {config.guidance:g}, expected over 0 and at most 10")
    if config.temperature > 1:
        raise CheckpointError(ENGINE, f"temperature: found {config.temperature:g}, expected over 0 and at most 1")
    if config.local_dit.hidden % 2:
        found = config.local_dit.hidden
        raise CheckpointError(ENGINE, f"dit_config.hidden_dim: found {found}, expected an even number")
