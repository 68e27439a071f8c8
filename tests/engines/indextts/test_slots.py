"""IndexTTS on slots of fixed buffers, as on a GPU: equal to the ordinary computation; waiting for room; devices."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intone.server.domain import EMOTIONS, Emotion, PreparedVoice, SpeakRequest, SynthesisOptions
from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.checkpoint.config_files import config_of
from intone.server.engines.indextts.checkpoint.weights import Checkpoint, part_shapes
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.indextts.gpt.native_gpt import NativeGPT
from intone.server.engines.indextts.gpt.sampling import Sampling
from intone.server.engines.indextts.gpt.slot_gpt import CODES_PER_LAUNCH, PREFILL_POSITIONS, SlotGPT, max_positions
from intone.server.engines.indextts.placement import Placement
from intone.server.engines.indextts.s2mel.acoustic import FLOW, AcousticModel, AcousticPrompt
from intone.server.engines.indextts.s2mel.cfm import TimeTable, solve, time_table
from intone.server.engines.indextts.s2mel.dit import DiT
from intone.server.engines.indextts.s2mel.flow_programs import FlowPrograms, _Schedule
from intone.server.engines.indextts.s2mel.streaming import ChunkPlan
from intone.server.engines.indextts.text.front_end import FrontEnd
from intone.server.engines.indextts.vocoder import bigvgan
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from intone.server.engines.indextts.vocoder.vocoder_programs import VocoderPrograms
from intone.server.engines.indextts.voice.conditioning import FeatureStatistics
from intone.server.engines.indextts.voice.emotion import EmotionMatrix
from intone.server.engines.indextts.voice.prepared_voice import Speaker
from intone.server.engines.pieces import complete
from intone.server.engines.weights import Shape, Weights
from intone.server.nn.graphs import WARM_UPS, Program
from intone.server.nn.lookahead import AntiAliasedSnake
from intone.server.nn.paged_kv import PAGE
from tests.support.fake_cuda import CUDA, fake_cuda, on_cuda
from tests.support.fake_steps import fake_steps
from tests.support.indextts_tiny import weights
from tests.support.indextts_units import CLOSE, Subject, checkpoint_of, finish, recording

CPU = torch.device("cpu")
ANGRY = Emotion(tuple(float(name == "angry") for name in EMOTIONS), 1.0)


def slot_subject(size: str) -> Subject:
    checkpoint = checkpoint_of(size)
    checkpoint = replace(checkpoint, config=replace(checkpoint.config, trained=False))
    on = Placement.of("fp32", fixed_buffers=True)
    engine = IndexTTSEngine(checkpoint, FrontEnd.of_bytes(checkpoint.config), "random", ChunkPlan(), None, on=on)
    return Subject(size, engine, complete(engine.prepare_voice(recording())))


def joined(steps: list) -> np.ndarray:
    return np.concatenate([step.pcm for step in steps if step.pcm is not None])


@pytest.mark.slow
def test_slots_give_codes_and_audio_of_the_ordinary_computation(subject: Subject) -> None:
    slots = slot_subject(subject.size)
    for name, change in {
        "plain": {},
        "angry": {"emotion": ANGRY},
        "whole": {"whole": True},
        "unguided": {"options": SynthesisOptions(parameters={"steps": 2, "guidance": 1.0})},
        "slow": {"options": SynthesisOptions(speed=0.8, parameters={"steps": 5})},
    }.items():
        request = subject.request(seed=len(name), **change)
        one, other = subject.engine.start(request), slots.engine.start(request)
        wanted, found = finish(subject.engine, one), finish(slots.engine, other)
        assert one.all_codes == other.all_codes, name
        assert [step.pcm is None for step in wanted] == [step.pcm is None for step in found], name
        assert np.abs(joined(wanted) - joined(found)).max() <= CLOSE, name


@pytest.mark.slow
def test_units_together_give_what_each_gives_alone(newer: Subject) -> None:
    slots = slot_subject("nano")
    texts = ("Short.", "A longer text, with more words.", "Hm.")
    requests = [newer.request(text, seed=seed) for seed, text in enumerate(texts)]
    alone = [finish(slots.engine, slots.engine.start(request)) for request in requests]
    states = [slots.engine.start(request) for request in requests]
    together: list[list] = [[] for _ in states]
    while live := [row for row, state in enumerate(states) if not state.done]:
        for row, step in zip(live, slots.engine.step([states[row] for row in live]), strict=True):
            together[row].append(step)
    for one, other in zip(alone, together, strict=True):
        assert np.abs(joined(one) - joined(other)).max() <= CLOSE


def gpt_pair(slots: int = 3, pages: int = 60) -> tuple[NativeGPT, SlotGPT]:
    checkpoint = checkpoint_of("nano")
    read = weights(checkpoint.gpt)
    with torch.inference_mode():
        return NativeGPT(checkpoint.config, read), SlotGPT(
            checkpoint.config, read, torch.float32, slots, pages, capture=False
        )


def test_codes_and_hidden_states_of_the_native_language_model() -> None:
    """Also long prefixes, which are not captured; units that end at different codes; least numbers of codes."""
    native, slots = gpt_pair()
    generator = torch.Generator().manual_seed(3)
    with torch.inference_mode():
        prefixes = [torch.randn(count, native.config.dim, generator=generator) for count in (40, 300, 65)]
        limits = [(21, 0), (9, 9), (30, 0)]
        units = [
            [model.begin(prefix, most, Sampling(), seed, least) for seed, (prefix, (most, least)) in pairs]
            for model in (native, slots)
            for pairs in [list(enumerate(zip(prefixes, limits, strict=True)))]
        ]
        while any(not unit.ended for unit in units[0]):
            live = [row for row, unit in enumerate(units[0]) if not unit.ended]
            made = [
                model.generate([own[row] for row in live], 7) for model, own in zip((native, slots), units, strict=True)
            ]
            for one, other in zip(*made, strict=True):
                assert one.codes.tolist() == other.codes.tolist()
                if len(one.hidden):
                    assert float((one.hidden - other.hidden).abs().max()) <= 1e-4
            assert [unit.ended for unit in units[0]] == [unit.ended for unit in units[1]]
            assert [unit.code_count for unit in units[0]] == [unit.code_count for unit in units[1]]


def test_capturing_a_program_keeps_the_codes_drawn_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """To capture a program it is run; here so while units are spoken, as for more units than were prepared for."""
    _, slots = gpt_pair()
    _, capturing = gpt_pair()

    def run_before(body: Program) -> Program:
        for _ in range(WARM_UPS):
            body()
        return body

    monkeypatch.setattr(capturing.programs, "ready", run_before)
    with torch.inference_mode():
        prefix = torch.randn(40, slots.config.dim, generator=torch.Generator().manual_seed(3))
        units = [[model.begin(prefix, 30, Sampling(), seed) for seed in (1, 2)] for model in (slots, capturing)]
        for count in (7, 3, 8):
            pairs = zip(slots.generate(units[0], count), capturing.generate(units[1], count), strict=True)
            for wanted, found in pairs:
                assert wanted.codes.tolist() == found.codes.tolist()
                assert torch.equal(wanted.hidden, found.hidden)


def test_the_stop_code_ends_a_unit() -> None:
    checkpoint = checkpoint_of("nano")
    tensors = dict(checkpoint.gpt)
    tensors["mel_head.bias"] = tensors["mel_head.bias"].clone()
    tensors["mel_head.bias"][checkpoint.config.gpt.stop_code] = 6.0
    with torch.inference_mode():
        native = NativeGPT(checkpoint.config, weights(tensors))
        slots = SlotGPT(checkpoint.config, weights(tensors), torch.float32, 2, 40, capture=False)
        ends = []
        for model in (native, slots):
            unit = model.begin(torch.zeros(5, model.config.dim), 60, Sampling(), 4, 3)
            while not unit.ended:
                model.generate([unit], 8)
            ends.append(unit.code_count)
    assert ends[0] == ends[1] and 3 <= ends[0] < 60


def test_a_unit_waits_for_room() -> None:
    _, slots = gpt_pair(slots=1, pages=40)
    with torch.inference_mode():
        first = slots.begin(torch.zeros(5, slots.config.dim), 20, Sampling(), 1)
        assert slots.begin(torch.zeros(5, slots.config.dim), 20, Sampling(), 2) is None
        del first
        assert slots.begin(torch.zeros(5, slots.config.dim), 20, Sampling(), 2) is not None
        with pytest.raises(ValueError, match="expected top_k of 1 to 30"):
            slots.begin(torch.zeros(5, slots.config.dim), 20, Sampling(top_k=0), 2)


@pytest.mark.slow
def test_an_engine_without_room_steps_the_others() -> None:
    subject = slot_subject("nano")
    subject.engine._gpt = gpt_pair(slots=1, pages=40)[1]
    requests = [subject.request("Words.", seed=seed) for seed in range(3)]
    states = [subject.engine.start(request) for request in requests]
    lengths = [0, 0, 0]
    for _ in range(200):
        live = [row for row, state in enumerate(states) if state is not None]
        if not live:
            break
        for row, step in zip(live, subject.engine.step([states[row] for row in live]), strict=True):
            lengths[row] += 0 if step.pcm is None else len(step.pcm)
            states[row] = None if step.done else states[row]
    assert not live and all(lengths)


@pytest.mark.slow
def test_a_solve_at_the_end_of_larger_buffers() -> None:
    checkpoint = checkpoint_of("nano")
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        dit = DiT(checkpoint.config.dit, checkpoint.config.wavenet, weights(checkpoint.s2mel).scope(FLOW))
        programs = FlowPrograms(dit, CPU, capture=False)
        tables = [time_table(dit.inputs, steps, CPU) for steps in (3, 7)]
        for known, new, guidance in ((20, 1, 0.7), (16, 64, 0.7), (500, 190, 0.0), (77, 65, 1.5)):
            condition = dit.inputs.condition(
                torch.randn(1, known, 80, generator=generator),
                torch.randn(1, known + new, dit.hidden, generator=generator),
                torch.randn(1, 64, generator=generator),
                guided=guidance > 0,
            )
            noise = torch.randn(1, new, 80, generator=generator)
            for table in tables:
                assert programs.fits(known, new)
                wanted = solve(dit, noise, condition, guidance, table)
                assert float((programs.solve(noise, condition, guidance, table) - wanted).abs().max()) <= 2e-5
        assert (
            not programs.fits(dit.context_frames - 1, 64)
            and not programs.fits(900, 190)
            and not programs.fits(400, 257)
        )


def test_chunks_of_the_vocoder_by_programs() -> None:
    """Those of a plan by programs, the others as they come; the same samples."""
    checkpoint = checkpoint_of("nano")
    generator = torch.Generator().manual_seed(2)
    with torch.inference_mode():
        vocoder = BigVGAN(checkpoint.config.vocoder, weights(checkpoint.vocoder))
        programs = VocoderPrograms(vocoder, CPU, capture=False)
        programs.prepare([(12, 4), (20, 4), (20, 4)])
        ran = len(programs._ready)
        one, other = vocoder.initial_state(), programs.initial_state()
        for count, later in ((12, 4), (20, 4), (20, 4), (20, 4), (7, 4), (5, None)):
            mel = torch.randn(vocoder.config.mel_bands, count, generator=generator)
            following = torch.randn(vocoder.config.mel_bands, later or 0, generator=generator)
            *wanted, one = vocoder.extend(mel, following, one, later is None)
            *found, other = programs.extend(mel, following, other, later is None)
            assert all(torch.equal(*pair) for pair in zip(wanted, found, strict=True))
        assert one.frames == other.frames and len(programs._ready) == ran >= 2


def test_the_solves_of_a_plan() -> None:
    plan = ChunkPlan()
    solves = plan.solves(2)
    assert solves[0] == (430, 48) and solves[1][0] == solves[2][0] == 215 and solves[-1] == (215, 190)


def fake_config(size: str) -> IndexTTSConfig:
    return config_of(*sizes.documents(size))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["nano", "nano-2"])
def test_no_value_is_read_back_and_all_is_on_the_device(size: str) -> None:
    """What graphs would capture, and what else a step computes, on fake tensors of a GPU."""
    config = fake_config(size)
    shapes = part_shapes(config)
    with fake_cuda():
        gpt = SlotGPT(config, Weights(on_cuda(shapes["gpt"]), device=CUDA), torch.float16, 2, 80, capture=False)
        for batch in (gpt._batch(1), gpt._batch(2)):
            gpt._step(batch, 2)
            assert batch.hidden.device == batch.codes.device == CUDA
        gpt._prefill(gpt._prefill_program(64)[0])
        s2mel, codec = (Weights(on_cuda(shapes[part]), device=CUDA) for part in ("s2mel", "codec"))
        acoustic = AcousticModel(config, s2mel, codec, packed=None)
        flow = acoustic.use_programs(capture=False)
        modulation = acoustic._inputs.modulations(torch.empty(2, device=CUDA))
        flow._schedule = _Schedule.build(TimeTable((0.5, 0.5), tuple(modulation)), CUDA)
        buffers, _ = flow._program(192, 64, guided=True)
        flow._step(buffers)
        content = torch.empty(20, config.regulator.channels, device=CUDA)
        condition, _ = acoustic.regulator.condition(content, acoustic.regulator.empty_moments(), 0, 10)
        assert condition.device == buffers.x.device == CUDA


def fake_speaker(config: IndexTTSConfig) -> Speaker:
    width, frames = config.gpt.dim, 160

    def made(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=CUDA)

    blocks = config.regulator.blocks
    prompt = AcousticPrompt(
        made(frames, 80), made(frames, config.regulator.channels), made(64), made(blocks, 2, dtype=torch.float64)
    )
    return Speaker(made(1, width), made(width), made(8, width), prompt)


@pytest.fixture
def shapes() -> dict[str, dict[str, Shape]]:
    """They are computed with tensors on the meta device, which `fake_steps` does not take."""
    return part_shapes(fake_config("nano"))


def fake_engine(monkeypatch: pytest.MonkeyPatch, shapes: dict[str, dict[str, Shape]], graphs: bool) -> IndexTTSEngine:
    """Inside `fake_steps`."""
    config = fake_config("nano")
    monkeypatch.setattr(bigvgan, "_activation", fake_activation)
    parts = {name: on_cuda(shapes[name]) for name in shapes}
    statistics = FeatureStatistics(*(torch.empty(config.feature_dim, device=CUDA) for _ in range(2)))
    rows = sum(config.emotion_rows)
    matrix = EmotionMatrix(
        torch.empty(rows, config.campplus.embedding, device=CUDA),
        torch.empty(rows, config.gpt.dim, device=CUDA),
        config.emotion_rows,
    )
    checkpoint = Checkpoint(config, **parts, statistics=statistics, matrix=matrix, fingerprint="fake", files=())
    on = Placement.of("auto", "cuda:0", graphs=graphs)
    engine = IndexTTSEngine(checkpoint, FrontEnd.of_bytes(config), "fake", ChunkPlan(), None, on=on)
    modulations = engine._acoustic._dit.inputs.modulations(torch.empty(2, device=CUDA))
    table = TimeTable((0.5, 0.5), tuple(modulations))
    engine._times = lambda steps: table
    engine._speakers.get = lambda voice: fake_speaker(config)
    return engine


def spoken_on_fakes(engine: IndexTTSEngine, audio_ms: int) -> int:
    """The chunks of two units."""
    options = SynthesisOptions(parameters={"min_audio_ms": audio_ms, "max_audio_ms": audio_ms})
    voice = PreparedVoice("fake", {})
    states = [
        engine.start(SpeakRequest("Words.", seed=seed, voice=voice, options=options, emotion=emotion))
        for seed, emotion in enumerate((Emotion(), ANGRY))
    ]
    heard = 0
    while live := [state for state in states if not state.done]:
        heard += sum(step.pcm is not None for step in engine.step(live))
    return heard


@pytest.mark.slow
def test_whole_steps_wait_for_the_device_in_one_place(
    monkeypatch: pytest.MonkeyPatch, shapes: dict[str, dict[str, Shape]]
) -> None:
    """Prefix, codes, flow and vocoder of two units, by the code of a GPU."""
    with fake_steps(monkeypatch) as transfers:
        engine = fake_engine(monkeypatch, shapes, graphs=False)
        transfers.permitted = False
        assert spoken_on_fakes(engine, 1000) >= 3
        assert engine.info.device == "cuda:0, fp16, no graphs, 3.1 GB" and not transfers.captures


@pytest.mark.slow
def test_what_most_steps_run_is_captured_at_load(
    monkeypatch: pytest.MonkeyPatch, shapes: dict[str, dict[str, Shape]]
) -> None:
    """On the fake GPU: no copy within what is captured; later only solves of other lengths are captured."""
    monkeypatch.setattr("intone.server.engines.indextts.placement.PREPARED_UNITS", 2)
    with fake_steps(monkeypatch) as transfers:
        engine = fake_engine(monkeypatch, shapes, graphs=True)
        gpt, vocoder, flow = engine._gpt.programs, engine._vocoder.programs, engine._acoustic.flow.programs
        assert gpt.captured == 2 * len(CODES_PER_LAUNCH) + len(PREFILL_POSITIONS)  # for 1 and 2 units
        assert flow.captured >= 3 and vocoder.captured >= 3
        captured = gpt.captured + flow.captured + vocoder.captured
        assert engine.info.device == f"cuda:0, fp16, {captured} graphs, 3.1 GB"
        assert [capture.urgent for capture in transfers.captures] == [False] * 3
        transfers.permitted = False
        codes = gpt.captured
        assert spoken_on_fakes(engine, 400) >= 2
        assert gpt.captured == codes


def fake_activation(weights: Weights, name: str, channels: int) -> AntiAliasedSnake:
    """`bigvgan._activation` without the check of values."""
    for kind in ("upsample.filter", "downsample.lowpass.filter"):
        weights.tensor(f"{name}.{kind}", (1, 1, 12))
    return AntiAliasedSnake(*(weights.tensor(f"{name}.act.{part}", (channels,)).exp() for part in ("alpha", "beta")))


def test_precisions() -> None:
    assert Placement.of("auto", fixed_buffers=True).precision == "fp32"
    assert Placement.of("auto").packed == "fp32" and Placement.of("int8").packed == "int8"
    found = {name: Placement.of(name, "cuda").dtype for name in ("auto", "bf16", "fp32")}
    assert found == {"auto": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
    on = Placement.of("int8", "cuda")
    assert on.dtype == torch.float16 and on.int8 and on.precision == "int8"


def test_room_for_the_longest_unit() -> None:
    config = fake_config("2.5")
    assert max_positions(config) == 602 + 34 + 1818 and -(-max_positions(config) // PAGE) == 39
