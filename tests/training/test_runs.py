"""Training runs: the losses decrease, and interrupted runs resume with identical results."""

import json
import signal

import pytest
import torch

from tests.support.training_material import CONFIG, CPU, ready, vae_trainee
from training.latents import Latents, read_latents
from training.loop import Budget, draw_log, load_state, read_log, train
from training.objective import Objective
from training.script import Script
from training.shards import read_speech
from training.train_lm import LmRecipe, LmTrainee
from training.train_vae import VaeRecipe, VaeTrainee


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return ready(tmp_path_factory.mktemp("training"))


def lm_trainee(**given):
    shape = (14, CONFIG.patch_frames, CONFIG.latent_dim)
    patches = torch.randn(shape, generator=torch.Generator().manual_seed(0)).half()
    labels = torch.arange(14 * 8).view(14, 8).div(3, rounding_mode="floor").to(torch.uint8)
    latents = Latents(patches, labels, torch.tensor([0, 6, 14]), torch.arange(2))
    places = torch.arange(14).view(14, 1).expand(14, 8).div(6, rounding_mode="floor")
    script = Script([[5, 9, 12], [7, 30, 8, 6]], places, torch.arange(14).remainder(3).view(14, 1).expand(14, 8) - 1)
    recipe = LmRecipe(**{"steps": 20, "batch": 2, "objective": Objective(2, teacher_steps=1000), **given})
    return LmTrainee(CONFIG, recipe, {"en": (latents, script)}, {"en": (latents, script)}, CPU)


BUDGET = Budget(steps=8, log_steps=1, examine_steps=4)


@pytest.mark.parametrize("kind", ["vae", "lm"])
def test_resumed_run_equals_uninterrupted_run(out, tmp_path, kind):
    def made():
        return vae_trainee(out, adversary_from=2) if kind == "vae" else lm_trainee()

    train(made(), tmp_path / "whole", BUDGET, kind)
    assert train(made(), tmp_path / "parts", Budget(3, log_steps=1, examine_steps=4), kind) == 3
    # A killed run may have logged steps after its last saved state.
    with (tmp_path / "parts" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 4, "flow": 99.0}) + "\n")
    assert train(made(), tmp_path / "parts", BUDGET, kind) == 8
    whole, parts = read_log(tmp_path / "whole"), read_log(tmp_path / "parts")
    # Step 3, where the first part ended, has an additional evaluation; all other lines must be equal.
    assert [{k: v for k, v in line.items() if line["step"] != 3} for line in whole] == [
        {k: v for k, v in line.items() if line["step"] != 3} for line in parts
    ]
    left, right = (load_state(tmp_path / name)["trainee"]["average"] for name in ("whole", "parts"))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_vae_losses_decrease(out, tmp_path):
    trainee = vae_trainee(out, early_rate=5e-3, adversary_from=1000, steps=40)
    before = trainee.examine(0)["held_out_spectra_en"]
    train(trainee, tmp_path / "run", Budget(40, log_steps=5, examine_steps=40), "vae")
    lines = read_log(tmp_path / "run")
    assert lines[-1]["held_out_spectra_en"] < 0.75 * before
    assert lines[-1]["spectra"] < 0.75 * lines[0]["spectra"]
    assert (draw_log(tmp_path / "run", "vae") is None) or (tmp_path / "run" / "curves.png").stat().st_size > 1000


def test_discriminator_loss_decreases(out):
    trainee = vae_trainee(out, adversary_from=0)
    first = trainee.step(0)
    for number in range(1, 19):  # the last step uses the same discriminators as step 0
        last = trainee.step(number)
    assert set(last) == {"spectra", "levels", "silence", "phase", "jury", "fooled", "features"}
    assert last["jury"].detach() < first["jury"].detach()


def test_untrained_discriminators_do_not_affect_the_vae(out):
    """During `jury_silence` the discriminators are trained but do not affect the VAE."""
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


def test_generated_latents_are_used_by_the_discriminators_only(out):
    """Generated latents change the discriminator and adversarial losses, but not the reconstruction losses."""
    speech, latents = read_speech(out / "en" / "speech" / "train"), read_latents(out / "en" / "latents" / "train")
    recipe = VaeRecipe(
        steps=30, batch=2, segment_frames=8, jury_width=2, adversary_from=1, jury_silence=0, history_frames=2
    )
    said = 0.5 * torch.randn(40, CONFIG.latent_dim, generator=torch.Generator().manual_seed(0)).half()
    plain, other = (
        VaeTrainee(CONFIG.vae, recipe, {"en": (speech, latents)}, {"en": (speech, latents)}, CPU, known)
        for known in (None, said)
    )
    first, same = plain.step(0), other.step(0)
    assert all(torch.equal(first[name], same[name]) for name in first)  # before the discriminators are in use
    second, more = plain.step(1), other.step(1)
    assert torch.equal(second["spectra"], more["spectra"]) and torch.equal(second["levels"], more["levels"])
    assert not torch.equal(second["jury"], more["jury"]) and not torch.equal(second["fooled"], more["fooled"])
    with pytest.raises(ValueError, match="5 frames of speech are too few"):
        VaeTrainee(CONFIG.vae, recipe, {"en": (speech, latents)}, {"en": (speech, latents)}, CPU, said[:5])


def test_language_model_losses_decrease(tmp_path):
    trainee = lm_trainee(steps=250, rate=5e-3, joined_share=0.0, objective=Objective(2, 0.0, 0.0, teacher_steps=10_000))
    train(trainee, tmp_path, Budget(250, log_steps=10, examine_steps=250), "lm")
    lines = read_log(tmp_path)
    assert lines[-1]["flow"] < 0.7 * lines[0]["flow"]
    assert lines[-1]["sounds_right"] > 0.9 > 0.3 > lines[0]["sounds_right"]
    assert lines[-1]["stops_right"] == 1.0


def test_interrupted_run_saves_its_state_and_ends(tmp_path):
    class Interrupting:
        """A trainee that raises SIGINT in its third step."""

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


def test_run_ends_when_its_minutes_are_used(tmp_path, out):
    assert train(vae_trainee(out), tmp_path / "run", Budget(10**6, minutes=0.02), "vae") < 10**5
    assert (tmp_path / "run" / "state.pt").exists()
