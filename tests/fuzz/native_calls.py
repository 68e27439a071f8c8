"""Calls of the native code with arguments that an input chooses, right and wrong ones.

A call either raises an error of Python or gives the right result: that of the reference, or, of a model, that of the
same computation on another number of threads, in other pieces or alone, which must be equal bit for bit. Anything else
ends the process; `make sanitize` runs these calls where a wild read does so, too.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from intone.server import ops
from intone.server.ops import ensure_built, reference
from tests.fuzz.choices import THREADS, WRONG_NUMBERS, Choices
from tests.fuzz.mel_flow_calls import mel_flow

ERRORS = (RuntimeError, TypeError, ValueError, MemoryError)
"""How wrong arguments may be refused. RuntimeError has the words of the check."""

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}


def native_call(data: bytes) -> None:
    """Make the calls of one entry point that `data` chooses."""
    choices = Choices(data)
    call = ENTRY_POINTS[choices.below(len(ENTRY_POINTS))]
    torch.set_num_threads(choices.threads)
    try:
        call(choices)
    except ERRORS:
        pass
    finally:
        torch.set_num_threads(1)


def native_calls() -> list[bytes]:
    """Right calls of each entry point, on one thread and on several, and random ones."""
    draw = random.Random(1)
    right = [bytes([0, threads, index]) for index in range(len(ENTRY_POINTS)) for threads in range(len(THREADS))]
    return right + [bytes([1, 0, index]) + draw.randbytes(64) for index in range(len(ENTRY_POINTS)) for _ in range(16)]


def _same(got: Tensor, want: Tensor, what: str) -> None:
    """Both are equal bit for bit. What is not finite in one must not be in the other: padding turns infinity to NaN."""
    assert got.shape == want.shape and got.dtype == want.dtype, what
    assert torch.equal(got.nan_to_num(7.0, 7.0, 7.0), want.nan_to_num(7.0, 7.0, 7.0)), what


def _on_any_threads(choices: Choices, compute: Callable[[], Tensor]) -> Tensor:
    """The result of `compute`, which must be the same on one thread."""
    got = compute()
    if choices.threads > 1:
        torch.set_num_threads(1)
        _same(compute(), got, "the number of threads changes the result")
        torch.set_num_threads(choices.threads)
    return got


# ---- operations


def _snakes(choices: Choices) -> None:
    shape = choices.one_of(1, 2), choices.one_of(3, 1, 0, 17), choices.one_of(5, 1, 0, 33, 515)
    dtype = choices.one_of(*TOLERANCE)
    x, alpha = choices.tensor(*shape, dtype=dtype), choices.tensor(shape[1], dtype=dtype)
    if choices.below(2):
        before, after = (choices.number(choices.below(shape[2] // 2 + 1)) for _ in range(2))
        beta = choices.tensor(shape[1], dtype=dtype)
        given = [x, alpha, beta]
        got = _on_any_threads(choices, lambda: ops.snake_beta(x, alpha, beta, before, after))
        want = reference.snake_beta(x.double(), alpha.double(), beta.double(), before, after)
    else:
        given = [x, alpha]
        got = _on_any_threads(choices, lambda: ops.snake(x, alpha))
        want = reference.snake(x.double(), alpha.double())
    if any(tensor.is_meta for tensor in (*given, got)):  # only a shape was computed, in Python
        return
    assert got.shape == want.shape and got.dtype == x.dtype
    bounded = [bool((one.double().abs() < 20).all()) for one in (x, alpha, want)]
    if all(bounded):  # the rounding of the angle counts beyond
        error = (got.double() - want).abs() / (1 + want.abs())
        assert not error.numel() or float(error.max()) <= TOLERANCE[x.dtype], float(error.max())


# ---- layers and stacks


def _isa(choices: Choices) -> str:
    return str(
        choices.one_of("best", "portable", "avx2", "avx512", "avx512_bf16", "sse") if choices.is_wrong() else "best"
    )


def _type(choices: Choices) -> str:
    return "fp4" if choices.is_wrong() else str(choices.one_of("fp32", "int8", "bf16"))


def _linear(choices: Choices) -> None:
    inputs, outputs, rows = choices.one_of(7, 1, 16, 65), choices.one_of(6, 2, 64, 130), choices.one_of(3, 1, 0, 37)
    gated = bool(choices.below(2))
    weight = choices.tensor(outputs, inputs, dtype=choices.one_of(torch.float32, torch.bfloat16))
    bias = None if gated or choices.below(2) else choices.tensor(outputs)
    layer = ensure_built().Linear(weight, bias, type=_type(choices), isa=_isa(choices), gated=gated)
    x = choices.tensor(rows, inputs)
    got = _on_any_threads(choices, lambda: layer(x))
    if got.numel():
        row = choices.below(rows)
        _same(layer(x[row : row + 1]), got[row : row + 1], "other rows change the result")


HEADS, SIZE, FEED = 4, 8, 12
WIDTH, POSITIONS = HEADS * SIZE, 40


def _layer(choices: Choices, heads: int, kv_heads: int) -> Any:
    kind, isa, gated = _type(choices), _isa(choices), bool(choices.below(2))
    layer = ensure_built().DecoderLayer(
        attention_norm=choices.tensor(WIDTH),
        qkv=choices.tensor((heads + 2 * kv_heads) * SIZE, WIDTH),
        out=choices.tensor(WIDTH, heads * SIZE),
        mlp_norm=choices.tensor(WIDTH),
        up=choices.tensor(2 * FEED if gated else FEED, WIDTH),
        down=choices.tensor(WIDTH, FEED),
        attention_norm_bias=None if gated else choices.tensor(WIDTH),
        up_bias=None if gated and not choices.is_wrong() else choices.tensor(FEED),
        gated=gated,
        type=kind,
        isa=isa,
    )
    if choices.below(4) == 3:
        packed = _damaged(choices, layer.packed())
        return ensure_built().DecoderLayer.of_packed(packed, type=_type(choices) if choices.is_wrong() else kind)
    return layer


def _damaged(choices: Choices, packed: Mapping[str, Tensor]) -> dict[str, Any]:
    """Packed tensors, one of which is wrong or missing where `choices` say so."""
    found: dict[str, Any] = dict(packed)
    if choices.is_wrong():
        name = choices.one_of(*sorted(found))
        tensor = found.pop(name)
        if choices.below(4):
            wrong = choices.tensor(*tensor.shape, dtype=tensor.dtype)
            if name.endswith("sizes") and choices.below(2):
                wrong = tensor.clone()
                wrong[choices.below(len(wrong))] = choices.one_of(*WRONG_NUMBERS[:-1])
            found[name] = wrong
    return found


def _stack(choices: Choices, positions: bool = True) -> Any:
    heads, kv_heads = HEADS, choices.one_of(HEADS, 2, 1)
    layers = [_layer(choices, heads, kv_heads) for _ in range(choices.one_of(1, 2))]
    if choices.is_wrong():
        layers = choices.one_of([], [*layers, None], layers * 3)
    table = positions and choices.below(4) != 3
    cos, sin = (choices.tensor(POSITIONS, SIZE) if table else None for _ in range(2))
    return ensure_built().DecoderStack(
        heads=choices.number(heads),
        kv_heads=choices.number(kv_heads),
        head_dim=choices.number(SIZE),
        norm_eps=choices.one_of(1e-5, 0.0),
        layers=layers,
        norms=[(choices.tensor(WIDTH), None)],
        cos=cos,
        sin=sin,
    )


def _causal(choices: Choices) -> None:
    """A sequence in one piece and in two, then with others in a batch."""
    stack = _stack(choices)
    length = choices.one_of(5, 1, 17, POSITIONS - 2)
    x, limit, cut = choices.tensor(length, WIDTH), choices.number(length + 1), choices.number(choices.below(length))
    whole = _on_any_threads(choices, lambda: stack.prefill(x, stack.new_cache(limit)))
    cache = stack.new_cache(choices.number(POSITIONS))
    if 0 < cut < length:
        stack.prefill(x[:cut], cache)
    first = choices.number(0)
    rest = stack.prefill(x[cut if 0 < cut < length else 0 :], cache, first)
    _same(rest, whole[len(whole) - len(rest) :], "pieces change the result")
    fork = cache.fork(choices.number(cache.length), choices.number(POSITIONS))
    caches = [cache, None if choices.is_wrong() else fork]
    if choices.is_wrong():
        caches = choices.one_of([cache, cache], [], [cache], [_stack(choices).new_cache(4), cache])
    rows = choices.tensor(len(caches), WIDTH)
    alone = stack.step(rows[:1], [caches[0].fork(caches[0].length, POSITIONS)]) if caches and caches[0] else None
    together = stack.step(rows, caches)
    if alone is not None:
        _same(together[:1], alone, "a batch changes the result")


def _bidirectional(choices: Choices) -> None:
    stack = _stack(choices)
    batch, length = choices.one_of(2, 1, 0), choices.one_of(4, 1, 11)
    x = choices.tensor(batch, length, WIDTH)
    first, last = choices.number(choices.below(length)), choices.number(length)
    got = _on_any_threads(choices, lambda: stack.bidirectional(x, first, last))
    if batch:
        _same(stack.bidirectional(x[:1], first, last), got[:1], "a batch changes the result")


def _flow(choices: Choices) -> None:
    size, frames, patches = 6, choices.one_of(2, 4), choices.one_of(2, 1, 0)
    flow = ensure_built().LocalFlow(
        stack=None if choices.is_wrong() else _stack(choices),
        in_weight=choices.tensor(WIDTH, size),
        in_bias=choices.tensor(WIDTH),
        out_weight=choices.tensor(size, WIDTH),
        out_bias=choices.tensor(size),
    )
    steps = choices.one_of(2, 1, 0)
    given = [
        choices.tensor(patches, frames, size),
        choices.tensor(patches, choices.one_of(1, 2), WIDTH),
        choices.tensor(patches, frames, WIDTH),
        choices.tensor(steps, WIDTH),
        [0.5] * (choices.one_of(0, steps + 1) if choices.is_wrong() else steps),
        None if choices.below(2) else choices.tensor(patches),
    ]
    got = _on_any_threads(choices, lambda: flow.solve(*given))
    if patches and patches == len(got):
        alone = [part[:1] if index in (0, 1, 2, 5) and part is not None else part for index, part in enumerate(given)]
        _same(flow.solve(*alone), got[:1], "a batch changes the result")


def _mel_flow(choices: Choices) -> None:
    _on_any_threads(choices, mel_flow(choices, type=_type(choices), wavenet_type=_type(choices), isa=_isa(choices)))


# ---- convolutions


def _stage(choices: Choices, channels: int, out: int, is_first: bool) -> Any:
    window, stride, up, dilation, taps, residual = choices.one_of(3, 1, 2), 1, 1, 1, None, False
    match choices.below(4):
        case 1:
            stride = window = 2
        case 2:
            up = 2
        case 3:
            taps, window, dilation = choices.tensor(7, channels), 1, choices.one_of(1, 3)
            residual = channels == out and not is_first
    tail = 6 * dilation if taps is not None else window - stride
    active, scaled = not is_first and choices.below(2), not is_first and choices.below(2)
    return ensure_built().StageWeights(
        alpha=choices.tensor(channels) if active else None,
        scale=choices.tensor(channels) if scaled else None,
        shift=choices.tensor(channels) if scaled else None,
        taps=taps,
        taps_bias=choices.tensor(channels) if taps is not None and choices.below(2) else None,
        taps_alpha=choices.tensor(channels) if taps is not None and choices.below(2) else None,
        weight=choices.tensor(up * out, window * channels),
        bias=choices.tensor(up * out),
        dilation=choices.number(dilation),
        window=choices.number(window),
        stride=choices.number(stride),
        up=choices.number(up),
        tail_rows=choices.number(max(tail, 0)),
        residual=residual,
    )


def _convolutions(choices: Choices) -> None:
    """A chain over one stream in one piece and in two, beside another stream."""
    widths = [choices.one_of(3, 1, 17) for _ in range(choices.one_of(2, 1, 4))] + [choices.one_of(1, 5)]
    stages = [_stage(choices, *pair, not index) for index, pair in enumerate(zip(widths, widths[1:], strict=False))]
    chain = ensure_built().ConvChain(stages=stages, isa=_isa(choices))
    if choices.below(4) == 3:
        chain = ensure_built().ConvChain.of_packed(_damaged(choices, chain.packed()), isa=_isa(choices))
    frame = 2 ** sum(1 for stage in range(len(stages)))  # a multiple of every chain's frame
    rows = frame * choices.one_of(2, 1, 5)
    x = choices.tensor(rows, widths[0])
    shapes = chain.tail_shapes
    tails = [choices.tensor(1, *shape, layout_matters=True) for shape in shapes]
    if choices.is_wrong():
        tails = choices.one_of(tails[1:], [*tails, None], [])
    whole = _on_any_threads(choices, lambda: chain.run([x], [tails])[0].output)
    cut = choices.number(frame)
    if 0 < cut < len(x):
        begin = chain.run([x[:cut], x], [tails, tails])
        end = chain.run([x[cut:]], [begin[0].tails])[0]
        _same(torch.cat((begin[0].output, end.output)), whole, "pieces change the result")
        _same(begin[1].output, whole, "another stream changes the result")
    chain.stage_ms(choices.one_of([], [x, x]) if choices.is_wrong() else [x], [tails])


def _graph_layer(choices: Choices, index: int, channels: int, out: int) -> Any:
    up = choices.one_of(1, 1, 2)
    kernel, dilation = (2, 1) if up == 2 else (choices.one_of(3, 1, 7, 11), choices.one_of(1, 3))
    adds, active = up == 1 and out == channels and choices.below(2), choices.below(2)
    return ensure_built().GraphLayerWeights(
        sources=[choices.number(index)] * choices.one_of(1, 1, 3, 0 if choices.is_wrong() else 2),
        target=choices.number(index + 1),
        residual=choices.number(index) if adds else None,
        weight=choices.tensor(up * out, channels, kernel),
        bias=choices.tensor(up * out) if choices.below(2) else None,
        alpha=choices.tensor(channels) if active else None,
        beta=choices.tensor(channels) if active else None,
        dilation=choices.number(dilation),
        up=choices.number(up),
        gain=0.5,
    )


def _centred_convolutions(choices: Choices) -> None:
    """A graph over one stream alone, and beside another stream; and with a forecast, which must not change it."""
    widths = [choices.one_of(3, 1, 17) for _ in range(choices.one_of(2, 1, 4))] + [choices.one_of(1, 5)]
    layers = [_graph_layer(choices, index, *pair) for index, pair in enumerate(zip(widths, widths[1:], strict=False))]
    graph = ensure_built().ConvGraph(layers=layers, isa=_isa(choices))
    seeded = torch.Generator().manual_seed(choices.below(256))
    x, cut = torch.randn(widths[0], choices.one_of(40, 0, 7, 300), generator=seeded), choices.one_of(7, 0, 30)
    following = torch.randn(widths[0], choices.one_of(0, 3, 50), generator=seeded)

    def decoded(beside: bool, forecast: bool) -> Tensor:
        states, made = [graph.new_state() for _ in range(1 + beside)], []
        for piece, last in ((x[:, :cut], False), (x[:, cut:], True)):
            provisional = forecast and not last
            next_ones = [following if provisional else x[:, :0]] * len(states)
            pieces = [piece, x[:, : 1 + cut]][: len(states)]
            made.append(graph.run(pieces, next_ones, states, last=last, provisional=provisional)[0][0])
        return torch.cat(made, 1)

    alone = _on_any_threads(choices, lambda: decoded(beside=False, forecast=False))
    _same(decoded(beside=True, forecast=False), alone, "another stream changes the result")
    if not choices.is_wrong():
        assert decoded(beside=False, forecast=True).shape == alone.shape
    state = choices.one_of(None, ensure_built().ConvGraphState) if choices.is_wrong() else graph.new_state()
    given = (choices.tensor(widths[0], choices.one_of(5, 0)), choices.tensor(widths[0], choices.one_of(0, 3)))
    graph.run([given[0]], [given[1]], [state], last=bool(choices.below(2)), provisional=bool(choices.below(2)))


# ---- the language model of IndexTTS


CODES = 10


def _gpt(choices: Choices) -> Any:
    return ensure_built().Gpt(
        stack=_stack(choices, positions=False),
        head=ensure_built().Linear(choices.tensor(CODES, WIDTH), choices.tensor(CODES), type=_type(choices)),
        codes=choices.tensor(CODES, WIDTH),
        positions=choices.tensor(6, WIDTH),
        start_code=choices.number(CODES - 2),
        stop_code=choices.number(CODES - 1),
        skipped_positions=choices.number(choices.one_of(0, 1)),
    )


def _generation(choices: Choices) -> None:
    """Units that are generated alone and together."""
    torch.manual_seed(choices.below(256))
    gpt = _gpt(choices)
    settings = ensure_built().SamplingSettings(
        temperature=choices.one_of(-1.0, float("nan"), 1e-45) if choices.is_wrong() else choices.one_of(1.0, 0.0),
        top_k=choices.number(choices.one_of(3, 0)),
        top_p=choices.one_of(0.0, 2.0, float("inf")) if choices.is_wrong() else choices.one_of(0.9, 1.0),
        penalty=choices.one_of(0.0, -1.0, float("nan")) if choices.is_wrong() else choices.one_of(1.0, 10.0),
        min_tokens_to_keep=choices.number(1),
    )
    prefix, seen = choices.tensor(choices.one_of(2, 0, 1), WIDTH), [choices.number(3)]
    max_codes, min_codes = choices.number(choices.one_of(3, 4)), choices.number(choices.one_of(0, 2))
    count = choices.number(2)
    uniforms = choices.tensor(1, count if 0 <= count < 100 else 1, dtype=torch.float64, layout_matters=True)

    def generated() -> Tensor:
        units = [gpt.begin(prefix, max_codes, settings, seen, min_codes) for _ in range(2)]
        alone = gpt.generate(units[:1], count, uniforms)[0]
        both = torch.cat((uniforms, uniforms.flip(0)))
        units[0] = gpt.begin(prefix, max_codes, settings, seen, min_codes)
        together = gpt.generate(units, count, both)
        _same(together[0].codes, alone.codes, "a batch changes the codes")
        _same(together[0].hidden, alone.hidden, "a batch changes the states")
        assert all(0 <= code < CODES for code in alone.codes.tolist())
        return alone.codes

    _on_any_threads(choices, generated)
    unit = gpt.begin(prefix, max_codes, settings, seen, min_codes)
    batch = choices.one_of([unit, unit], [None], []) if choices.is_wrong() else [unit]
    gpt.generate(batch, count, uniforms.expand(len(batch), -1).contiguous())


MODELS = (_causal, _bidirectional, _flow, _convolutions, _generation, _centred_convolutions, _mel_flow)
ENTRY_POINTS = (_snakes, _linear, *MODELS)
