"""The native stacks, linear layers and flow solver of VoxCPM on the CPU, equivalent to `transformer.py` and `flow.py`.

Weights are packed at load as int8, bfloat16 or float32; activations and caches are float32.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intone.server.engines.packed_cache import PackedLayers
from intone.server.engines.voxcpm.backend import Backend
from intone.server.engines.voxcpm.config import StackConfig
from intone.server.engines.voxcpm.flow import TimeTable
from intone.server.engines.voxcpm.local_dit import Condition, LocalDiT
from intone.server.engines.voxcpm.transformer import read_layer, rope_of
from intone.server.engines.weights import Weights
from intone.server.ops import ensure_built

if TYPE_CHECKING:
    from intone.server.ops._C import DecoderCache, DecoderLayer


class NativeStack:
    """As `transformer.Stack`. Batch-invariant, bit for bit.

    Computes on as many threads as torch is set to and releases the GIL: a cache may only be in one call at a time.
    """

    def __init__(
        self,
        config: StackConfig,
        weights: Weights,
        positions: int,
        *,
        packed: str,
        isa: str = "best",
        layers: PackedLayers | None = None,
    ) -> None:
        """As `transformer.Stack`; `weights` are float32.

        Args:
            packed: "int8", "bf16" or "fp32". With int8, inputs of the layers are quantized too, with a scale per row.
            isa: instruction set; only tests set it.
            layers: the source of packed layers; None packs them.

        Raises:
            RuntimeError: this processor lacks the instruction set.
        """
        native = ensure_built()
        layers = layers or PackedLayers()
        rope = rope_of(config, positions, torch.device("cpu"))
        load = partial(native.DecoderLayer.of_packed, type=packed, isa=isa)
        self.config = config
        self.native = native.DecoderStack(
            heads=config.heads,
            kv_heads=config.kv_heads,
            head_dim=config.head_dim,
            norm_eps=config.norm_eps,
            layers=[
                layers.part(f"{weights.prefix}layers.{i}", load, partial(_pack_layer, config, weights, i, packed, isa))
                for i in range(config.layers)
            ],
            norms=[(weights.tensor("norm.weight", (config.hidden,)), None)],
            cos=rope.cos.squeeze(1) if rope else None,
            sin=rope.sin.squeeze(1) if rope else None,
        )

    def new_cache(self, limit: int) -> "DecoderCache":
        """As `Stack.new_cache`."""
        return self.native.new_cache(limit)

    def bidirectional(self, x: Tensor, first: int, last: int) -> Tensor:
        """As `Stack.bidirectional`."""
        return self.native.bidirectional(x, first, last)

    def prefill(self, x: Tensor, cache: "DecoderCache", first: int = 0) -> Tensor:
        """As `Stack.prefill`."""
        return self.native.prefill(x, cache, first)

    def step(self, x: Tensor, caches: Sequence["DecoderCache"]) -> Tensor:
        """As `Stack.step`."""
        return self.native.step(x, list(caches))


class NativeLinear:
    """A linear layer in float32. Batch-invariant, bit for bit."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._linear = ensure_built().Linear(weight, bias, type="fp32")
        self._out = weight.shape[0]

    def __call__(self, x: Tensor) -> Tensor:
        """See `backend.Linear`."""
        return self._linear(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], self._out)


def native_backend(packed: str, layers: PackedLayers | None = None) -> Backend:
    """Native stacks with weights of this type, from `layers`; the linear layers around them stay in float32."""
    return Backend(partial(NativeStack, packed=packed, layers=layers), NativeLinear)


class NativeFlow:
    """The flow solver for a LocalDiT with a native stack; a patch takes one call."""

    def __init__(self, dit: LocalDiT) -> None:
        assert isinstance(dit.stack, NativeStack), "the native solver needs a native stack"
        self._flow = ensure_built().LocalFlow(
            stack=dit.stack.native,
            in_weight=dit.patch_in[0],
            in_bias=dit.patch_in[1],
            out_weight=dit.patch_out[0],
            out_bias=dit.patch_out[1],
        )

    def solve(self, noise: Tensor, condition: Condition, guidance: Tensor | None, table: TimeTable) -> Tensor:
        """As `flow.solve`."""
        return self._flow.solve(
            noise,
            condition.lm,
            condition.previous,
            table.embeddings,
            [float(length) for length in table.lengths],
            guidance,
        )


def _pack_layer(config: StackConfig, weights: Weights, index: int, packed: str, isa: str) -> "DecoderLayer":
    """One layer; the pages it was packed from are given back before the next one is read."""
    stored = weights.scope(f"layers.{index}").keeping_bf16()
    layer = read_layer(config, stored)
    made = ensure_built().DecoderLayer(
        attention_norm=layer.attention_norm.float(),
        qkv=layer.qkv,
        out=layer.out,
        mlp_norm=layer.mlp_norm.float(),
        up=layer.gate_up,
        down=layer.down,
        gated=True,
        type=packed,
        isa=isa,
    )
    stored.release()
    return made
