"""The native extension: classes that own packed weights and a loop. CPU; activations are float32.

Shapes: B sequences or streams, T positions or rows, H the width of a stack, D the size of a head or latent. Methods
that compute release the GIL and use as many threads as torch is set to. Wrong arguments raise RuntimeError, which names
the argument, what was found and what was expected. The dispatcher operations are in `__init__.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

WeightType = Literal["int8", "bf16", "fp32"]
"""How weights are packed. With int8, inputs are quantized too, with a scale per row; with bf16, rounded."""

def best_isa() -> str:
    """The best instruction set that this processor has: "avx512_bf16", "avx512", "avx2" or "portable"."""

class Linear:
    """A linear layer with packed weights. Batch-invariant, bit for bit."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, *, type: str, isa: str = "best", gated: bool = False
    ) -> None:
        """`weight` `[N, K]`, float32 or bfloat16; `bias` `[N]`, float32. Both are copied.

        Args:
            type: a `WeightType`.
            isa: "best", "portable", "avx2", "avx512" or "avx512_bf16".
            gated: compute SiLU(x @ gateᵀ) · (x @ upᵀ), where the first N / 2 rows of `weight` are the gate; no bias.
        """

    def __call__(self, x: Tensor) -> Tensor:
        """`[M, K]` float32 → `[M, N]`, or `[M, N / 2]` if gated."""

    @staticmethod
    def of_packed(packed: Mapping[str, Tensor], *, type: str, isa: str = "best", gated: bool = False) -> Linear:
        """From a copy of the tensors of `packed()` of a layer with the same `type`, instruction set and `gated`."""

    def packed(self) -> dict[str, Tensor]:
        """The packed tensors by name. Not copies."""

    @property
    def weight_bytes(self) -> int:
        """Size of the packed weights."""

class DecoderLayer:
    """The packed weights of one layer; Q = heads · D, KV = kv_heads · D, F the feed-forward size."""

    def __init__(
        self,
        *,
        attention_norm: Tensor,
        qkv: Tensor,
        out: Tensor,
        mlp_norm: Tensor,
        up: Tensor,
        down: Tensor,
        attention_norm_bias: Tensor | None = None,
        qkv_bias: Tensor | None = None,
        out_bias: Tensor | None = None,
        mlp_norm_bias: Tensor | None = None,
        up_bias: Tensor | None = None,
        down_bias: Tensor | None = None,
        gated: bool,
        type: str,
        isa: str = "best",
    ) -> None:
        """Norms `[H]` float32, `qkv` `[Q + 2 KV, H]`, `out` `[H, Q]`, `up` `[F, H]`, `down` `[H, F]`; copied.

        Args:
            attention_norm_bias, mlp_norm_bias: of a LayerNorm; a norm without one is an RMS norm.
            gated: SwiGLU, with `up` `[2 F, H]`, the gate first; otherwise GELU in the tanh form.
        """

    @staticmethod
    def of_packed(packed: Mapping[str, Tensor], *, type: str, isa: str = "best") -> DecoderLayer:
        """From a copy of the tensors of `packed()` of a layer with the same `type` and instruction set."""

    def packed(self) -> dict[str, Tensor]:
        """The packed tensors by name. Not copies."""

class DecoderCache:
    """The KV cache of one sequence. In one call at a time."""

    @property
    def length(self) -> int:
        """Positions stored."""

    def fork(self, count: int, limit: int) -> DecoderCache:
        """An independent cache for at most `limit` positions, starting with the first `count` of this one."""

class DecoderStack:
    """A stack of pre-norm transformer layers with grouped-query attention. Batch-invariant, bit for bit."""

    def __init__(
        self,
        *,
        heads: int,
        kv_heads: int,
        head_dim: int,
        norm_eps: float,
        layers: Sequence[DecoderLayer],
        norms: Sequence[tuple[Tensor, Tensor | None]],
        cos: Tensor | None = None,
        sin: Tensor | None = None,
    ) -> None:
        """Weights and biases of the final `norms`, at least one, `[H]`; `cos` and `sin` `[positions, D]`, the first
        half of `sin` negated, None without rotary positions."""

    def new_cache(self, limit: int) -> DecoderCache:
        """An empty cache for at most `limit` positions."""

    def bidirectional(self, x: Tensor, first: int, last: int) -> Tensor:
        """Bidirectional attention: `[B, T, H]` → rows `first` to `last - 1`, `[B, last - first, H]`."""

    def prefill(self, x: Tensor, cache: DecoderCache, first: int = 0) -> Tensor:
        """Append a sequence `[T, H]` to `cache`; rows `first` and on of the result, `[T - first, H]`."""

    def step(self, x: Tensor, caches: Sequence[DecoderCache]) -> Tensor:
        """Append one position to each of B caches, all different: `[B, H]` → `[B, H]`."""

class LocalFlow:
    """The flow solver of VoxCPM with its diffusion transformer; patches of P frames of D numbers."""

    def __init__(
        self, *, stack: DecoderStack, in_weight: Tensor, in_bias: Tensor, out_weight: Tensor, out_bias: Tensor
    ) -> None:
        """`in_weight` `[H, D]`, `in_bias` `[H]`, `out_weight` `[D, H]`, `out_bias` `[D]`, float32."""

    def solve(
        self,
        noise: Tensor,
        condition: Tensor,
        previous: Tensor,
        times: Tensor,
        lengths: Sequence[float],
        guidance: Tensor | None,
    ) -> Tensor:
        """Noise `[B, P, D]` → patches `[B, P, D]` by Euler steps, in float32.

        Args:
            condition: `[B, C, H]`, from the language models.
            previous: `[B, P, H]`, the embedded previous patches.
            times: `[E, H]`, embedding of the time of each evaluation.
            lengths: E step sizes.
            guidance: `[B]`, weight of the condition; None means 1 for all.
        """

class StageWeights:
    """Description of a stage: `matrix(depthwise(snake(x · scale + shift)))`, plus x if `residual`."""

    def __init__(
        self,
        *,
        alpha: Tensor | None,
        scale: Tensor | None,
        shift: Tensor | None,
        taps: Tensor | None,
        taps_bias: Tensor | None,
        taps_alpha: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        dilation: int,
        window: int,
        stride: int,
        up: int,
        tail_rows: int,
        residual: bool,
    ) -> None:
        """All float32.

        Args:
            alpha, scale, shift: `[Cin]` of the activation before the convolution.
            taps, taps_bias, taps_alpha: `[7, Cin]`, `[Cin]`, `[Cin]`: a depthwise convolution and the snake after it.
            weight, bias: `[up · Cout, window · Cin]`, oldest row first, and `[up · Cout]`.
            dilation: of the taps.
            window, stride: rows that a product takes, and rows from one product to the next.
            up: output rows of a product.
            tail_rows: rows of past that are kept.
        """

class ConvResult:
    """What a chain returns for one stream."""

    @property
    def output(self) -> Tensor:
        """`[T · rows_out / rows_in, Cout]`."""

    @property
    def tails(self) -> list[Tensor]:
        """`[1, tail_rows, Cin]` of each stage, for the next chunk; views of one allocation."""

class ConvChain:
    """A chain of causal convolutions. Chunk-invariant and batch-invariant, bit for bit, while values are finite."""

    def __init__(self, *, stages: Sequence[StageWeights], isa: str) -> None:
        """Packs the stages."""

    @staticmethod
    def of_packed(packed: Mapping[str, Tensor], *, isa: str) -> ConvChain:
        """From a copy of the tensors of `packed()` of a chain with the same instruction set."""

    def packed(self) -> dict[str, Tensor]:
        """The packed tensors by name. Not copies."""

    def run(self, inputs: Sequence[Tensor], tails: Sequence[Sequence[Tensor]]) -> list[ConvResult]:
        """Continue every stream: its input `[T, Cin]` and its tails, which are not changed."""

    def stage_ms(self, inputs: Sequence[Tensor], tails: Sequence[Sequence[Tensor]]) -> list[float]:
        """Milliseconds that each stage of `run` takes."""

    @property
    def tail_shapes(self) -> list[tuple[int, int]]:
        """`(tail_rows, Cin)` of each stage."""

class GraphLayerWeights:
    """Description of a layer: target = conv(activation(gain · Σ sources)) + residual. Signal 0 is the input."""

    def __init__(
        self,
        *,
        sources: Sequence[int],
        target: int,
        residual: int | None,
        weight: Tensor,
        bias: Tensor | None,
        alpha: Tensor | None,
        beta: Tensor | None,
        dilation: int,
        up: int,
        gain: float,
    ) -> None:
        """All float32.

        Args:
            weight, bias: `[up · Cout, Cin, K]` and `[up · Cout]`. K is odd and the convolution centred; or K is 2 and
                `up` even: rows q - 1 and q of the sources make `up` rows of the target, from up · q - up / 2 on.
            alpha, beta: `[Cin]`, of the anti-aliased activation, `ops.snake_beta`; not logarithms.
        """

class ConvGraphState:
    """The state of one stream. In one call at a time."""

    @property
    def rows(self) -> int:
        """Rows of input so far."""

    @property
    def ended(self) -> bool:
        """Whether no input follows."""

    @property
    def bytes(self) -> int:
        """Size of the rows that are kept for the next call."""

class ConvGraph:
    """A graph of centred convolutions, streamed: a row is computed when all that it depends on is known.

    Batch-invariant, bit for bit; chunk-invariant up to rounding.
    """

    def __init__(self, *, layers: Sequence[GraphLayerWeights], isa: str = "best") -> None:
        """Packs the layers. Layer i makes signal i + 1 from signals before it; the last one's is the output."""

    def new_state(self) -> ConvGraphState:
        """The state of a stream before its first row."""

    def run(
        self,
        inputs: Sequence[Tensor],
        following: Sequence[Tensor],
        states: Sequence[ConvGraphState],
        *,
        last: bool,
        provisional: bool,
    ) -> list[tuple[Tensor, Tensor]]:
        """Append inputs `[Cin, n]` to the streams: the output that has become final, `[Cout, m]`.

        Args:
            following: `[Cin, r]`, a forecast of the next inputs, for `provisional`.
            last: nothing follows.
            provisional: return also the other rows of output for the inputs so far, as they would be if the stream
                ended with `following`. They do not change the states.
        """

    @property
    def rate(self) -> int:
        """Rows of output for a row of input."""

    @property
    def lag(self) -> int:
        """How many of the last rows of output are not final."""

    @property
    def weight_bytes(self) -> int:
        """Size of the packed weights."""

class SamplingSettings:
    """How codes are drawn."""

    def __init__(
        self, *, temperature: float, top_k: int, top_p: float, penalty: float, min_tokens_to_keep: int
    ) -> None:
        """Temperature 0 is greedy; `top_k` 0 is off; `penalty` is the repetition penalty, 1 is none."""

class GptUnit:
    """The state of one unit. In one call at a time."""

    @property
    def made(self) -> int:
        """Codes generated."""

    @property
    def ended(self) -> bool:
        """Whether no code follows."""

class GptGenerated:
    """What a call generates for one unit."""

    @property
    def codes(self) -> Tensor:
        """`[n]`, int64, without the stop code."""

    @property
    def hidden(self) -> Tensor:
        """`[n, H]`, the hidden state that predicted each code."""

    @property
    def ended(self) -> bool:
        """Whether no code follows: by the stop code, or at `max_codes`."""

class Gpt:
    """The language model of IndexTTS with its sampling loop; V codes, P positions. Batch-invariant, bit for bit."""

    def __init__(
        self,
        *,
        stack: DecoderStack,
        head: Linear,
        codes: Tensor,
        positions: Tensor,
        start_code: int,
        stop_code: int,
        skipped_positions: int,
    ) -> None:
        """Embeddings `codes` `[V, H]` and `positions` `[P, H]`, float32, copied; `head` maps H to V.

        `skipped_positions` lie between start code and first code.
        """

    def begin(
        self,
        prefix: Tensor,
        max_codes: int,
        settings: SamplingSettings,
        seen: Sequence[int],
        min_codes: int = 0,
        before: DecoderCache | None = None,
    ) -> GptUnit:
        """A new unit: prefill of prefix `[S, H]` and the start code.

        Args:
            max_codes: after which the unit ends.
            seen: codes that the repetition penalty applies to from the start.
            min_codes: before which the stop code is excluded.
            before: positions that precede the prefix, of `stack`; not changed.
        """

    def generate(self, units: Sequence[GptUnit], count: int, uniforms: Tensor) -> list[GptGenerated]:
        """Up to `count` more codes of each unit; `uniforms` `[units, count]`, float64 in [0, 1), one per draw."""

class CachedFrames:
    """Keys and values of the first frames of a sequence in every layer of a `MelFlow` at one step, bfloat16."""

    @property
    def frames(self) -> int:
        """How many, a multiple of 16."""

    @property
    def nbytes(self) -> int:
        """Of memory."""

class MelFlow:
    """The flow solver of IndexTTS; T frames, the last N of them solved for, M bands, width D. Weights are packed."""

    def __init__(
        self,
        *,
        heads: int,
        dilations: Sequence[int],
        tensors: Mapping[str, Tensor],
        type: str,
        wavenet_type: str,
        isa: str = "best",
    ) -> None:
        """`tensors` by the names of `csrc/runtimes/mel_flow.h`, float32; copied.

        Args:
            dilations: of the layers of the WaveNet.
            type, wavenet_type: a `WeightType` for the linear layers of the transformer, and of the WaveNet.
            isa: "best", "portable", "avx2" or "avx512".
        """

    def solve(
        self,
        noise: Tensor,
        rows: Tensor,
        guidance: float,
        *,
        norms: Tensor,
        last_norm: Tensor,
        gates: Tensor,
        lengths: Sequence[float],
        cached: Sequence[CachedFrames] = [],
    ) -> Tensor:
        """Noise `[N, M]` → mel frames `[N, M]` by Euler steps. The result does not depend on the number of threads.

        Args:
            rows: `[1, T, D]`, all inputs of a frame but its noisy mel; `[2, T, D]` with the unconditional ones.
            guidance: g of the velocity (1 + g) · conditional - g · unconditional.
            norms: `[E, 2 · layers + 1, 2, D]`, scale and shift of the adaptive norms in each step.
            last_norm: `[E, 2, D]`, of the layer norm behind the WaveNet.
            gates: `[E, layers of the WaveNet, 2D]`, what is added to its convolutions.
            lengths: E step sizes.
            cached: nothing, or frames that come before those of `rows`, the same number for each step of each sequence,
                `[R · E]`. No new frame changes them. Frames of which the WaveNet makes new ones must be in `rows`.
        """

    def cache(self, rows: Tensor, frames: int, *, norms: Tensor) -> CachedFrames:
        """The first `frames`, a multiple of 16, of a sequence of P known frames, which attend to one another.

        Args:
            rows: `[P, D]`, as in `solve`.
            norms: `[2 · layers + 1, 2, D]`, of one step.
        """
