"""Stage `distil`: trains the flow decoder to need few evaluations and no guidance.

The flow decoder of a trained model, with guidance and many steps, is the teacher: from the same noise and condition its
solution is deterministic. The student, which starts with the same weights, learns the mean velocity of that solution
over each of a few long steps (progressive distillation, arXiv 2202.00512, of the guided velocity, arXiv 2210.03142).
All other weights stay as they are. The student is used with the server's solver as it is, so the first step of its grid
has no evaluation; its checkpoint has one more step than evaluations, and a guidance scale of 1.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.voxcpm.config import VoxCPMConfig
from training import latents as latents_stage
from training import script
from training.batches import Batch, Plan, collate
from training.loop import generator
from training.model import Estimator, VoxCPM
from training.optimizing import Average, adam, multiplies_bfloat16, rate_at, set_rate
from training.train_lm import MAX_GRADIENT_NORM, VALIDATION_STEP, Dataset, sample

FOLDER = "flow"
"""Folder of the run."""

EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class DistilRecipe:
    """Hyperparameters of the distillation.

    Attributes:
        evaluations: evaluations of the student per patch.
        teacher_steps, guidance: of the teacher's solver; an evaluation of the student replaces
            `2 · (teacher_steps - 1) / evaluations` of the teacher.
        temperature: standard deviation of the noise, as served.
        patches: maximum number of patches of a batch that are used; the language models see all of them.
    """

    steps: int
    batch: int
    temperature: float
    evaluations: int = 2
    teacher_steps: int = 20
    guidance: float = 2.0
    patches: int = 1024
    rate: float = 3e-4
    average_decay: float = 0.999
    seed: int = 0


def solver_times(steps: int) -> list[float]:
    """Times of the server's solver, `steps` values from near 1 (noise) to 0 (speech).

    Its first step has zero velocity, so the noise counts as the state at the first of these times.
    """
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    times: list[float] = (2 * even - 1 + torch.cos(torch.pi / 2 * even)).tolist()
    return times[1:]


@dataclass(frozen=True, slots=True)
class Flow:
    """The flow of N patches: estimator, condition `[N, H]` and previous patches `[N, P, D]`."""

    estimator: Estimator
    condition: Tensor
    previous: Tensor

    def velocity(self, x: Tensor, time: float, guidance: float = 1.0) -> Tensor:
        """Velocity at `x` `[N, P, D]`, with the guidance of the server (CFG-Zero*, arXiv 2503.18886)."""
        times = torch.full((len(x),), time, device=x.device)
        if guidance == 1:
            result: Tensor = self.estimator(x, times, self.condition, self.previous)
            return result
        both = torch.cat((self.condition, torch.zeros_like(self.condition)))
        found = self.estimator(x.repeat(2, 1, 1), times.repeat(2), both, self.previous.repeat(2, 1, 1))
        conditional, plain = found.chunk(2)
        overlap = (conditional * plain).sum((1, 2), keepdim=True)
        plain = plain * (overlap / (plain.square().sum((1, 2), keepdim=True) + EPSILON))
        guided: Tensor = plain + guidance * (conditional - plain)
        return guided

    def solve(self, x: Tensor, times: list[float], guidance: float = 1.0) -> Tensor:
        """Integrate `x` from the first of `times` to the last."""
        for time, after in zip(times, times[1:], strict=False):
            x = x - (time - after) * self.velocity(x, time, guidance)
        return x


class DistilTrainee:
    """The student and its data; see `loop.Trainee`.

    Args:
        model: the trained model; not changed.
        train, held_out: training and evaluation data by language.
    """

    def __init__(
        self, model: VoxCPM, recipe: DistilRecipe, train: Dataset, held_out: Dataset, device: torch.device
    ) -> None:
        self.recipe, self.device = recipe, device
        self.model = model.to(device).requires_grad_(False)
        self.student = deepcopy(model.feat_decoder.estimator).requires_grad_(True)
        self.average = Average.of(self.student, recipe.average_decay)
        self.optimizer = adam(self.student.parameters(), recipe.rate, (0.9, 0.98), 0.0)
        self.updates = 0
        latents = latents_stage.concatenated([part for part, _ in train.values()])
        self.latents, self.script = latents.to(device), script.concatenated([text for _, text in train.values()])
        lengths = tuple(tuple(part.starts.diff().tolist()) for part, _ in train.values())
        self.plan = Plan(lengths, min(recipe.batch, len(latents)), 0.0, recipe.seed)
        self.validation = {name: sample(part.to(device), texts) for name, (part, texts) in held_out.items()}

    def step(self, number: int) -> Mapping[str, Tensor]:
        """See `loop.Trainee`; `distance` is the loss relative to the variance of the teacher's velocity."""
        recipe = self.recipe
        set_rate(self.optimizer, recipe.rate * rate_at(number, recipe.steps, self.updates))
        self.updates += 1
        batch = collate(self.plan.groups(number), self.script, self.latents)
        losses = self._losses(self.student, batch, generator(recipe.seed, number, self.device))
        self.optimizer.zero_grad(set_to_none=True)
        losses["distance"].backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.average.add(self.student, number)
        return losses

    @torch.no_grad()
    def examine(self, number: int) -> Mapping[str, float]:
        """Evaluate the averaged student: as `step`, and `patch`, the relative squared error of whole solutions."""
        student = deepcopy(self.student)
        student.load_state_dict(self.average.tensors)
        metrics: dict[str, float] = {}
        for language, batch in self.validation.items():
            drawn = generator(self.recipe.seed, VALIDATION_STEP, self.device)
            losses = self._losses(student, batch, drawn, with_patches=True)
            metrics |= {f"held_out_{name}_{language}": float(value) for name, value in losses.items()}
        return metrics

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee`."""
        return {
            "student": self.student.state_dict(),
            "average": self.average.tensors,
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            "evaluations": self.recipe.evaluations,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `loop.Trainee`.

        Raises:
            ValueError: the state is of another number of evaluations.
        """
        if state["evaluations"] != self.recipe.evaluations:
            raise ValueError(f"the run has {state['evaluations']} evaluations instead of {self.recipe.evaluations}")
        self.student.load_state_dict(state["student"])
        self.average.load(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]

    def _losses(
        self, student: Estimator, batch: Batch, drawn: torch.Generator, with_patches: bool = False
    ) -> dict[str, Tensor]:
        recipe = self.recipe
        with torch.autocast(self.device.type, torch.bfloat16, enabled=multiplies_bfloat16(self.device)):
            condition, previous = self._conditions(batch, drawn)
            noise = recipe.temperature * torch.randn(previous.shape, generator=drawn, device=self.device)
            teacher = Flow(self.model.feat_decoder.estimator, condition, previous)
            own = Flow(student, condition, previous)
            times = solver_times(recipe.evaluations + 1)
            x, total, scale = noise, noise.new_zeros(()), noise.new_zeros(())
            for time, after in zip(times, times[1:], strict=False):
                with torch.no_grad():
                    reached = teacher.solve(x, self._teacher_times(time, after), recipe.guidance)
                wanted = (x - reached) / (time - after)
                total = total + functional.mse_loss(own.velocity(x, time), wanted)
                scale = scale + wanted.var()
                x = reached
            losses = {"distance": total / scale}
            if with_patches:
                losses["patch"] = functional.mse_loss(own.solve(noise, times), x) / x.var()
        return losses

    @torch.no_grad()
    def _conditions(self, batch: Batch, drawn: torch.Generator) -> tuple[Tensor, Tensor]:
        """Condition and previous patch of up to `patches` random patches of a batch."""
        condition = self.model.condition(self.model.hidden_states(batch.tokens, batch.positions, batch.patches))
        previous = torch.where(batch.first.view(-1, 1, 1), 0.0, batch.patches.roll(1, 0))
        chosen = torch.randperm(len(condition), generator=drawn, device=self.device)[: self.recipe.patches]
        return condition[chosen], previous[chosen]

    def _teacher_times(self, time: float, after: float) -> list[float]:
        """The times of the teacher's grid between `time` and `after`, and these two.

        In place of the student's first time, which is far from noise, they begin with the teacher's.
        """
        grid = solver_times(self.recipe.teacher_steps)
        is_first = time == solver_times(self.recipe.evaluations + 1)[0]
        return [
            *([] if is_first else [time]),
            *(one for one in grid if after < one and (is_first or one < time)),
            after,
        ]


def recipe_for(device: torch.device, config: VoxCPMConfig, **overrides: Any) -> DistilRecipe:
    """The default recipe for a device, with those of `overrides` that are not None."""
    defaults = {"steps": 4_000, "batch": 128} if device.type == "cuda" else {"steps": 6_000, "batch": 8, "patches": 64}
    chosen = {name: value for name, value in overrides.items() if value is not None}
    return DistilRecipe(**{**defaults, **chosen}, temperature=config.temperature)


def distilled(
    document: Mapping[str, Any], model: Mapping[str, Tensor], state: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """`config.json` and weights of a model with the flow decoder of a distilled run's `state`."""
    prefix = "feat_decoder.estimator."
    steps = {"inference_timesteps": state["evaluations"] + 1, "guidance": 1.0}
    return {**document, **steps}, {**model, **{prefix + name: tensor for name, tensor in state["average"].items()}}
