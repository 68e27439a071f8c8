"""IndexTTS checkpoints: published sizes, reading, and refused files and configurations."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config import FRAMES_PER_FEATURE, Variant
from intone.server.engines.indextts.checkpoint.config_files import config_of
from intone.server.engines.indextts.checkpoint.folding import weight_normed
from intone.server.engines.indextts.checkpoint.weights import Checkpoint, part_shapes, read_checkpoint
from intone.server.engines.indextts.voice import campplus
from intone.server.errors import CheckpointError
from tests.oracles.indextts_golden import assert_close, golden
from tests.support.indextts_files import stats, write_checkpoint
from tests.support.indextts_tiny import weights

PARTS = ("gpt", "s2mel", "codec", "w2v_bert", "campplus", "vocoder")


@pytest.fixture(scope="module", params=["nano", "nano-2"])
def nano(request: pytest.FixtureRequest) -> tuple[str, Checkpoint]:
    return request.param, sizes.in_memory(request.param, seed=1)


# ---- published sizes ------------------------------------------------------------------------------------------------


def millions(shapes: dict[str, tuple[int, ...]]) -> float:
    return sum(math.prod(shape) for shape in shapes.values()) / 1e6


def test_published_sizes() -> None:
    newer, older = (config_of(*sizes.documents(size)) for size in ("2.5", "2"))
    assert (newer.variant, older.variant) == (Variant.V25, Variant.V2)
    shapes = part_shapes(newer)["gpt"]
    assert shapes["text_embedding.weight"] == (60510, 1280) and shapes["mel_pos_embedding.emb.weight"] == (1818, 1280)
    assert shapes["text_pos_embedding.emb.weight"] == (602, 1280)
    assert shapes["emo_conditioning_encoder.embed.out.0.weight"] == (512, 261632)
    assert shapes["emo_perceiver_encoder.layers.0.1.0.weight"] == (2730, 1024)
    assert millions(shapes) == pytest.approx(734.8, abs=0.1)
    shapes = part_shapes(older)["gpt"]
    assert shapes["text_embedding.weight"] == (12001, 1280)
    assert shapes["perceiver_encoder.latents"] == (32, 1280)
    assert shapes["perceiver_encoder.layers.1.1.0.weight"] == (2 * 1706, 1280)
    assert shapes["conditioning_encoder.encoders.5.self_attn.pos_bias_u"] == (8, 64)
    assert millions(part_shapes(newer)["w2v_bert"]) == pytest.approx(411, abs=1)
    shapes = part_shapes(newer)["campplus"]
    learned = {name: shape for name, shape in shapes.items() if "running" not in name}
    assert millions(learned) == pytest.approx(6.85, abs=0.01)
    assert len(shapes) + sum(name.endswith("running_mean") for name in shapes) == 937
    assert newer.mel.sample_rate_hz / newer.mel.hop_samples / FRAMES_PER_FEATURE == pytest.approx(50.07, abs=0.01)


def test_nano_is_small(nano: tuple[str, Checkpoint]) -> None:
    total = sum(tensor.numel() for part in PARTS for tensor in getattr(nano[1], part).values())
    assert total < 20e6
    assert nano[1].config.mel.sample_rate_hz == 22050


# ---- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [False, True])
def test_a_written_checkpoint_is_read(nano: tuple[str, Checkpoint], tmp_path: Path, cached: bool) -> None:
    size, written = nano
    write_checkpoint(tmp_path, written, sizes.documents(size), cached)
    read = read_checkpoint(tmp_path)
    assert read.config == written.config
    for part in PARTS:
        ours, theirs = getattr(read, part), getattr(written, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(read.matrix.speakers, written.matrix.speakers)
    assert torch.equal(read.statistics.variance, written.statistics.variance)
    again = read_checkpoint(tmp_path).fingerprint
    torch.save({"mean": torch.ones(128), "var": torch.ones(128)}, stats(tmp_path))
    assert read.fingerprint == again != read_checkpoint(tmp_path).fingerprint


def test_safetensors_instead_of_pickles(tmp_path: Path) -> None:
    written = sizes.in_memory("nano")
    write_checkpoint(tmp_path, written, sizes.documents("nano"))
    for name, tensors in (("gpt", written.gpt), ("s2mel", written.s2mel), ("codec", written.codec)):
        (tmp_path / f"{name}.pth").unlink()
        save_file(tensors, tmp_path / f"{name}.safetensors")
    (tmp_path / "feat1.pt").unlink()
    save_file({"feat1": written.matrix.speakers}, tmp_path / "feat1.safetensors")
    read = read_checkpoint(tmp_path)
    assert torch.equal(read.s2mel["length_regulator.model.0.weight"], written.s2mel["length_regulator.model.0.weight"])
    assert torch.equal(read.matrix.speakers, written.matrix.speakers)


Change = Callable[[Checkpoint], Any]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.gpt.pop("mel_head.bias"), r"gpt\.pth: mel_head\.bias: missing, expected \[1026\]"),
        (lambda c: c.gpt.update({"final_norm.bias": torch.zeros(3)}), r"found \[3\], expected \[256\]"),
        (lambda c: c.gpt.update(step=3), "step: found int, expected a tensor"),
        (lambda c: c.campplus.update(other=torch.zeros(1)), r"other: found \[1\], expected nothing"),
        (lambda c: c.vocoder.pop("conv_post.weight_g"), r"bigvgan_generator\.pt: conv_post\.weight_g: missing"),
        (lambda c: c.codec.clear(), r"codec\.pth: .*missing"),
        (lambda c: c.w2v_bert.pop("encoder.layers.2.ffn1_layer_norm.weight"), "ffn1_layer_norm.weight: missing"),
        (lambda c: c.s2mel.update({"cfm.estimator.surprise": torch.zeros(1)}), "surprise: found"),
    ],
    ids=["missing", "shape", "not a tensor", "too much", "vocoder", "empty", "safetensors", "deep"],
)
def test_bad_tensors_are_refused(change: Change, expected: str, tmp_path: Path) -> None:
    checkpoint = sizes.in_memory("nano")
    change(checkpoint)
    write_checkpoint(tmp_path, checkpoint, sizes.documents("nano"))
    with pytest.raises(CheckpointError, match=expected):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("gpt.pth", None, r"found no gpt\.pth or gpt\.safetensors"),
        ("config.yaml", None, r"found no config\.yaml"),
        ("w2v-bert-2.0/config.json", None, r"found no config\.json .*w2v-bert-2\.0.*hf_cache"),
        ("gpt.pth", b"no pickle", r"cannot read .*gpt\.pth"),
        ("w2v-bert-2.0/model.safetensors", b"short", r"cannot read .*model\.safetensors"),
        ("config.yaml", b"a: [", r"cannot read .*config\.yaml"),
        ("config.yaml", b"- 1", "expected a mapping"),
        ("bigvgan_v2_22khz_80band_256x/config.json", b"{", r"cannot read .*config\.json"),
        ("feat1.pt", b"", r"cannot read .*feat1\.pt"),
    ],
)
def test_bad_files_are_refused(name: str, content: bytes | None, expected: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, sizes.in_memory("nano"), sizes.documents("nano"))
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=expected):
        read_checkpoint(tmp_path)


def test_pickles_run_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    write_checkpoint(tmp_path, sizes.in_memory("nano"), sizes.documents("nano"))
    torch.save({"model": {"mel_head.bias": Trap()}}, tmp_path / "gpt.pth")
    with pytest.raises(CheckpointError, match="cannot read"):
        read_checkpoint(tmp_path)
    assert not (tmp_path / "sprung").exists()


# ---- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "value", "expected"),
    [
        ("gpt.layers", "24", r"gpt\.layers: found '24', expected a positive integer"),
        ("gpt.model_dim", None, r"gpt\.model_dim: found None"),
        ("gpt.heads", 3, r"gpt\.model_dim: found 256, expected a multiple of heads"),
        ("gpt.condition_type", "gst", r"condition_type: found 'gst', expected 'conformer_perceiver'"),
        ("gpt.emo_condition_module.input_layer", "linear", r"emo_condition_module\.input_layer"),
        ("s2mel.DiT.is_causal", True, r"s2mel\.DiT\.is_causal: found True, expected False"),
        ("s2mel.DiT.in_channels", 100, r"DiT\.in_channels: found 100, expected n_mels = 80"),
        ("s2mel.length_regulator.sampling_ratios", [1, 2], "sampling_ratios"),
        ("s2mel.style_encoder.dim", 192, "expected CAMPPlus embedding = 64"),
        ("s2mel.preprocess_params.sr", 24000, "vocoder sampling_rate: found 22050, expected sr = 24000"),
        ("s2mel.preprocess_params.spect_params.fmax", -1, "fmax"),
        ("semantic_codec.downsample_scale", 4, "downsample_scale: found 4, expected 2"),
        ("emo_num", [1, 2], "emo_num: found 2, expected number of emotions = 8"),
        ("dataset", 5, "dataset: found 5, expected an object"),
        ("intone.trained", 1, "trained: found 1, expected true or false"),
    ],
)
def test_bad_configurations_are_refused(keys: str, value: Any, expected: str) -> None:
    model, vocoder, w2v = sizes.documents("nano")
    model = yaml.safe_load(yaml.safe_dump(model))
    *path, last = keys.split(".")
    section = model
    for key in path:
        section = section[key]
    section[last] = value
    with pytest.raises(CheckpointError, match=expected):
        config_of(model, vocoder, w2v)


def test_defaults_of_keys_that_published_files_lack() -> None:
    model, vocoder, w2v = sizes.documents("2.5")
    del model["intone"]
    config = config_of(model, vocoder, dict(w2v))
    assert config.trained and config.w2v_bert.layers == 17 and config.mel.fmax_hz is None
    assert config.campplus == campplus.CAMPPlusConfig() and config.gpt.emotion[1].dim == 1024
    model["s2mel"]["preprocess_params"]["spect_params"]["fmax"] = 8000
    assert config_of(model, vocoder, w2v).mel.fmax_hz == 8000
    with pytest.raises(CheckpointError, match="w2v-bert position_embeddings_type"):
        config_of(model, vocoder, {**w2v, "position_embeddings_type": "rotary"})


# ---- weight norm ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["conv", "transposed", "linear", "one"])
def test_folding(require: Callable[..., Any], kind: str) -> None:
    found = golden(require, "folding")
    parts = weights({name[3:]: tensor for name, tensor in found.items() if name.startswith("in.")})
    expected = found[f"out.{kind}.weight"]
    assert_close(weight_normed(parts, kind, tuple(expected.shape)), expected, 1e-6)
