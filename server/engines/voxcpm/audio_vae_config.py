"""Sizes of VoxCPM's audio VAE, read from `config.json`.

Version 1 belongs to VoxCPM 0.5B and 1.5, version 2 to VoxCPM 2: it pads odd strides of the encoder differently, and its
decoder is conditioned on the output rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intone.server.errors import CheckpointError

KERNEL = 7
DILATIONS = (1, 3, 9)

# Field → its name in `config.json`; of the second table, version 1 knows the output rate alone.
JSON_KEYS = {
    "encoder_dim": "encoder_dim",
    "encoder_rates": "encoder_rates",
    "decoder_dim": "decoder_dim",
    "decoder_rates": "decoder_rates",
    "latent_dim": "latent_dim",
    "sample_rate_hz": "sample_rate",
}
JSON_KEYS_V2 = {"out_sample_rate_hz": "out_sample_rate", "sr_bin_boundaries": "sr_bin_boundaries"}


@dataclass(frozen=True)
class AudioVAEConfig:
    """The sizes under `audio_vae_config` of a published `config.json`; defaults are those of version 1.

    Attributes:
        sample_rate_hz: of the input of `encode`.
        out_sample_rate_hz: of the output of `decode`.
        sr_bin_boundaries: boundaries between the classes of output rate; empty for a decoder without conditioning.
    """

    version: int = 1
    encoder_dim: int = 128
    encoder_rates: tuple[int, ...] = (2, 5, 8, 8)
    decoder_dim: int = 1536
    decoder_rates: tuple[int, ...] = (8, 8, 5, 2)
    latent_dim: int = 64
    sample_rate_hz: int = 16000
    out_sample_rate_hz: int = 16000
    sr_bin_boundaries: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, architecture: str, d: Mapping[str, Any] | None) -> "AudioVAEConfig":
        """From `architecture` and `audio_vae_config` of `config.json`; absent keys have the official defaults.

        Raises:
            CheckpointError: a value of the wrong type, or a variant that no released model uses.
        """
        if architecture not in ("voxcpm", "voxcpm2"):
            raise CheckpointError("voxcpm", f"config.json: architecture {architecture!r}, expected voxcpm or voxcpm2")
        given = dict(d or {})
        base = V2 if architecture == "voxcpm2" else cls()
        _refuse_variants(given, base.version)
        values = {name: _checked(key, given, getattr(base, name)) for name, key in JSON_KEYS.items()}
        if base.version == 2:
            values |= {name: _checked(key, given, getattr(base, name)) for name, key in JSON_KEYS_V2.items()}
        else:  # no published checkpoint of version 1 names an output rate: it is then the input's
            values["out_sample_rate_hz"] = _checked("out_sample_rate", given, values["sample_rate_hz"])
        config = cls(version=base.version, **values)
        if config.decoder_channels[-1] == 0:
            message = f"decoder_dim {config.decoder_dim} cannot be halved {len(config.decoder_rates)} times"
            raise CheckpointError("voxcpm", f"config.json: audio_vae_config.{message}")
        return config

    @property
    def encoder_channels(self) -> list[int]:
        """Channels after the first convolution and after each downsampling."""
        return [self.encoder_dim << i for i in range(len(self.encoder_rates) + 1)]

    @property
    def decoder_channels(self) -> list[int]:
        """Channels before the first upsampling and after each."""
        return [self.decoder_dim >> i for i in range(len(self.decoder_rates) + 1)]


V2 = AudioVAEConfig(
    version=2,
    decoder_dim=2048,
    decoder_rates=(8, 6, 5, 2, 2, 2),
    out_sample_rate_hz=48000,
    sr_bin_boundaries=(20000, 30000, 40000),
)
"""The published configuration of VoxCPM 2; the defaults of version 2."""


def _refuse_variants(given: Mapping[str, Any], version: int) -> None:
    """Refuse options of the official package that change the computation and that no released model sets."""
    expected: list[tuple[str, tuple[Any, ...]]] = [("depthwise", (True,)), ("use_noise_block", (False,))]
    if version == 2:
        expected += [("cond_type", ("scale_bias", "scale_bias_init")), ("cond_out_layer", (False,))]
    for key, supported in expected:
        if given.get(key, supported[0]) not in supported:
            wanted = " or ".join(map(repr, supported))
            found = f"config.json: audio_vae_config.{key} is {given[key]!r}"
            raise CheckpointError("voxcpm", f"{found}; only {wanted} is supported, as in every released model")


def _checked(key: str, given: Mapping[str, Any], default: Any) -> Any:
    """`given[key]` or the default: an integer of at least 1, or a tuple of these where the default is a tuple."""
    if key not in given:
        return default
    value = given[key]
    if key == "sr_bin_boundaries" and value is None:
        return ()
    many = isinstance(default, tuple)
    min_value = 2 if key.endswith("_rates") else 1  # upstream pads a stride of 1 differently, and no model uses it
    items = value if many else [value]
    if not isinstance(items, list | tuple) or not items or any(type(n) is not int or n < min_value for n in items):
        kind = "a list of integers" if many else "an integer"
        message = f"audio_vae_config.{key} is {value!r}, expected {kind}, {min_value} or more"
        raise CheckpointError("voxcpm", f"config.json: {message}")
    return tuple(items) if many else value
