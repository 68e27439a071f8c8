"""VoxCPM checkpoints: formats that are read, and errors for invalid ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from intone.server.domain import Samples, SpeakRequest, SynthesisOptions
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.text import TextTokenizer
from intone.server.engines.voxcpm.weights import read_checkpoint, tensor_shapes
from intone.server.errors import CheckpointError
from tests.support.voxcpm_tiny import random_checkpoint


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint("nano", tmp_path_factory.mktemp("checkpoint") / "nano", seed=3)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy to modify; the weights are links until a test replaces them."""
    for path in published.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def replace_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.unlink()
    path.write_text(json.dumps(document))


def replace_tensors(path: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    save_file(tensors, path)


def first_audio(engine: VoxCPMEngine) -> Samples:
    pcm = engine.step([engine.start(SpeakRequest("Hello", seed=1, options=SynthesisOptions(parameters={"steps": 3})))])[
        0
    ].pcm
    assert pcm is not None
    return pcm


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        VoxCPMEngine.from_folder(folder)
    return str(caught.value)


def test_a_checkpoint_on_disk_equals_the_one_in_memory(published: Path) -> None:
    seen: list[float] = []
    loaded = VoxCPMEngine.from_folder(published, dtype="fp32", progress=seen.append)
    assert np.array_equal(first_audio(loaded), first_audio(VoxCPMEngine.random("nano", seed=3, dtype="fp32")))
    assert loaded.info.model == "nano, random weights" and not loaded.info.trained
    assert seen == sorted(seen) and seen[0] > 0 and seen[-1] == 1


def test_every_format_gives_the_same_weights(published: Path, folder: Path) -> None:
    expected = first_audio(VoxCPMEngine.from_folder(published))
    model, vae = load_file(published / "model.safetensors"), torch.load(published / "audiovae.pth")["state_dict"]
    (folder / "model.safetensors").unlink()
    (folder / "audiovae.pth").unlink()
    save_file(vae, folder / "audiovae.safetensors")
    for name, content in (("pytorch_model.bin", model), ("pytorch_model.pth", {"state_dict": model})):
        torch.save(content, folder / name)
        assert np.array_equal(first_audio(VoxCPMEngine.from_folder(folder)), expected)
        torch.save(content, folder / name, _use_new_zipfile_serialization=False)
        assert np.array_equal(first_audio(VoxCPMEngine.from_folder(folder)), expected)
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("config.json", "found no config.json"),
        ("model.safetensors", "found no model.safetensors or pytorch_model.bin or pytorch_model.pth"),
        ("audiovae.pth", "found no audiovae.safetensors or audiovae.pth"),
        ("tokenizer.json", "tokenizer.json: "),
    ],
)
def test_missing_file(folder: Path, missing: str, expected: str) -> None:
    (folder / missing).unlink()
    assert expected in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "audiovae.pth", "tokenizer.json"])
def test_broken_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).write_bytes(b"{ not what it says")
    assert f"cannot read {folder / name}" in refusal(folder)


def test_pickled_code_is_not_run(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path(folder / "sprung").touch, ()

    (folder / "audiovae.pth").unlink()
    torch.save({"state_dict": {"decoder": Trap()}}, folder / "audiovae.pth")
    assert "cannot read" in refusal(folder)
    assert not (folder / "sprung").exists()


def test_missing_unexpected_and_misshapen_tensors_are_listed(folder: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        del tensors["stop_head.weight"]
        tensors["surplus"] = torch.zeros(3)
        tensors["fsq_layer.in_proj.bias"] = torch.zeros(7)

    path = folder / "model.safetensors"
    replace_tensors(path, change)
    message = refusal(folder)
    assert str(path) in message
    assert "stop_head.weight: missing, expected [2, 256]" in message
    assert "surplus: found [3], expected nothing" in message
    assert "fsq_layer.in_proj.bias: found [7], expected [64]" in message


def test_many_faults_are_counted(folder: Path) -> None:
    replace_tensors(
        folder / "model.safetensors", lambda tensors: [tensors.pop(key) for key in list(tensors)[:9]] and None
    )
    message = refusal(folder)
    assert message.count("missing, expected") == 5 and message.endswith("; and 4 more")


def test_vae_is_checked_too(folder: Path) -> None:
    vae = torch.load(folder / "audiovae.pth")["state_dict"]
    del vae["encoder.fc_mu.bias"]
    (folder / "audiovae.pth").unlink()
    torch.save(vae, folder / "audiovae.pth")
    assert "audiovae.pth: encoder.fc_mu.bias: missing, expected [64]" in refusal(folder)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("architecture", "voxcpm3", "architecture: found 'voxcpm3', expected 'voxcpm' or 'voxcpm2'"),
        ("lm_config.use_mup", True, "lm_config.use_mup: found true"),
        ("lm_config.use_mup", None, "lm_config.use_mup: found true"),
        ("lm_config.hidden_size", None, "lm_config.hidden_size: found nothing, expected a positive integer"),
        ("lm_config.hidden_size", "256", "lm_config.hidden_size: found '256', expected a positive integer"),
        ("lm_config.rope_scaling.short_factor", [1.0, 2.0], "lm_config.rope_scaling: found 2 factors, expected 32"),
        ("lm_config.num_key_value_heads", 3, "4 heads do not share 3 key heads evenly"),
        ("dit_config.kv_channels", 128, "found 32 factors, expected 64, half the head size of local_dit"),
        ("max_length", 40000, "max_length: found 40000, expected at most max_position_embeddings = 32768"),
        ("feat_dim", 32, "feat_dim: found 32, expected audio_vae_config.latent_dim = 64"),
        ("encoder_config", 3, "encoder_config: found 3, expected an object"),
        ("audio_vae_config.use_noise_block", True, "use_noise_block"),
        ("languages", "en", "languages: found 'en', expected codes such as"),
        ("languages", [], "languages: found [], expected codes"),
        ("languages", ["en", 3], "languages: found ['en', 3], expected codes"),
        ("languages", ["English"], "languages: found ['English'], expected codes"),
    ],
)
def test_unsupported_config_is_refused(folder: Path, path: str, value: Any, expected: str) -> None:
    def change(document: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        for key in outer:
            document = document[key]
        if value is None:
            del document[last]
        else:
            document[last] = value

    replace_json(folder / "config.json", change)
    message = refusal(folder)
    assert expected in message and str(folder / "config.json") in message


@pytest.mark.parametrize("languages", [["en"], ["zh-Hans", "yue", "en-US"]])
def test_languages_from_the_checkpoint(folder: Path, languages: list[str]) -> None:
    assert VoxCPMEngine.from_folder(folder).info.languages == ("zh", "en")
    replace_json(folder / "config.json", lambda document: document.update(languages=languages))
    assert VoxCPMEngine.from_folder(folder).info.languages == tuple(languages)


def test_config_defaults_and_harmless_keys() -> None:
    document = sizes.document("0.5b")
    plain = VoxCPMConfig.from_json(document)
    del document["architecture"]
    document |= {
        "device": "cuda",
        "anything": {"else": 1},
        "dit_config": {**document["dit_config"], "dit_mean_mode": True},
    }
    assert VoxCPMConfig.from_json(document) == plain
    assert (plain.version, plain.mean_mode, plain.vae.sample_rate_hz) == (1, False, 16000)


@pytest.mark.parametrize(("size", "millions", "tensors"), [("0.5b", 652.3, 377), ("1.5", 801.7, 467), ("2", 2290, 577)])
def test_published_sizes_have_the_published_number_of_parameters(size: str, millions: float, tensors: int) -> None:
    config = VoxCPMConfig.from_json(sizes.document(size))
    shapes = tensor_shapes(config)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) / 1e6 == pytest.approx(millions, rel=1e-3)
    assert len(shapes) == tensors


def test_nano_is_small() -> None:
    checkpoint = sizes.in_memory("nano")
    everything = [*checkpoint.model.values(), *checkpoint.vae.values()]
    assert sum(tensor.numel() for tensor in everything) <= 12_000_000


def test_fingerprint_differs_for_fine_tuned_weights(published: Path, folder: Path) -> None:
    first = read_checkpoint(published).fingerprint
    assert read_checkpoint(folder).fingerprint == first  # the same files elsewhere
    replace_tensors(folder / "model.safetensors", lambda tensors: [t.mul_(1.001) for t in tensors.values()] and None)
    assert read_checkpoint(folder).fingerprint != first


def test_byte_tokenizer_covers_all_text_without_special_ids(published: Path) -> None:
    built, loaded = sizes.byte_tokenizer(), TextTokenizer.load(published, 512)
    text = "aé你\U0001f600 \x00" + "".join(map(chr, range(32, 256)))
    ids = built.ids(text)
    assert len(ids) == len(text.encode()) and ids == loaded.ids(text)
    assert not set(ids) & {0, 1, 2, 101, 102, 103, 104}
    every_byte = {built.ids(chr(code))[-1] for code in range(128)} | {
        built.ids(chr(code))[-1] for code in range(128, 2048)
    }
    assert len(every_byte) == 128 + 64 and built.ids("") == []


def test_tokenizer_larger_than_the_vocabulary_is_refused(published: Path) -> None:
    with pytest.raises(CheckpointError, match="found token id 262, expected below vocab_size = 200"):
        TextTokenizer.load(published, 200)


def test_unknown_token_from_the_tokenizer_config(folder: Path) -> None:
    def without(document: dict[str, Any]) -> None:
        document["model"]["unk_token"] = None

    replace_json(folder / "tokenizer.json", without)
    assert VoxCPMEngine.from_folder(folder).info.name == "voxcpm"
    replace_json(folder / "tokenizer_config.json", lambda document: document.clear())
    assert "found no unknown token" in refusal(folder)
