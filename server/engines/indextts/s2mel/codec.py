"""The semantic codec: codes to features at 50 Hz (IndexTTS-2.5), features to quantised features (IndexTTS-2).

IndexTTS-2.5's EnhancedCodec and MaskGCT's RepCodec (arXiv 2409.00750) are the same networks: a Vocos backbone
(ConvNeXt, arXiv 2306.00814) on either side of one factorised codebook (arXiv 2110.04627). Only the half that synthesis
needs is loaded.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import CodecConfig
from intone.server.engines.indextts.checkpoint.folding import weight_normed_conv
from intone.server.engines.indextts.layers import LayerNorm, Linear
from intone.server.engines.weights import Weights

KERNEL = 7
NORM_EPS = 1e-6
BOOK = "quantizer.quantizers.0"


@dataclass(frozen=True, slots=True)
class ConvNeXtBlock:
    """x + Down(GELU(Up(Norm(Conv(x))))), Conv depthwise, the layer scale folded into Down."""

    conv: tuple[Tensor, Tensor]  # [V, 1, K], [V]
    norm: LayerNorm
    up: Linear  # V → F
    down: Linear  # F → V

    def __call__(self, x: Tensor) -> Tensor:
        """`[B, T, V]` → `[B, T, V]`."""
        y = functional.conv1d(x.transpose(1, 2), *self.conv, padding=KERNEL // 2, groups=x.shape[2]).transpose(1, 2)
        return x + self.down(functional.gelu(self.up(self.norm(y))))


class Tower:
    """One half of the codec: a Vocos backbone and the projection back. Convolutions are padded with zeros."""

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        wide, backbone = config.vocos_dim, weights.scope("0")
        self._embed = backbone.affine("embed", (wide, config.hidden, KERNEL))
        self._norm = LayerNorm.read(backbone, "norm", wide, NORM_EPS)
        self._blocks = tuple(_block(config, backbone.scope(f"convnext.{i}")) for i in range(config.vocos_layers))
        self._last_norm = LayerNorm.read(backbone, "final_layer_norm", wide, NORM_EPS)
        self._out = Linear.read(weights, "1", (config.hidden, wide))

    def __call__(self, x: Tensor) -> Tensor:
        """`[B, T, H]` → `[B, T, H]`."""
        y = functional.conv1d(x.transpose(1, 2), *self._embed, padding=KERNEL // 2).transpose(1, 2)
        y = self._norm(y)
        for block in self._blocks:
            y = block(y)
        return self._out(self._last_norm(y))


class CodecDecoder:
    """Codes to twice as many features, for IndexTTS-2.5; immutable.

    Attributes:
        context_codes: codes on either side that a code's two features depend on.
    """

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self.context_codes = KERNEL // 2 * (config.vocos_layers + 1) + 1
        self._table = code_table(config, weights)
        self._tower = Tower(config, weights.scope("decoder"))
        self._up = weights.affine("up", (config.hidden, config.hidden, 3))

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes `[B, n]` → features `[B, 2n, H]`, treating the last code as the end of the speech."""
        wide = self._tower(self._table[codes]).repeat_interleave(2, dim=1)
        return functional.conv1d(wide.transpose(1, 2), *self._up, padding=1).transpose(1, 2)


class FeatureQuantizer:
    """Features of a recording to quantised features, for IndexTTS-2; immutable."""

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self._table = code_table(config, weights)
        self._tower = Tower(config, weights.scope("encoder"))
        self._into = _projection(weights, "in_project", config.codebook_dim, config.hidden)
        self._directions = functional.normalize(_codebook(config, weights), dim=1)  # [K, D]

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[B, T, H]` → codes `[B, T]` and quantised features `[B, T, H]`.

        The code with the highest cosine similarity; the quantised feature is the code's own, not rescaled.
        """
        codes = functional.linear(self._into(self._tower(features)), self._directions).argmax(dim=-1)
        return codes, self._table[codes]


def code_table(config: CodecConfig, weights: Weights) -> Tensor:
    """The feature of every code, `[K, H]`: its codebook row, projected up."""
    return _projection(weights, "out_project", config.hidden, config.codebook_dim)(_codebook(config, weights))


def _codebook(config: CodecConfig, weights: Weights) -> Tensor:
    return weights.tensor(f"{BOOK}.codebook.weight", (config.codebook_size, config.codebook_dim))


def _projection(weights: Weights, name: str, out: int, into: int) -> Linear:
    weight, bias = weight_normed_conv(weights, f"{BOOK}.{name}", (out, into, 1))
    return Linear(weight[:, :, 0], bias)


def _block(config: CodecConfig, weights: Weights) -> ConvNeXtBlock:
    wide, inner = config.vocos_dim, config.vocos_feed_forward
    gamma = weights.tensor("gamma", (wide,))
    down, down_bias = weights.affine("pwconv2", (wide, inner))
    return ConvNeXtBlock(
        conv=weights.affine("dwconv", (wide, 1, KERNEL)),
        norm=LayerNorm.read(weights, "norm", wide, NORM_EPS),
        up=Linear.read(weights, "pwconv1", (inner, wide)),
        down=Linear(gamma.unsqueeze(1) * down, gamma * down_bias),
    )
