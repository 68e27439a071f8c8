"""The native stacks and flow solver of VoxCPM against those in torch, and the whole model alone and in batches."""

import dataclasses
import math
import threading
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from intone.server.domain import SpeakRequest, SynthesisOptions
from intone.server.engines.pieces import complete
from intone.server.engines.precision import precision_on
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.config import StackConfig, VoxCPMConfig
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.entry import ENTRY
from intone.server.engines.voxcpm.flow import build_time_table, solve
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.native_stack import NativeStack
from intone.server.engines.voxcpm.transformer import Stack
from intone.server.engines.weights import Weights, declared_shapes
from intone.server.ops import ensure_built
from tests.support.voxcpm_tiny import finish, finish_together, joined, recording, tiny_checkpoint

CPU = torch.device("cpu")
ISAS = ("portable", "avx2", "avx512", "avx512_bf16")
TYPES = ("fp32", "bf16", "int8")
FLOAT32 = 1e-5
"""Outputs of a stack are normalized to size 1; a few layers of float32 sums in another order."""

# Relative error and cosine distance of a whole random stack. Rounding to bfloat16 costs 2^-9 of every number, to int8
# half a step of 1/127 of the maximum; random errors mostly cancel out.
ROUNDED = {"bf16": (4e-3, 1e-5), "int8": (3e-2, 4e-4)}


def stack_config(name: str) -> StackConfig:
    """Shapes of published sizes with few layers; in "odd" no size is a multiple of a vector."""
    if name == "odd":
        config = VoxCPMConfig.from_json(sizes.document("nano")).base
        assert config.rope is not None
        rope = dataclasses.replace(config.rope, factors=config.rope.factors[:9])
        return StackConfig(2, 50, 70, 6, 3, 18, 1e-5, rope)
    size, _, part = name.partition(" ")
    config = getattr(VoxCPMConfig.from_json(sizes.document(size)), part or "base")
    return config if size == "nano" else dataclasses.replace(config, layers=1 if size == "2" else 2)


def tensors_of(config: StackConfig) -> Weights:
    generator = torch.Generator().manual_seed(4)
    tensors = {}
    for name, shape in declared_shapes(lambda weights: Stack(config, weights, 1)).items():
        noise = torch.randn(shape, generator=generator)
        ends = name.endswith(("o_proj.weight", "down_proj.weight"))
        tensors[name] = 1 + 0.2 * noise if len(shape) == 1 else noise * (0.5 if ends else 1) / math.sqrt(shape[1])
    return Weights(tensors, torch.float32, CPU)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_close(found: Tensor, expected: Tensor, packed: str) -> None:
    if packed == "fp32":
        assert float((found - expected).abs().max()) <= FLOAT32
        return
    relative, distance = ROUNDED[packed]
    assert float((found - expected).norm() / expected.norm()) <= relative
    assert 1 - float(functional.cosine_similarity(found.flatten(), expected.flatten(), 0)) <= distance


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's threads; restored after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("packed", TYPES)
@pytest.mark.parametrize("name", ["nano", "odd", "1.5", "2 residual", "2 local_dit"])
def test_a_stack_equals_the_one_in_torch(name: str, packed: str) -> None:
    config = stack_config(name)
    python = Stack(config, tensors_of(config), 140)
    native = NativeStack(config, tensors_of(config), 140, packed=packed)
    x = noise(2, 9, config.hidden)
    assert_close(native.bidirectional(x, 5, 9), python.bidirectional(x, 5, 9), packed)
    assert_close(native.bidirectional(x[:1, :5], 0, 1), python.bidirectional(x[:1, :5], 0, 1), packed)
    theirs, ours = python.new_cache(140), native.new_cache(140)
    x = noise(130, config.hidden, seed=2)
    assert_close(native.prefill(x, ours, 100), python.prefill(x, theirs, 100), packed)
    for seed in range(3, 6):
        x = noise(1, config.hidden, seed=seed)
        assert_close(native.step(x, [ours]), python.step(x, [theirs]), packed)
    assert ours.length == theirs.length == 133


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("packed", TYPES)
def test_every_instruction_set(isa: str, packed: str) -> None:
    if ISAS.index(isa) > ISAS.index(ensure_built().best_isa()):
        pytest.skip(f"this processor has no {isa}")
    config = stack_config("odd")
    x = noise(2, 9, config.hidden)
    expected = Stack(config, tensors_of(config), 9).bidirectional(x, 0, 9)
    assert_close(
        NativeStack(config, tensors_of(config), 9, packed=packed, isa=isa).bidirectional(x, 0, 9), expected, packed
    )


@pytest.mark.parametrize("packed", TYPES)
def test_a_stack_is_batch_invariant(packed: str, threads: Callable[[int], None]) -> None:
    config = stack_config("nano")
    native = NativeStack(config, tensors_of(config), 200, packed=packed)
    prompts = [noise(length, config.hidden, seed=length) for length in (1, 30, 97, 64)]
    news = noise(3, 4, config.hidden, seed=9)
    alone = []
    for prompt, rows in zip(prompts, news.unbind(1), strict=True):
        cache = native.new_cache(200)
        read = [native.prefill(prompt, cache)]
        alone.append(torch.cat(read + [native.step(row[None], [cache]) for row in rows]))
    threads(2)
    caches = [native.new_cache(200) for _ in prompts]
    # Positions of a prompt one by one, or as a prefill in two parts: bit-identical.
    for prompt, cache, expected in zip(prompts, caches, alone, strict=True):
        one_by_one = native.new_cache(len(prompt))
        stepped = torch.cat([native.step(row[None], [one_by_one]) for row in prompt])
        assert torch.equal(stepped, expected[: len(prompt)])
        half = len(prompt) // 2
        parts = [native.prefill(part, cache) for part in (prompt[:half], prompt[half:]) if len(part)]
        assert torch.equal(torch.cat(parts), expected[: len(prompt)])
    for step, rows in enumerate(news):
        together = native.step(rows, caches)
        for row, prompt, expected in zip(together, prompts, alone, strict=True):
            assert torch.equal(row, expected[len(prompt) + step])
    x = noise(5, 9, config.hidden)
    whole = native.bidirectional(x, 5, 9)
    threads(1)
    assert all(torch.equal(native.bidirectional(x[i : i + 1], 5, 9)[0], whole[i]) for i in range(5))


def test_a_full_cache_and_wrong_inputs_are_refused() -> None:
    config = stack_config("odd")
    native = NativeStack(config, tensors_of(config), 9, packed="fp32")
    cache = native.new_cache(3)
    native.prefill(noise(2, 50), cache)
    for wrong, message in [
        (lambda: native.prefill(noise(2, 50), cache), "no room for 2"),
        (lambda: native.prefill(noise(2, 49), cache), "input is"),
        (lambda: native.step(noise(2, 50), [cache]), "2 rows for 1 caches"),
        (lambda: native.step(noise(2, 50), [cache, cache]), "in the batch twice"),
        (lambda: native.bidirectional(noise(1, 10, 50), 0, 10), "10 positions"),
        (lambda: native.bidirectional(noise(1, 4, 50), 3, 3), "rows 3 to 3"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            wrong()
    native.step(noise(1, 50), [cache])
    with pytest.raises(RuntimeError, match="all of its 3 positions"):
        native.step(noise(1, 50), [cache])


# ---- the model -----------------------------------------------------------------------------------------------------


def model_of(version: int, packed: str | None) -> VoxCPM:
    return VoxCPM(tiny_checkpoint(version), torch.float32, CPU, packed=packed)


def engine_of(version: int, packed: str | None) -> VoxCPMEngine:
    return VoxCPMEngine(model_of(version, packed), sizes.byte_tokenizer(), "tiny", "tiny")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 4, 10, 50])
def test_the_flow_solver_equals_the_one_in_torch(version: int, guided: bool, steps: int) -> None:
    python, native = model_of(version, None), model_of(version, "fp32")
    table = build_time_table(python.dit, steps, mean_mode=False)
    condition = python.dit.condition(noise(3, 64), noise(3, 64, seed=2), noise(3, 4, 8, seed=3))
    guidance = torch.tensor([2.0, 1.0, 3.5]) if guided else None
    start = noise(3, 4, 8, seed=4)
    expected = solve(python.dit, start, condition, guidance, table)
    found = native.solve(start, condition, guidance, table)
    assert float((found - expected).abs().max()) <= 1e-4 * max(1.0, float(expected.abs().max()))
    assert torch.equal(start, noise(3, 4, 8, seed=4)), "the input is not changed"
    alone = native.solve(
        start[1:2],
        dataclasses.replace(condition, lm=condition.lm[1:2], previous=condition.previous[1:2]),
        None if guidance is None else guidance[1:2],
        table,
    )
    assert torch.equal(alone[0], found[1])


@pytest.mark.parametrize("version", [1, 2])
def test_float32_gives_the_audio_of_torch(version: int) -> None:
    """Only the first patches: later ones may differ where the quantizer rounds differently."""
    request = SpeakRequest("abc", seed=1, options=SynthesisOptions(parameters={"max_audio_ms": 480}))
    python, native = (
        joined(finish(engine, engine.start(request)))
        for engine in (engine_of(version, None), engine_of(version, "fp32"))
    )
    assert np.abs(python - native).max() <= 1e-4


@pytest.mark.parametrize("packed", TYPES)
@pytest.mark.parametrize("version", [1, 2])
def test_the_engine_is_batch_invariant(version: int, packed: str) -> None:
    engine = engine_of(version, packed)
    voice = complete(engine.prepare_voice(recording(engine, 2.0)))
    requests = [
        SpeakRequest("A short one.", seed=1),
        SpeakRequest(
            "Another of some more words",
            seed=2,
            options=SynthesisOptions(parameters={"steps": 4, "max_audio_ms": 1500}),
        ),
        SpeakRequest("Hm", seed=3, options=SynthesisOptions(parameters={"guidance": 1.0})),
        SpeakRequest(
            "你好", seed=4, options=SynthesisOptions(parameters={"guidance": 3.0, "min_audio_ms": 2000}), voice=voice
        ),
    ]
    alone = [joined(finish(engine, engine.start(request))) for request in requests]
    for one, steps in zip(alone, finish_together(engine, requests), strict=True):
        assert one.tobytes() == joined(steps).tobytes()


@pytest.mark.parametrize("packed", TYPES)
def test_two_engines_run_concurrently(packed: str) -> None:
    """The GIL is released, and engines share no state."""
    request = SpeakRequest("abc", seed=5, options=SynthesisOptions(parameters={"max_audio_ms": 480}))
    engines = [engine_of(1, packed) for _ in range(2)]
    expected = joined(finish(engines[0], engines[0].start(request)))
    found: list[bytes] = []

    def speak(engine: VoxCPMEngine) -> None:
        found.extend(joined(finish(engine, engine.start(request))).tobytes() for _ in range(3))

    speakers = [threading.Thread(target=speak, args=(engine,)) for engine in engines]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join()
    assert found == [expected.tobytes()] * 6


@pytest.mark.parametrize(("isa", "expected"), [("avx512", "int8"), ("avx2", "int8"), ("portable", "fp32")])
def test_auto_is_int8_on_a_cpu_with_kernels_for_it(isa: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on = partial(precision_on, cpu_default=ENTRY.cpu_precision)
    monkeypatch.setattr(ensure_built(), "best_isa", lambda: isa)
    assert on(CPU, "auto").name == expected
    assert on(torch.device("cuda"), "auto").dtype == torch.bfloat16
    assert on(torch.device("cuda"), "fp32").name == "fp32"
    assert all(on(CPU, name).packed == name for name in TYPES)
    int8 = on(torch.device("cuda"), "int8")
    assert int8.name == "int8" and int8.packed is None and int8.dtype == torch.bfloat16


def test_the_embedding_is_not_copied() -> None:
    """Only single rows are used, and a copy in float32 would be most of the memory of an int8 model."""
    checkpoint = sizes.in_memory("nano", dtype=torch.bfloat16)
    model = VoxCPM(checkpoint, torch.float32, CPU, packed="int8")
    assert model.lm.embedding.data_ptr() == checkpoint.model["base_lm.embed_tokens.weight"].data_ptr()
    wide = {name: tensor.float() for name, tensor in checkpoint.model.items()}
    other = VoxCPM(dataclasses.replace(checkpoint, model=wide), torch.float32, CPU, packed="int8")
    tokens, nowhere = torch.arange(7), torch.zeros(0, dtype=torch.long)
    one, two = (m.lm.prefill(tokens, nowhere, torch.zeros(0, 256), m.lm.new_caches(9)) for m in (model, other))
    assert torch.equal(one.base, two.base) and torch.equal(one.residual, two.residual)


def test_info_names_the_precision() -> None:
    assert VoxCPMEngine.random("nano", dtype="int8").info.device.endswith("threads, int8")
