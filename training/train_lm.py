"""Stage `lm`: trains the language models and the flow decoder to predict latent patches from text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from intone.server.engines.voxcpm.config import VoxCPMConfig
from training import latents as latents_stage
from training import script
from training.batches import Batch, Plan, collate
from training.latents import Latents
from training.loop import generator
from training.model import VoxCPM
from training.objective import Lesson, Objective, total
from training.optimizing import Average, adam, multiplies_bfloat16, rate_at, set_rate
from training.script import Script
from training.transformer import Layer

Dataset = Mapping[str, tuple[Latents, Script]]
"""By language: speech as latents, with its text and alignment."""

MAX_GRADIENT_NORM = 1.0
VALIDATION_SENTENCES = 64
"""Held-out sentences per language that `LmTrainee.examine` evaluates."""
VALIDATION_STEP = 10**9
"""Step number that seeds the noise of the evaluation; no training step has it."""


@dataclass(frozen=True, slots=True)
class LmRecipe:
    """Hyperparameters of the language models' training.

    Attributes:
        steps: total number of steps, for the learning-rate schedule.
        batch: sentences per step.
        rate, decay: peak learning rate and weight decay of AdamW.
        joined_share: see `batches.Plan`.
        speakers: number of speakers, see `batches.Plan`.
        average_decay: see `optimizing.Average`.
        seed: of weights, batches and noise.
    """

    steps: int
    batch: int
    objective: Objective = Objective()
    rate: float = 1e-3
    decay: float = 0.01
    joined_share: float = 0.2
    speakers: int = 0
    average_decay: float = 0.999
    seed: int = 0


class LmTrainee:
    """Model, optimizer and data of the stage `lm`; see `loop.Trainee`.

    Args:
        train: training data.
        held_out: data to evaluate on, separately for each language.
    """

    def __init__(
        self,
        config: VoxCPMConfig,
        recipe: LmRecipe,
        train: Dataset,
        held_out: Dataset,
        device: torch.device,
    ) -> None:
        self.recipe, self.device = recipe, device
        latents = latents_stage.concatenated([latents for latents, _ in train.values()])
        self.latents, self.script = latents.to(device), script.concatenated([script for _, script in train.values()])
        torch.manual_seed(recipe.seed)
        self.lesson = Lesson(VoxCPM(config, recipe.seed), latents.labels.shape[1]).to(device)
        self.average = Average.of(self.lesson, recipe.average_decay)
        self.optimizer = adam(self.lesson.parameters(), recipe.rate, (0.9, 0.98), recipe.decay)
        self.updates = 0
        lengths = tuple(tuple(part.starts.diff().tolist()) for part, _ in train.values())
        speakers = (latents.numbers % recipe.speakers).tolist() if recipe.speakers else None
        self.plan = Plan(lengths, min(recipe.batch, len(latents)), recipe.joined_share, recipe.seed, speakers)
        self.validation = {name: sample(part.to(device), texts) for name, (part, texts) in held_out.items()}

    def compile(self) -> None:
        """Compile the layers, which fuses pointwise operations: takes minutes once and saves a fifth of each step."""
        # Four stacks, causal or not, with or without attention weights, forward and backward.
        torch._dynamo.config.recompile_limit = 32
        for module in self.lesson.modules():
            if isinstance(module, Layer):
                module.compile(dynamic=True)

    def step(self, number: int) -> Mapping[str, Tensor]:
        """See `loop.Trainee`; the metrics are those of `Lesson.losses`."""
        recipe = self.recipe
        set_rate(self.optimizer, recipe.rate * rate_at(number, recipe.steps, self.updates))
        self.updates += 1
        batch = collate(self.plan.groups(number), self.script, self.latents)
        losses = self._losses(self.lesson, batch, generator(recipe.seed, number, self.device))
        self.optimizer.zero_grad(set_to_none=True)
        total(losses, recipe.objective, number).backward()
        torch.nn.utils.clip_grad_norm_(self.lesson.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.average.add(self.lesson, number)
        return losses

    @torch.no_grad()
    def examine(self, number: int) -> Mapping[str, float]:
        """See `loop.Trainee`; evaluates the averaged weights, with log keys `held_out_NAME_LANGUAGE`."""
        lesson = Lesson(VoxCPM(self.lesson.model.config), self.lesson.slots).to(self.device)
        lesson.load_state_dict(self.average.tensors)
        metrics: dict[str, float] = {}
        for language, batch in self.validation.items():
            losses = self._losses(lesson, batch, generator(self.recipe.seed, VALIDATION_STEP, self.device))
            metrics |= {f"held_out_{name}_{language}": float(value) for name, value in losses.items()}
        return metrics

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee`."""
        return {
            "lesson": self.lesson.state_dict(),
            "average": self.average.tensors,
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `loop.Trainee`."""
        self.lesson.load_state_dict(state["lesson"])
        self.average.load(state["average"])
        if "optimizer" in state:  # absent from slim and exported checkpoints
            self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state.get("updates", 0)

    def _losses(self, lesson: Lesson, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=multiplies_bfloat16(self.device)):
            return lesson.losses(batch, self.recipe.objective, generator)


def sample(latents: Latents, texts: Script) -> Batch:
    """`VALIDATION_SENTENCES` sentences at even intervals, as one batch."""
    stride = max(1, len(latents) // VALIDATION_SENTENCES)
    return collate([[sentence] for sentence in range(0, len(latents), stride)][:VALIDATION_SENTENCES], texts, latents)


def recipe_for(device: torch.device, objective: Objective, **overrides: Any) -> LmRecipe:
    """The default recipe for a device, with those of `overrides` that are not None."""
    defaults = {"steps": 15_000, "batch": 256} if device.type == "cuda" else {"steps": 60_000, "batch": 16}
    chosen = {name: value for name, value in overrides.items() if value is not None}
    return LmRecipe(**{**defaults, **chosen}, objective=objective)


def model_tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The averaged weights in a saved state, by published name and without the probes."""
    prefix = "model."
    return {name.removeprefix(prefix): t for name, t in state["average"].items() if name.startswith(prefix)}
