"""A training run learns, leaves no trace of having been stopped, and ends in a checkpoint that the server loads."""

import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from intone.server.domain import Options, SpeakRequest
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.weights import read_checkpoint
from training import model_sizes
from training.__main__ import main
from training.analysis import Basis, latents_of
from training.latents import BASIS_FILE, SAID_FILE, Latents, read_latents, read_said
from training.loop import Budget, draw_log, load_state, read_log, train
from training.objective import Objective
from training.say import latents_of as latents_of_text
from training.script import Script
from training.shards import LABEL_SAMPLES, POINT_SAMPLES, UNIT_SAMPLES, Spoken, read_speech, write_shard
from training.train_lm import LmRecipe, LmTrainee, model_tensors
from training.train_vae import VaeRecipe, VaeTrainee

CONFIG = model_sizes.config_of("tiny")
CPU = torch.device("cpu")
TEXTS = ("He came.", "She left at once.")


def tone(number, seconds):
    """A hum that stands for speech: pitch and labels differ from sentence to sentence."""
    time = np.arange(-(-int(seconds * 16_000) // UNIT_SAMPLES) * UNIT_SAMPLES) / 16_000
    pitch_hz = 120 + 30 * number
    audio = sum(np.sin(2 * np.pi * pitch_hz * h * time) / h for h in (1, 2, 3)) * 0.15
    labels = (np.arange(len(time) // LABEL_SAMPLES) // 5 + 10 * number + 1).astype(np.uint8)
    points = time[POINT_SAMPLES // 2 :: POINT_SAMPLES]
    pitch = np.stack([np.full(len(points), pitch_hz), pitch_hz * points % 1], 1)
    return Spoken(number, audio.astype(np.float32), labels, pitch.astype(np.float32))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder as the first three stages leave it."""
    tmp_path = tmp_path_factory.mktemp("training")
    for name in ("train", "held_out"):
        (tmp_path / "en" / "speech" / name).mkdir(parents=True)
        write_shard(tmp_path / "en" / "speech" / name / "00000.safetensors", [tone(0, 0.9), tone(1, 1.3)])
        (tmp_path / "en" / "corpus").mkdir(exist_ok=True)
        (tmp_path / "en" / "corpus" / f"{name}.txt").write_text("\n".join(TEXTS) + "\n")
    assert main(["latents", "--out", str(tmp_path), "--size", "tiny"]) == 0
    return tmp_path


def vae_trainee(out, **given):
    recipe = VaeRecipe(**{"steps": 30, "batch": 2, "segment_frames": 8, "jury_width": 2, "jury_silence": 0, **given})
    speech = read_speech(out / "en" / "speech" / "train")
    latents = read_latents(out / "en" / "latents" / "train")
    return VaeTrainee(CONFIG.vae, recipe, {"en": (speech, latents)}, {"en": (speech, latents)}, CPU)


def lm_trainee(**given):
    shape = (14, CONFIG.patch_frames, CONFIG.latent_dim)
    patches = torch.randn(shape, generator=torch.Generator().manual_seed(0)).half()
    labels = torch.arange(14 * 8).view(14, 8).div(3, rounding_mode="floor").to(torch.uint8)
    latents = Latents(patches, labels, torch.tensor([0, 6, 14]), torch.arange(2))
    places = torch.arange(14).view(14, 1).expand(14, 8).div(6, rounding_mode="floor")
    script = Script([[5, 9, 12], [7, 30, 8, 6]], places)
    recipe = LmRecipe(**{"steps": 20, "batch": 2, "objective": Objective(2, teacher_steps=1000), **given})
    return LmTrainee(CONFIG, recipe, {"en": (latents, script)}, {"en": (latents, script)}, CPU)


BRIEF = ("--size", "tiny", "--steps", "2", "--batch", "1", "--jury-width", "2")
BUDGET = Budget(steps=8, log_steps=1, examine_steps=4)


@pytest.mark.parametrize("kind", ["vae", "lm"])
def test_a_run_that_was_stopped_is_the_run_that_was_not(out, tmp_path, kind):
    def made():
        return vae_trainee(out, adversary_from=2) if kind == "vae" else lm_trainee()

    train(made(), tmp_path / "whole", BUDGET, kind)
    assert train(made(), tmp_path / "parts", Budget(3, log_steps=1, examine_steps=4), kind) == 3
    # A killed run logged steps that it did not save.
    with (tmp_path / "parts" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 4, "flow": 99.0}) + "\n")
    assert train(made(), tmp_path / "parts", BUDGET, kind) == 8
    whole, parts = read_log(tmp_path / "whole"), read_log(tmp_path / "parts")
    # The end of the first part examined once more: the only line that tells them apart.
    assert [{k: v for k, v in line.items() if line["step"] != 3} for line in whole] == [
        {k: v for k, v in line.items() if line["step"] != 3} for line in parts
    ]
    left, right = (load_state(tmp_path / name)["trainee"]["average"] for name in ("whole", "parts"))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_the_vae_learns(out, tmp_path):
    trainee = vae_trainee(out, early_rate=5e-3, adversary_from=1000, steps=40)
    before = trainee.examine(0)["held_out_spectra_en"]
    train(trainee, tmp_path / "run", Budget(40, log_steps=5, examine_steps=40), "vae")
    lines = read_log(tmp_path / "run")
    assert lines[-1]["held_out_spectra_en"] < 0.75 * before
    assert lines[-1]["spectra"] < 0.75 * lines[0]["spectra"]
    assert (draw_log(tmp_path / "run", "vae") is None) or (tmp_path / "run" / "curves.png").stat().st_size > 1000


def test_the_jury_learns_and_teaches(out):
    trainee = vae_trainee(out, adversary_from=0)
    first = trainee.step(0)
    for number in range(1, 19):  # the last one with the judges of the first
        last = trainee.step(number)
    assert set(last) == {"spectra", "waves", "jury", "fooled", "features"}
    assert last["jury"].detach() < first["jury"].detach()


def test_a_jury_that_has_learnt_nothing_is_not_heard(out):
    """In its first steps it learns, and the decoder goes on as if there were none."""
    alone, silent = (
        vae_trainee(out, adversary_from=9),
        vae_trainee(out, adversary_from=1, jury_silence=1, early_rate=4e-4),
    )
    before = {name: tensor.clone() for name, tensor in silent.jury.state_dict().items()}
    for number in (0, 1):
        figures, expected = silent.step(number), alone.step(number)
    assert "jury" in figures and "fooled" not in figures and torch.equal(figures["spectra"], expected["spectra"])
    ours, others = silent.vae.state_dict(), alone.vae.state_dict()
    assert all(torch.equal(ours[name], others[name]) for name in ours)
    assert any(not torch.equal(before[name], tensor) for name, tensor in silent.jury.state_dict().items())
    assert "fooled" in silent.step(2)


def test_what_the_language_models_said_is_for_the_jury_alone(out):
    """With it the jury hears more, and what has a recording is compared with it as before."""
    speech, latents = read_speech(out / "en" / "speech" / "train"), read_latents(out / "en" / "latents" / "train")
    recipe = VaeRecipe(steps=30, batch=2, segment_frames=8, jury_width=2, adversary_from=1, jury_silence=0)
    said = 0.5 * torch.randn(40, CONFIG.latent_dim, generator=torch.Generator().manual_seed(0)).half()
    plain, other = (
        VaeTrainee(CONFIG.vae, recipe, {"en": (speech, latents)}, {"en": (speech, latents)}, CPU, known)
        for known in (None, said)
    )
    first, same = plain.step(0), other.step(0)
    assert all(torch.equal(first[name], same[name]) for name in first)  # before the jury sits
    second, more = plain.step(1), other.step(1)
    assert torch.equal(second["spectra"], more["spectra"]) and torch.equal(second["waves"], more["waves"])
    assert not torch.equal(second["jury"], more["jury"]) and not torch.equal(second["fooled"], more["fooled"])
    with pytest.raises(ValueError, match="5 frames of speech are too few"):
        VaeTrainee(CONFIG.vae, recipe, {"en": (speech, latents)}, {"en": (speech, latents)}, CPU, said[:5])


def test_the_language_models_learn(tmp_path):
    trainee = lm_trainee(steps=250, rate=5e-3, joined_share=0.0, objective=Objective(2, 0.0, 0.0, teacher_steps=10_000))
    train(trainee, tmp_path, Budget(250, log_steps=10, examine_steps=250), "lm")
    lines = read_log(tmp_path)
    assert lines[-1]["flow"] < 0.7 * lines[0]["flow"]
    assert lines[-1]["sounds_right"] > 0.9 > 0.3 > lines[0]["sounds_right"]
    assert lines[-1]["stops_right"] == 1.0


def test_an_interrupted_run_saves_and_ends(tmp_path):
    class Interrupting:
        """A trainee in whose third step somebody presses Ctrl-C."""

        def __init__(self):
            self.steps = 0

        def step(self, number):
            self.steps += 1
            if self.steps == 3:
                signal.raise_signal(signal.SIGINT)
            return {"loss": torch.tensor(1.0)}

        def examine(self, number):
            return {}

        def state(self):
            return {"steps": self.steps}

        def restore(self, state):
            self.steps = state["steps"]

    handler = signal.getsignal(signal.SIGINT)
    assert train(Interrupting(), tmp_path, Budget(10), "x") == 3
    assert signal.getsignal(signal.SIGINT) is handler
    assert train(Interrupting(), tmp_path, Budget(10), "x") == 10


def test_a_run_ends_with_its_minutes(tmp_path, out):
    assert train(vae_trainee(out), tmp_path / "run", Budget(10**6, minutes=0.02), "vae") < 10**5
    assert (tmp_path / "run" / "state.pt").exists()


@pytest.fixture(scope="module")
def trained(out):
    """Both models, a few steps each."""
    common = ["--out", str(out), "--size", "tiny"]
    brief = [*common, "--steps", "2", "--batch", "1"]
    for arguments in (
        ["vae", *brief, "--jury-width", "2", "--adversary-from", "1"],
        ["lm", *brief, "--flow-samples", "1"],
    ):
        assert main(arguments) == 0
    return out


def test_latents_are_those_of_the_speech_and_stay(trained):
    latents, speech = (
        read(trained / "en" / name / "train") for read, name in ((read_latents, "latents"), (read_speech, "speech"))
    )
    assert latents.patches.shape == (6 + 9, CONFIG.patch_frames, CONFIG.latent_dim)
    assert latents.starts.tolist() == [0, 6, 15] == (speech.starts // UNIT_SAMPLES).tolist()
    content = load_file(trained / BASIS_FILE)
    found = latents_of(*speech.sentence(0)[:1], speech.pitch[: 6 * 16], Basis(content["mean"], content["directions"]))
    assert float((latents.patches[:6].flatten(0, 1) - found).abs().max()) < 5e-3  # kept in float16
    assert latents.labels[0].tolist() == [1, 1, 1, 1, 1, 2, 2, 2]
    before = {path: path.read_bytes() for path in (trained / "en" / "latents").rglob("*.safetensors")}
    assert main(["latents", "--out", str(trained), "--size", "tiny"]) == 0
    assert before == {path: path.read_bytes() for path in (trained / "en" / "latents").rglob("*.safetensors")}


def test_latents_of_speech_that_grew_are_those_of_all_of_it(out, tmp_path):
    shutil.copytree(out, tmp_path / "run")
    language = tmp_path / "run" / "en"
    kept = (language / "latents" / "held_out" / "000.safetensors").stat().st_mtime_ns
    write_shard(language / "speech" / "train" / "00001.safetensors", [tone(2, 0.6)])
    assert main(["latents", "--out", str(tmp_path / "run"), "--size", "tiny"]) == 0
    latents = read_latents(language / "latents" / "train")
    assert latents.numbers.tolist() == [0, 1, 2] and latents.starts.tolist() == [0, 6, 15, 19]
    assert (language / "latents" / "held_out" / "000.safetensors").stat().st_mtime_ns == kept
    assert vae_trainee(tmp_path / "run") is not None  # takes speech and latents for the same


def test_latents_of_other_speech_are_refused(trained):
    speech, latents = (
        read_speech(trained / "en" / "speech" / "train"),
        read_latents(trained / "en" / "latents" / "train"),
    )
    other = replace(latents, patches=latents.patches[1:])
    with pytest.raises(ValueError, match="latents are of other speech"):
        VaeTrainee(CONFIG.vae, VaeRecipe(steps=1, batch=1), {"en": (speech, other)}, {"en": (speech, latents)}, CPU)


@pytest.mark.parametrize(("storage", "error"), [("float32", 0), ("float16", 2e-3), ("int8", 2e-2)])
def test_the_server_speaks_with_what_was_trained(trained, storage, error):
    folder = trained / storage
    assert main(["export", "--out", str(trained), "--size", "tiny", "--storage", storage, "--folder", str(folder)]) == 0
    engine = VoxCPMEngine.load(folder, threads=1)
    assert engine.info.trained and engine.info.sample_rate_hz == 16_000 and engine.info.languages == ("en",)
    unit = engine.start(SpeakRequest(text="He came.", seed=1, options=Options(steps=2, max_audio_ms=640)))
    pcm = []
    while not unit.done:
        pcm += [step.pcm for step in engine.step([unit]) if step.pcm is not None]
    audio = np.concatenate(pcm)
    assert len(audio) == 640 * 16 and np.isfinite(audio).all() and np.abs(audio).max() > 0
    averaged = model_tensors(load_state(trained / "lm")["trainee"])
    worst = max(float((engine.model.lm.embedding - averaged["base_lm.embed_tokens.weight"]).abs().max()), 0)
    assert worst <= error


def test_the_language_models_say_the_corpus_for_the_decoder(trained, tmp_path):
    folder = tmp_path / "checkpoint"
    common = ["--out", str(trained), "--size", "tiny"]
    assert main(["export", *common, "--folder", str(folder)]) == 0
    assert main(["say", *common, "--folder", str(folder), "--sentences", "1"]) == 0
    said = read_said(trained)
    engine = VoxCPMEngine.load(folder, threads=1)
    patches = latents_of_text(engine, TEXTS[0], 0)
    assert torch.equal(said, patches.flatten(0, 1).half()) and said.shape[1] == CONFIG.latent_dim
    assert float((said[:4].float() - latents_of_text(engine, TEXTS[0], 1)[0]).abs().max()) > 1e-3  # of its own seed
    (trained / SAID_FILE).unlink()
    assert read_said(trained) is None


def test_a_slim_checkpoint_goes_on(trained, tmp_path):
    """On a machine that has the corpus and the speech, and nothing else."""
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


def test_a_run_begins_where_an_exported_checkpoint_stands(trained, tmp_path, capsys):
    """Its own files are gone: what is left are the corpus, the teacher, and what was shipped."""
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
    kept = read_checkpoint(exported)
    for name, tensors, prefix in (("lm", kept.model, "model."), ("vae", kept.vae, "")):
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


def test_a_stage_without_the_one_before_says_so(tmp_path, capsys):
    for stage, before in (("vae", "latents"), ("lm", "latents"), ("latents", "teacher")):
        assert main([stage, "--out", str(tmp_path), "--size", "tiny"]) == 1
        assert f"run the stage `{before}`" in capsys.readouterr().err
    assert main(["export", "--out", str(tmp_path), "--size", "tiny"]) == 1
    assert "run the stage that makes it first" in capsys.readouterr().err
