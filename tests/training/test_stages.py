"""Outputs of the training stages: latents, checkpoints that the server loads, and resuming from reduced checkpoints."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from intone.server.domain import SpeakRequest, SynthesisOptions
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.weights import read_checkpoint
from tests.support.training_material import CONFIG, CPU, TEXTS, ready, tone, vae_trainee
from training.__main__ import main
from training.analysis import PITCH_NUMBERS, Basis, latents_of
from training.latents import BASIS_FILE, SAID_FILE, read_latents, read_said
from training.loop import load_state, read_log
from training.say import latents_of as latents_of_text
from training.shards import UNIT_SAMPLES, read_speech, write_shard
from training.train_lm import model_tensors
from training.train_vae import VaeRecipe, VaeTrainee


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return ready(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def trained(out):
    """VAE and language models after two steps each."""
    common = ["--out", str(out), "--size", "tiny"]
    few_steps = [*common, "--steps", "2", "--batch", "1"]
    for arguments in (
        ["vae", *few_steps, "--jury-width", "2", "--adversary-from", "1"],
        ["lm", *few_steps, "--flow-samples", "1"],
    ):
        assert main(arguments) == 0
    return out


def test_latents_match_the_speech_and_are_not_rewritten(trained):
    latents, speech = (
        read(trained / "en" / name / "train") for read, name in ((read_latents, "latents"), (read_speech, "speech"))
    )
    assert latents.patches.shape == (6 + 9, CONFIG.patch_frames, CONFIG.latent_dim)
    assert latents.starts.tolist() == [0, 6, 15] == (speech.starts // UNIT_SAMPLES).tolist()
    basis = Basis.from_tensors(load_file(trained / BASIS_FILE))
    found = latents_of(*speech.sentence(0)[:1], speech.pitch[: 6 * 16], basis)
    assert float((latents.patches[:6].flatten(0, 1) - found).abs().max()) < 5e-3  # stored in float16
    assert latents.labels[0].tolist() == [1, 1, 1, 1, 1, 2, 2, 2]
    before = {path: path.read_bytes() for path in (trained / "en" / "latents").rglob("*.safetensors")}
    assert main(["latents", "--out", str(trained), "--size", "tiny"]) == 0
    assert before == {path: path.read_bytes() for path in (trained / "en" / "latents").rglob("*.safetensors")}


def test_coarse_basis_keeps_its_components_and_gets_the_detail(out, tmp_path, capsys):
    """Such as the basis of a checkpoint with fewer latents. A basis that cannot be completed is an error."""
    shutil.copytree(out / "en" / "speech", tmp_path / "en" / "speech")
    common = ["latents", "--out", str(tmp_path), "--size", "tiny"]
    known = load_file(out / BASIS_FILE)
    coarse = {"mean": known["mean"] + 0.1, "directions": known["directions"][:, :7].contiguous()}
    save_file(coarse, tmp_path / BASIS_FILE)
    assert main(common) == 0
    basis = Basis.from_tensors(load_file(tmp_path / BASIS_FILE))
    assert all(torch.equal(basis.tensors()[name], tensor) for name, tensor in coarse.items())
    assert basis.detail is not None and basis.detail.directions.shape[1] == CONFIG.latent_dim - PITCH_NUMBERS - 7
    assert read_latents(tmp_path / "en" / "latents" / "train").patches.shape[2] == CONFIG.latent_dim
    save_file({"mean": known["mean"], "directions": known["directions"][:, :1].repeat(1, 40)}, tmp_path / BASIS_FILE)
    capsys.readouterr()
    assert main(common) == 1
    assert "40 components instead of 14" in capsys.readouterr().err


def test_latents_are_updated_when_speech_is_added(out, tmp_path):
    shutil.copytree(out, tmp_path / "run")
    language = tmp_path / "run" / "en"
    unchanged = (language / "latents" / "held_out" / "000.safetensors").stat().st_mtime_ns
    write_shard(language / "speech" / "train" / "00001.safetensors", [tone(2, 0.6)])
    assert main(["latents", "--out", str(tmp_path / "run"), "--size", "tiny"]) == 0
    latents = read_latents(language / "latents" / "train")
    assert latents.numbers.tolist() == [0, 1, 2] and latents.starts.tolist() == [0, 6, 15, 19]
    assert (language / "latents" / "held_out" / "000.safetensors").stat().st_mtime_ns == unchanged
    assert vae_trainee(tmp_path / "run") is not None  # accepts them as latents of this speech


def test_latents_of_other_speech_are_an_error(trained):
    speech, latents = (
        read_speech(trained / "en" / "speech" / "train"),
        read_latents(trained / "en" / "latents" / "train"),
    )
    other = replace(latents, patches=latents.patches[1:])
    with pytest.raises(ValueError, match="latents are of other speech"):
        VaeTrainee(CONFIG.vae, VaeRecipe(steps=1, batch=1), {"en": (speech, other)}, {"en": (speech, latents)}, CPU)


@pytest.mark.parametrize(("storage", "error"), [("float32", 0), ("float16", 2e-3), ("int8", 2e-2)])
def test_server_loads_an_exported_checkpoint_and_speaks(trained, storage, error):
    folder = trained / storage
    assert main(["export", "--out", str(trained), "--size", "tiny", "--storage", storage, "--folder", str(folder)]) == 0
    engine = VoxCPMEngine.from_folder(folder, threads=1)
    assert engine.info.trained and engine.info.sample_rate_hz == 24_000 and engine.info.languages == ("en",)
    unit = engine.start(
        SpeakRequest(text="He came.", seed=1, options=SynthesisOptions(parameters={"steps": 2, "max_audio_ms": 640}))
    )
    pcm = []
    while not unit.done:
        pcm += [step.pcm for step in engine.step([unit]) if step.pcm is not None]
    audio = np.concatenate(pcm)
    assert len(audio) == 640 * 24 and np.isfinite(audio).all() and np.abs(audio).max() > 0
    averaged = model_tensors(load_state(trained / "lm")["trainee"])
    worst = max(float((engine.model.lm.embedding - averaged["base_lm.embed_tokens.weight"]).abs().max()), 0)
    assert worst <= error


def test_say_writes_generated_latents_of_the_corpus(trained, tmp_path):
    folder = tmp_path / "checkpoint"
    common = ["--out", str(trained), "--size", "tiny"]
    assert main(["export", *common, "--folder", str(folder)]) == 0
    assert main(["say", *common, "--folder", str(folder), "--sentences", "1"]) == 0
    generated = read_said(trained)
    engine = VoxCPMEngine.from_folder(folder, threads=1)
    patches = latents_of_text(engine, TEXTS[0], 0)
    assert torch.equal(generated, patches.flatten(0, 1).half()) and generated.shape[1] == CONFIG.latent_dim
    assert (
        float((generated[:4].float() - latents_of_text(engine, TEXTS[0], 1)[0]).abs().max()) > 1e-3
    )  # depends on the seed
    (trained / SAID_FILE).unlink()
    assert read_said(trained) is None


def test_training_resumes_from_a_slim_checkpoint(trained, tmp_path):
    """On a machine that has only the corpus, the speech and the slim checkpoint."""
    assert main(["slim", "--out", str(trained)]) == 0
    whole, slim = (folder / "lm" / "state.pt" for folder in (trained, trained / "slim"))
    assert slim.stat().st_size < 0.25 * whole.stat().st_size
    for folder in ("en/corpus", "en/speech", "slim"):
        shutil.copytree(trained / folder, tmp_path / (folder if folder != "slim" else "."), dirs_exist_ok=True)
    common = ["--out", str(tmp_path), "--size", "tiny"]
    assert main(["latents", *common]) == 0
    made, again = (read_latents(folder / "en" / "latents" / "train").patches for folder in (trained, tmp_path))
    assert torch.equal(made, again)
    for name, folder, *more in (("vae", "vae", "--jury-width", "2"), ("lm", "lm")):
        before = len(read_log(tmp_path / folder))
        assert main([name, *common, "--steps", "3", "--batch", "1", *more]) == 0
        assert [line["step"] for line in read_log(tmp_path / folder)][before:] == [3]


def test_training_starts_from_an_exported_checkpoint(trained, tmp_path, capsys):
    """Without training checkpoints: only corpus, speech and the exported checkpoint are left."""
    common = ["--out", str(tmp_path), "--size", "tiny"]
    exported = tmp_path / "exported"
    assert (
        main(["export", "--out", str(trained), "--size", "tiny", "--storage", "int8", "--folder", str(exported)]) == 0
    )
    for folder in ("en/corpus", "en/speech"):
        shutil.copytree(trained / folder, tmp_path / folder)
    assert main(["begin", *common, "--folder", str(exported)]) == 0
    assert main(["latents", *common]) == 0
    made, again = (read_latents(folder / "en" / "latents" / "train").patches for folder in (trained, tmp_path))
    assert torch.equal(made, again)
    checkpoint = read_checkpoint(exported)
    for name, tensors, prefix in (("lm", checkpoint.model, "model."), ("vae", checkpoint.vae, "")):
        average = load_state(tmp_path / name)["trainee"]["average"]
        assert all(torch.equal(average[prefix + key], tensor.float()) for key, tensor in tensors.items())
        more = ["--jury-width", "2"] if name == "vae" else []
        assert main([name, *common, "--steps", "1", "--batch", "1", *more]) == 0
        assert [line["step"] for line in read_log(tmp_path / name)] == [1]
    capsys.readouterr()
    for fault, damage in (
        ("has a run already", lambda: None),
        ("its latents are other ones", lambda: save_file({"mean": torch.zeros(1)}, tmp_path / BASIS_FILE)),
        (f"no {BASIS_FILE}", (exported / BASIS_FILE).unlink),
    ):
        damage()
        assert main(["begin", *common, "--folder", str(exported)]) == 1
        assert fault in capsys.readouterr().err
    assert main(["begin", "--out", str(tmp_path), "--size", "nano", "--folder", str(exported)]) == 1
    assert "the language models are not of size nano" in capsys.readouterr().err


def test_error_names_the_missing_stage(tmp_path, capsys):
    for stage, before in (("vae", "latents"), ("lm", "latents"), ("latents", "teacher")):
        assert main([stage, "--out", str(tmp_path), "--size", "tiny"]) == 1
        assert f"run the stage `{before}`" in capsys.readouterr().err
    assert main(["export", "--out", str(tmp_path), "--size", "tiny"]) == 1
    assert "run the stage that makes it first" in capsys.readouterr().err
