"""Codes to the input of the length regulator: by the codec's decoder (2.5), or by a table and hidden states (2).

Consecutive linear layers are merged into one, the regulator's first included.
"""

from typing import Protocol

from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig, Variant
from intone.server.engines.indextts.checkpoint.folding import chained
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.indextts.s2mel.codec import CodecDecoder, FeatureQuantizer, code_table
from intone.server.engines.indextts.s2mel.length_regulator import LengthRegulator
from intone.server.engines.weights import Weights

LATENT_WIDTHS = (256, 128)
"""Widths between the layers of `gpt_layer`, which the published configuration does not contain."""


class ContentSource(Protocol):
    """Codes or features to content, the input of the length regulator.

    Attributes:
        context_codes: codes on either side that a code's content depends on.
    """

    context_codes: int

    def of_codes(self, codes: Tensor, hidden: Tensor | None) -> Tensor:
        """Codes `[n]` → content `[n · features per code, C]`; `hidden` `[n, GPT width]` in IndexTTS-2 only."""

    def of_recording(self, features: Tensor) -> Tensor:
        """A recording's normalised w2v-BERT features `[T, H]` → content `[T, C]`."""


def content_source(
    config: IndexTTSConfig, regulator: LengthRegulator, codec: Weights, latent: Weights
) -> ContentSource:
    """The content source of the variant; `latent` is not read in 2.5."""
    if config.variant is Variant.V25:
        return DecodedContent(CodecDecoder(config.codec, codec), regulator)
    return LatentContent(config, regulator, codec, latent)


class DecodedContent:
    """IndexTTS-2.5: two features per code, from the codec's decoder; a recording's features are used unchanged."""

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
    """IndexTTS-2: one feature per code, from code and hidden state; a recording's features are quantised."""

    def __init__(self, config: IndexTTSConfig, regulator: LengthRegulator, codec: Weights, latent: Weights) -> None:
        self.context_codes = 0
        self._regulator = regulator
        self._quantizer = FeatureQuantizer(config.codec, codec)
        self._latent = regulator.content_in
        widths = (config.gpt.dim, *LATENT_WIDTHS, config.feature_dim)
        for index in reversed(range(len(widths) - 1)):
            shape = (widths[index + 1], widths[index])
            self._latent = chained(Linear.read(latent, str(index), shape), self._latent)
        table = code_table(config.codec, codec)
        self._table = functional.linear(table, regulator.content_in.weight)  # [codes, C]

    def of_codes(self, codes: Tensor, hidden: Tensor | None) -> Tensor:
        """See `ContentSource`.

        Raises:
            ValueError: hidden states are missing, or there is not one per code.
        """
        if hidden is None or hidden.shape[0] != codes.shape[0]:
            found = "none" if hidden is None else f"{hidden.shape[0]}"
            raise ValueError(f"hidden states: found {found}, expected {codes.shape[0]}, one for each code")
        return self._table[codes] + self._latent(hidden)

    def of_recording(self, features: Tensor) -> Tensor:
        """See `ContentSource`."""
        _, quantised = self._quantizer(features.unsqueeze(0))
        return self._regulator.content_in(quantised[0])
