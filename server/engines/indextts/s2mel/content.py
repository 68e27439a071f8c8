"""From codes to what the length regulator takes: by the codec's decoder (2.5), or by a table and hidden states (2).

Knows nothing of frames or of where codes come from. Linear layers that follow each other are one layer, the regulator's
first included.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig, Variant
from intone.server.engines.indextts.checkpoint.folding import chained
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.indextts.s2mel.codec import CodecDecoder, FeatureQuantizer, code_table
from intone.server.engines.indextts.s2mel.length_regulator import LengthRegulator
from intone.server.engines.weights import Weights

LATENT_WIDTHS = (256, 128)
"""Between the layers of `gpt_layer`; published code, not configuration."""


def latent_shapes(config: IndexTTSConfig) -> dict[str, tuple[int, ...]]:
    """Published names and shapes of the layers from the GPT's hidden states to features; none in 2.5."""
    if config.variant is Variant.V25:
        return {}
    widths = (config.gpt.dim, *LATENT_WIDTHS, config.feature_dim)
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (into, out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        shapes[f"{index}.weight"], shapes[f"{index}.bias"] = (out, into), (out,)
    return shapes


class ContentSource(Protocol):
    """Either way from codes to what the regulator takes.

    Attributes:
        context_codes: codes on either side that a code's content depends on.
    """

    context_codes: int

    def of_codes(self, codes: Tensor, hidden: Tensor | None) -> Tensor:
        """Codes `[n]` → content `[n · features per code, C]`; `hidden` `[n, GPT's width]` in IndexTTS-2 only."""

    def of_recording(self, features: Tensor) -> Tensor:
        """A recording's normalised w2v-BERT features `[T, H]` → content `[T, C]`."""


def content_source(
    config: IndexTTSConfig, regulator: LengthRegulator, codec: Weights, latent: Weights
) -> ContentSource:
    """The one that the variant uses. `latent` is not read in 2.5."""
    if config.variant is Variant.V25:
        return DecodedContent(CodecDecoder(config.codec, codec), regulator)
    return LatentContent(config, regulator, codec, latent)


class DecodedContent:
    """IndexTTS-2.5: two features to a code, both sides of it heard; a recording's features are taken as they are."""

    def __init__(self, decoder: CodecDecoder, regulator: LengthRegulator) -> None:
        self.context_codes = decoder.context_codes
        self._decoder, self._regulator = decoder, regulator

    def of_codes(self, codes: Tensor, hidden: Tensor | None) -> Tensor:
        """See `ContentSource`."""
        return self._regulator.content_in(self._decoder(codes.unsqueeze(0))[0])

    def of_recording(self, features: Tensor) -> Tensor:
        """See `ContentSource`."""
        return self._regulator.content_in(features)


class LatentContent:
    """IndexTTS-2: one feature to a code, and no neighbours; a recording's features are quantised first."""

    def __init__(self, config: IndexTTSConfig, regulator: LengthRegulator, codec: Weights, latent: Weights) -> None:
        self.context_codes = 0
        self._regulator = regulator
        self._quantizer = FeatureQuantizer(config.codec, codec)
        self._latent = regulator.content_in
        for index in reversed(range(len(LATENT_WIDTHS) + 1)):
            self._latent = chained(Linear.read(latent, str(index)), self._latent)
        self._table = functional.linear(code_table(codec), regulator.content_in.weight)  # [codes, C]

    def of_codes(self, codes: Tensor, hidden: Tensor | None) -> Tensor:
        """See `ContentSource`.

        Raises:
            ValueError: hidden states are missing, or not one for each code.
        """
        if hidden is None or hidden.shape[0] != codes.shape[0]:
            found = "none" if hidden is None else f"{hidden.shape[0]}"
            raise ValueError(f"hidden states: found {found}, expected {codes.shape[0]}, one for each code")
        return self._table[codes] + self._latent(hidden)

    def of_recording(self, features: Tensor) -> Tensor:
        """See `ContentSource`."""
        _, quantised = self._quantizer(features.unsqueeze(0))
        return self._regulator.content_in(quantised[0])


def random_latent(config: IndexTTSConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Untrained layers under the published names."""
    return {
        name: torch.randn(shape, generator=generator) * (0.02 if len(shape) == 1 else shape[1] ** -0.5)
        for name, shape in latent_shapes(config).items()
    }
