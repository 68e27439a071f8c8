"""Distillation of the flow decoder: few evaluations without guidance reach what many with guidance do."""

import json
import shutil

import pytest
import torch

from intone.server.engines.voxcpm.weights import CONFIG_FILE, read_checkpoint
from tests.support.training_material import CONFIG, CPU, ready
from training.__main__ import main
from training.distil import DistilRecipe, DistilTrainee, Flow, solver_times
from training.latents import Latents
from training.loop import Budget, load_state, read_log, train
from training.model import VoxCPM
from training.script import NOT_REPEATED, Script


def trainee(**given):
    """Six sentences of random patches and an untrained model."""
    patches = torch.randn(30, CONFIG.patch_frames, CONFIG.latent_dim, generator=torch.Generator().manual_seed(0)).half()
    labels, starts = torch.ones(30, 8, dtype=torch.uint8), torch.arange(0, 31, 5)
    data = {
        "en": (
            Latents(patches, labels, starts, torch.arange(6)),
            Script([[5, 9, n] for n in range(6)], torch.zeros(30, 8), torch.full((30, 8), NOT_REPEATED)),
        )
    }
    recipe = DistilRecipe(**{"steps": 60, "batch": 4, "temperature": 0.6, "rate": 3e-3, "teacher_steps": 12, **given})
    return DistilTrainee(VoxCPM(CONFIG, seed=1), recipe, data, data, CPU)


@pytest.mark.parametrize("evaluations", [1, 2])
def test_student_approaches_the_guided_solution(tmp_path, evaluations):
    found = trainee(evaluations=evaluations)
    before = {name: tensor.clone() for name, tensor in found.model.state_dict().items()}
    first = found.examine(0)["held_out_patch_en"]
    train(found, tmp_path, Budget(60, log_steps=60, examine_steps=60), "flow")
    assert read_log(tmp_path)[-1]["held_out_patch_en"] < 0.6 * first
    assert all(torch.equal(before[name], tensor) for name, tensor in found.model.state_dict().items())


def test_teacher_covers_all_its_steps():
    """The student's steps together take every step of the teacher's solver, from its first time to 0."""
    found = trainee(evaluations=3)
    times, grid = solver_times(4), solver_times(12)
    parts = [found._teacher_times(*pair) for pair in zip(times, times[1:], strict=False)]
    joined = [time for part in parts for time in part]
    assert set(grid) <= set(joined) and joined == sorted(joined, reverse=True) and len(set(joined)) == len(joined) - 2
    assert joined[0] == grid[0] and joined[-1] == pytest.approx(0, abs=1e-9)


def test_guidance_of_one_is_the_conditional_velocity():
    model = VoxCPM(CONFIG, seed=1)
    generator = torch.Generator().manual_seed(0)
    x, previous = (torch.randn(3, CONFIG.patch_frames, CONFIG.latent_dim, generator=generator) for _ in range(2))
    condition = torch.randn(3, CONFIG.local_dit.hidden, generator=generator)
    flow = Flow(model.feat_decoder.estimator, condition, previous)
    with torch.no_grad():
        plain, close, guided = (flow.velocity(x, 0.5, guidance) for guidance in (1.0, 1.0 + 1e-6, 2.0))
    torch.testing.assert_close(plain, close, atol=1e-4, rtol=0)
    assert (guided - plain).abs().max() > 1e-3


def test_state_of_another_number_of_evaluations_is_an_error():
    with pytest.raises(ValueError, match="2 evaluations instead of 1"):
        trainee(evaluations=1).restore(trainee(evaluations=2).state())


def test_distilled_flow_is_exported(tmp_path):
    """The checkpoint has the student's weights, one step more than evaluations, and no guidance."""
    out = ready(tmp_path)
    few = ["--out", str(out), "--size", "tiny", "--steps", "2", "--batch", "1"]
    for arguments in (["vae", *few, "--jury-width", "2"], ["lm", *few], ["distil", *few, "--evaluations", "3"]):
        assert main(arguments) == 0
    exported = [*few[:4], "--storage", "float32", "--folder", str(tmp_path / "checkpoint")]
    assert main(["export", *exported]) == 0
    document = json.loads((tmp_path / "checkpoint" / CONFIG_FILE).read_text())
    assert document["inference_timesteps"] == 4 and document["guidance"] == 1.0
    student = load_state(out / "flow")["trainee"]["average"]
    model = read_checkpoint(tmp_path / "checkpoint").model
    assert all(torch.equal(model[f"feat_decoder.estimator.{name}"], tensor) for name, tensor in student.items())
    shutil.rmtree(out / "flow")
    assert main(["export", *exported]) == 0
    assert json.loads((tmp_path / "checkpoint" / CONFIG_FILE).read_text())["inference_timesteps"] == 20
