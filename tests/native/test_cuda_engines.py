"""Whole engines whose fused operations are the CUDA kernels, run on the CPU, against the same ones on the references.

A kernel refuses arguments that its reference takes: not contiguous, of another dtype. What an engine passes to a kernel
is seen here, before it fails on a GPU.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from intone.server.domain import SpeakRequest, SynthesisOptions
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.indextts.gpt.sampling import Sampling
from intone.server.engines.indextts.gpt.slot_gpt import SlotGPT
from intone.server.engines.indextts.placement import Placement
from intone.server.engines.indextts.s2mel.streaming import ChunkPlan
from intone.server.engines.indextts.text.front_end import FrontEnd
from intone.server.engines.pieces import complete
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.slot_model import SlotModel
from tests.support.emulated_kernels import instead_of_references
from tests.support.indextts_tiny import weights
from tests.support.indextts_units import checkpoint_of, recording
from tests.support.voxcpm_tiny import tiny_checkpoint

pytestmark = pytest.mark.slow

CLOSE = 1e-4
"""Float32, audio in [-1, 1]: other sums, fed back for a few patches."""

CLOSE_BF16 = 0.1
"""Of the norm of the first patch in bfloat16: a kernel rounds less often than its reference."""

CPU = torch.device("cpu")
TEXTS = ("A short one.", "Hm")


@pytest.fixture
def on_kernels(require: Callable[..., Any]) -> Callable[[], Any]:
    """See `instead_of_references`."""
    require("c++", shutil.which("c++"), "no C++ compiler")
    return instead_of_references


def spoken(engine: Any, requests: list[SpeakRequest]) -> list[np.ndarray]:
    states = [engine.start(request) for request in requests]
    pieces: list[list[np.ndarray]] = [[] for _ in states]
    while any(not state.done for state in states):
        live = [row for row, state in enumerate(states) if not state.done]
        for row, step in zip(live, engine.step([states[row] for row in live]), strict=True):
            if step.pcm is not None:
                pieces[row].append(step.pcm)
    return [np.concatenate(each) for each in pieces]


def voxcpm(version: int, dtype: torch.dtype = torch.float32, int8: bool = False) -> VoxCPMEngine:
    checkpoint = tiny_checkpoint(version)
    model = VoxCPM(checkpoint, dtype, CPU, on_slots=True, int8=int8)
    with torch.inference_mode():
        slots = SlotModel(model, 4, 20, capture=False)
    return VoxCPMEngine(model, sizes.byte_tokenizer(), "tiny", checkpoint.fingerprint, slots)


@pytest.mark.parametrize("version", [1, 2])
def test_voxcpm(version: int, on_kernels: Callable[[], Any]) -> None:
    options = [SynthesisOptions(parameters={"max_audio_ms": 320, "steps": steps}) for steps in (4, 3)]  # two patches
    requests = [SpeakRequest(text, seed=n, options=options[n]) for n, text in enumerate(TEXTS)]
    wanted = spoken(voxcpm(version), requests)
    with on_kernels() as calls:
        found = spoken(voxcpm(version), requests)
    for one, other in zip(wanted, found, strict=True):
        assert len(one) == len(other) and np.abs(one - other).max() <= CLOSE
    streaming = {"causal_taps", "causal_windows", "causal_to_one"}
    stacks = {"add_rms_norm", "silu_mul", "rope_append", "local_attention", "append_attention", "guided_step"}
    assert all(calls[name] for name in streaming | stacks), calls


@pytest.mark.parametrize("int8", [False, True])
def test_voxcpm_in_the_precisions_of_a_gpu(int8: bool, on_kernels: Callable[[], Any]) -> None:
    options = SynthesisOptions(parameters={"max_audio_ms": 320, "steps": 3})
    requests = [SpeakRequest("Hm", seed=1, options=options)]
    wanted = spoken(voxcpm(1, torch.bfloat16), requests)[0]
    with on_kernels() as calls:
        found = spoken(voxcpm(1, torch.bfloat16, int8), requests)[0]
    count = len(wanted) // 2
    error = np.linalg.norm(found[:count] - wanted[:count]) / np.linalg.norm(wanted[:count])
    assert error <= CLOSE_BF16 and bool(calls["int8_linear"]) is int8, (error, calls)


def test_the_language_model_of_indextts_in_float16(on_kernels: Callable[[], Any]) -> None:
    checkpoint = checkpoint_of("nano")
    read = weights(checkpoint.gpt)
    prefix = torch.randn(40, checkpoint.config.gpt.dim, generator=torch.Generator().manual_seed(3))

    def codes(int8: bool = False) -> Any:
        with torch.inference_mode():
            gpt = SlotGPT(checkpoint.config, read, torch.float16, 2, 60, capture=False, int8=int8)
            unit = gpt.begin(prefix, 20, Sampling(), seed=1)
            return gpt.generate([unit], 1)[0]

    wanted = codes()
    for int8 in (False, True):
        with on_kernels() as calls:
            found = codes(int8)
        error = float((found.hidden[0] - wanted.hidden[0]).norm() / wanted.hidden[0].norm())
        assert error <= 0.02, error
        assert all(calls[name] for name in ("add_norm", "append_attention", "draw_codes")), calls
        assert bool(calls["int8_linear"]) is int8


def indextts() -> IndexTTSEngine:
    checkpoint = checkpoint_of("nano")
    checkpoint = replace(checkpoint, config=replace(checkpoint.config, trained=False))
    on = Placement.of("fp32", fixed_buffers=True)
    return IndexTTSEngine(checkpoint, FrontEnd.of_bytes(checkpoint.config), "random", ChunkPlan(), None, on=on)


def test_indextts(on_kernels: Callable[[], Any]) -> None:
    engine = indextts()
    voice = complete(engine.prepare_voice(recording(1.0)))
    options = SynthesisOptions(parameters={"min_audio_ms": 300, "max_audio_ms": 300, "steps": 1})
    requests = [SpeakRequest(TEXTS[0], seed=1, options=options, voice=voice)]
    wanted = spoken(engine, requests)[0]
    with on_kernels() as calls:
        found = spoken(indextts(), requests)[0]
    assert len(wanted) == len(found) and np.abs(wanted - found).max() <= CLOSE
    assert all(calls[name] for name in ("add_norm", "silu_mul", "rope", "append_attention", "draw_codes")), calls
