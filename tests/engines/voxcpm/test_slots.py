"""VoxCPM on slots of fixed buffers, as on a GPU: equal to the ordinary computation; slots; no synchronization."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException

from intone.server.domain import SpeakRequest, SynthesisOptions
from intone.server.engines.pieces import complete
from intone.server.engines.voxcpm import audio_vae, sizes, slot_model
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.flow import TimeTable
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.slot_model import BATCHES, PREFILL_POSITIONS, SlotModel
from intone.server.engines.voxcpm.weights import Checkpoint, tensor_shapes
from intone.server.engines.weights import Shapes
from intone.server.nn.paged_kv import PAGE, PagedKv, Rows, SlotPool
from tests.support.fake_cuda import CUDA, fake_cuda, on_cuda
from tests.support.fake_steps import HiddenCopyError, fake_steps
from tests.support.voxcpm_tiny import (
    finish,
    finish_together,
    joined,
    patch_samples,
    recording,
    tiny_checkpoint,
    tiny_engine,
)

CLOSE = 2e-5
"""Float32, audio in [-1, 1]: sums in another order differ by about 1e-7, which feeds back for many patches."""


def options(**parameters):
    return SynthesisOptions(parameters=parameters)


def slot_engine(version: int, slots: int = 8, pages: int = 40) -> VoxCPMEngine:
    checkpoint = tiny_checkpoint(version)
    model = VoxCPM(checkpoint, torch.float32, torch.device("cpu"), on_slots=True)
    with torch.inference_mode():
        made = SlotModel(model, slots, pages, capture=False)
    return VoxCPMEngine(model, sizes.byte_tokenizer(), "tiny", checkpoint.fingerprint, made)


def requests_of(engine: VoxCPMEngine) -> list[SpeakRequest]:
    voice = complete(engine.prepare_voice(recording(engine, 2.0)))
    return [
        SpeakRequest("A short one.", seed=1),
        SpeakRequest(
            "Another of some more words",
            seed=2,
            options=options(steps=4, max_audio_ms=1500),
        ),
        SpeakRequest("Hm", seed=3, options=options(guidance=1.0)),
        SpeakRequest("你好", seed=4, options=options(guidance=3.0, min_audio_ms=2000), voice=voice),
        SpeakRequest("A short one.", seed=5, options=options(steps=25)),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
def test_slots_give_the_audio_of_the_ordinary_computation(version: int) -> None:
    plain, slots = tiny_engine(version), slot_engine(version)
    requests = requests_of(plain)
    wanted = [finish(plain, plain.start(request)) for request in requests]
    for one, other in zip(wanted, finish_together(slots, requests), strict=True):
        assert len(joined(one)) == len(joined(other)) and one[-1].cut == other[-1].cut
        assert np.abs(joined(one) - joined(other)).max() <= CLOSE


def test_every_step_gives_a_patch_and_its_stages() -> None:
    engine = slot_engine(1)
    steps = finish(engine, engine.start(SpeakRequest("abc", seed=1)))
    assert [len(step.pcm) for step in steps if step.pcm is not None] == [patch_samples(engine)] * len(steps)
    assert [set(step.stage_ms) for step in steps[:2]] == [{"prefill", "diffusion", "vae"}, {"lm", "diffusion", "vae"}]


def test_a_unit_waits_for_a_slot_and_takes_that_of_one_that_has_ended() -> None:
    engine = slot_engine(1, slots=2, pages=8)
    requests = [SpeakRequest("abcdefgh"[: n + 1], seed=n) for n in range(4)]
    alone = [joined(finish(engine, engine.start(request))) for request in requests]
    states = [engine.start(request) for request in requests]
    first = engine.step(states)
    assert [step.pcm is not None for step in first] == [True, True, False, False]
    assert not any(step.done for step in first)
    pieces = [[step.pcm] for step in first]
    while live := [row for row, state in enumerate(states) if state is not None]:
        for row, step in zip(live, engine.step([states[row] for row in live]), strict=True):
            pieces[row].append(step.pcm)
            if step.done:
                states[row] = None
    for wanted, found in zip(alone, pieces, strict=True):
        assert np.abs(wanted - np.concatenate([pcm for pcm in found if pcm is not None])).max() <= CLOSE


def test_a_cancelled_unit_frees_its_slot() -> None:
    engine = slot_engine(1, slots=1, pages=4)
    for seed in range(3):
        state = engine.start(SpeakRequest("abc", seed=seed))
        assert engine.step([state])[0].pcm is not None
        del state


def test_prompts_longer_than_any_captured_one() -> None:
    checkpoint = tiny_checkpoint(1)
    config = replace(checkpoint.config, max_length=900)
    text = "These are words. " * 18
    request = SpeakRequest(text, seed=1, options=options(max_audio_ms=500))
    audio = []
    for on_slots in (False, True):
        model = VoxCPM(replace(checkpoint, config=config), torch.float32, torch.device("cpu"), on_slots=on_slots)
        with torch.inference_mode():
            slots = SlotModel(model, 2, 30, capture=False) if on_slots else None
        engine = VoxCPMEngine(model, sizes.byte_tokenizer(), "tiny", checkpoint.fingerprint, slots)
        audio.append(joined(finish(engine, engine.start(request))))
    assert np.abs(audio[0] - audio[1]).max() <= CLOSE


@pytest.mark.slow
def test_the_engine_on_fixed_buffers() -> None:
    plain, slots = (VoxCPMEngine.random("nano", dtype="fp32", fixed_buffers=fixed) for fixed in (False, True))
    request = SpeakRequest("Hello there", seed=1, options=options(max_audio_ms=480))
    one, other = (joined(finish(engine, engine.start(request))) for engine in (plain, slots))
    assert np.abs(one - other).max() <= CLOSE
    assert slots.info.device == "cpu, 1 threads, fp32"


@pytest.mark.slow
@pytest.mark.parametrize("size", ["nano", "2"])
def test_no_value_is_read_back_and_all_is_on_the_device(size: str) -> None:
    """What a graph would capture, on fake tensors of a GPU."""
    config = sizes.config_of(size)
    shapes, vae_shapes = tensor_shapes(config), audio_vae.tensor_shapes(config.vae)
    with fake_cuda():
        checkpoint = Checkpoint(config, on_cuda(shapes), on_cuda(vae_shapes), "fake")
        model = VoxCPM(checkpoint, torch.bfloat16, CUDA, on_slots=True)
        slots = SlotModel(model, 4, 80, capture=False)
        for size_of_batch in (1, BATCHES[2]):
            batch = slots._batch(size_of_batch)
            slots._prefill(slots._prefill_buffers(size_of_batch, 32))
            slots._advance(batch)
            slots._make(batch, 9)
            slots._decode(batch)
            assert batch.result.device == CUDA


def fake_table(config: VoxCPMConfig) -> TimeTable:
    hidden, count = config.local_dit.hidden, config.steps - 1
    return TimeTable(config.steps, (0.1,) * count, torch.empty(count, hidden, dtype=torch.bfloat16, device=CUDA))


def fake_engine(config: VoxCPMConfig, shapes: Shapes, vae_shapes: Shapes) -> VoxCPMEngine:
    checkpoint = Checkpoint(config, on_cuda(shapes), on_cuda(vae_shapes), "fake")
    model = VoxCPM(checkpoint, torch.bfloat16, CUDA, on_slots=True)
    model.table = lambda steps: fake_table(config)
    return VoxCPMEngine(model, sizes.byte_tokenizer(), "fake", "fake", SlotModel(model, 4, 80, capture=False))


def test_whole_steps_wait_for_the_device_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Admission, prefill and patches, by the code of a GPU; that a wait would be found is tried first."""
    config = sizes.config_of("nano")
    shapes, vae_shapes = tensor_shapes(config), audio_vae.tensor_shapes(config.vae)
    with fake_steps(monkeypatch) as transfers:
        engine = fake_engine(config, shapes, vae_shapes)
        transfers.permitted = False
        with pytest.raises(HiddenCopyError):
            torch.empty(3, device=CUDA).cpu()
        with pytest.raises(DataDependentOutputException):
            bool(torch.empty(1, device=CUDA) > 0)
        states = [engine.start(SpeakRequest("abc", seed=seed)) for seed in range(2)]
        assert [step.pcm is None for step in engine.step(states[:1])] == [False]
        steps = engine.step(states)  # one goes on, one begins
        assert [len(step.pcm) for step in steps if step.pcm is not None] == [patch_samples(engine)] * 2


@pytest.mark.slow
def test_what_most_steps_run_is_captured_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the fake GPU: no copy within what is captured; nothing is captured later for as many units as prepared for."""
    config = sizes.config_of("nano")
    shapes, vae_shapes = tensor_shapes(config), audio_vae.tensor_shapes(config.vae)
    seen: list[float] = []
    monkeypatch.setattr(slot_model, "PREPARED_UNITS", 4)
    with fake_steps(monkeypatch) as transfers:
        checkpoint = Checkpoint(config, on_cuda(shapes), on_cuda(vae_shapes), "fake")
        slots = SlotModel.loaded(partial(VoxCPM, checkpoint, torch.bfloat16, CUDA), True, seen.append)
        engine = VoxCPMEngine(slots.model, sizes.byte_tokenizer(), "fake", "fake", slots)
        captured = slots.programs.captured
        assert captured == 3 * len(PREFILL_POSITIONS) + 3 * 3  # prompts of 1, 2 and 4 units; 3 programs for as many
        assert engine.info.device == f"cuda:0, bf16, {captured} graphs, 3.1 GB"
        assert [capture.urgent for capture in transfers.captures] == [True]
        assert seen == sorted(seen) and seen[-1] == 1.0
        slots.model.table = lambda steps: fake_table(config)
        transfers.permitted = False
        states = [engine.start(SpeakRequest("abc", seed=seed)) for seed in range(4)]
        for live in (states[:1], states):
            engine.step(live)
        assert slots.programs.captured == captured
        more = [engine.start(SpeakRequest("abc", seed=seed)) for seed in range(4)]
        engine.step([*states, *more])
        assert slots.programs.captured == captured + 2  # patches and audio of eight


def test_pages_of_a_former_owner_are_not_written() -> None:
    """A unit that has ended may still be in a batch, at the position after its last one."""
    pool = SlotPool(2, 8, 4 * PAGE, torch.device("cpu"))
    one = pool.lease(4 * PAGE)
    assert one is not None and (pool.tables[one.slot] > 0).all()
    slot = one.slot
    del one
    leases = [pool.lease(PAGE), pool.lease(PAGE)]
    again = next(lease for lease in leases if lease is not None and lease.slot == slot)
    assert (pool.tables[again.slot, 1:] == 0).all()


def test_int8_weights_on_slots() -> None:
    """Close to the weights of the checkpoint, and the same in a batch as alone."""
    checkpoint, request = tiny_checkpoint(1), SpeakRequest("abc", seed=1)
    engines = []
    for int8 in (False, True):
        model = VoxCPM(checkpoint, torch.float32, torch.device("cpu"), on_slots=True, int8=int8)
        with torch.inference_mode():
            slots = SlotModel(model, 8, 40, capture=False)
        engines.append(VoxCPMEngine(model, sizes.byte_tokenizer(), "tiny", checkpoint.fingerprint, slots))
    first = [finish(engine, engine.start(request))[0].pcm for engine in engines]
    assert first[0] is not None and first[1] is not None
    error = np.linalg.norm(first[0] - first[1]) / np.linalg.norm(first[0])
    assert 0 < error < 0.1
    assert "int8" in engines[1].info.device
    alone, together = joined(finish(engines[1], engines[1].start(request))), finish_together(engines[1], [request] * 5)
    assert all(np.abs(alone - joined(steps)).max() <= CLOSE for steps in together)


def test_places_of_rows() -> None:
    pool = SlotPool(3, 9, 200, torch.device("cpu"))
    one, two = pool.lease(130), pool.lease(64)
    assert one is not None and two is not None
    tables = pool.tables[[one.slot, two.slot, 0]]
    pages = [row[row > 0].tolist() for row in tables]
    assert [len(row) for row in pages] == [3, 1, 0] and len({*pages[0], *pages[1]}) == 4
    first = Rows.first(tables, torch.tensor([70, 2, 0]), 96)
    places = first.places.view(3, 96)
    assert places[0, :70].tolist() == [pages[0][j // PAGE] * PAGE + j % PAGE for j in range(70)]
    assert (places[0, 70:] < PAGE).all() and (places[1, 2:] < PAGE).all() and (places[2] < PAGE).all()


def test_leases() -> None:
    pool = SlotPool(2, 3, 200, torch.device("cpu"))
    with pytest.raises(ValueError, match="4 pages; there are 3"):
        pool.lease(4 * PAGE)
    one = pool.lease(3 * PAGE)
    assert one is not None and pool.lease(1) is None
    del one
    kept = [pool.lease(PAGE), pool.lease(PAGE)]
    assert None not in kept and pool.lease(PAGE) is None  # pages are left, but no slot
    assert PagedKv(2, 3, 4, 5, torch.float32, torch.device("cpu")).page_bytes == 2 * 2 * PAGE * 3 * 4 * 4


def test_capturing_is_left_out_on_a_cpu() -> None:
    checkpoint = tiny_checkpoint(1)
    build = partial(VoxCPM, checkpoint, torch.float32, torch.device("cpu"))
    seen: list[float] = []
    slots = SlotModel.loaded(build, capture=True, progress=seen.append)
    assert slots.programs.captured == 0 and seen == sorted(seen)
    with torch.inference_mode():
        slots.prepare(4, 9, seen.append)
    assert seen[-1] == 1.0
