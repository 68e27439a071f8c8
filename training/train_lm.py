"""Fifth stage: the language models and the flow learn to say text in the latents. Knows nothing of sound."""

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

Material = Mapping[str, tuple[Latents, Script]]
"""By language: speech, and what is said in it."""

LOUDEST_GRADIENT = 1.0
EXAMINED_SENTENCES = 64
EXAMINED_STEP = 10**9  # a seed that no step has


@dataclass(frozen=True, slots=True)
class LmRecipe:
    """How the language models are trained.

    Attributes:
        batch: sentences to a step.
        joined_share: see `batches.Plan`.
    """

    steps: int
    batch: int
    objective: Objective = Objective()
    rate: float = 1e-3
    decay: float = 0.01
    joined_share: float = 0.2
    average_decay: float = 0.999
    seed: int = 0


class LmTrainee:
    """The model, as `loop.train` wants it.

    Args:
        heard: what to learn from, by language.
        held_out: to examine with, each language by itself.
    """

    def __init__(
        self,
        config: VoxCPMConfig,
        recipe: LmRecipe,
        heard: Material,
        held_out: Material,
        device: torch.device,
    ) -> None:
        self.recipe, self.device = recipe, device
        latents = latents_stage.joined([latents for latents, _ in heard.values()])
        self.latents, self.script = latents.to(device), script.joined([script for _, script in heard.values()])
        torch.manual_seed(recipe.seed)
        self.lesson = Lesson(VoxCPM(config, recipe.seed), latents.labels.shape[1]).to(device)
        self.average = Average.of(self.lesson, recipe.average_decay)
        self.optimizer = adam(self.lesson.parameters(), recipe.rate, (0.9, 0.98), recipe.decay)
        self.updates = 0
        lengths = tuple(tuple(own.starts.diff().tolist()) for own, _ in heard.values())
        self.plan = Plan(lengths, min(recipe.batch, len(latents)), recipe.joined_share, recipe.seed)
        self.examined = {name: _some(own.to(device), said) for name, (own, said) in held_out.items()}

    def compile(self) -> None:
        """Fuse what is computed between the products of matrices: minutes at first, a fifth off each step after."""
        torch._dynamo.config.recompile_limit = (
            32  # of four stacks, causal or not, looked at or not, and their gradients
        )
        for module in self.lesson.modules():
            if isinstance(module, Layer):
                module.compile(dynamic=True)

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Learn from one batch."""
        recipe = self.recipe
        set_rate(self.optimizer, recipe.rate * rate_at(number, recipe.steps, self.updates))
        self.updates += 1
        batch = collate(self.plan.groups(number), self.script, self.latents)
        losses = self._losses(self.lesson, batch, generator(recipe.seed, number, self.device))
        self.optimizer.zero_grad(set_to_none=True)
        total(losses, recipe.objective, number).backward()
        torch.nn.utils.clip_grad_norm_(self.lesson.parameters(), LOUDEST_GRADIENT)
        self.optimizer.step()
        self.average.add(self.lesson, number)
        return losses

    @torch.no_grad()
    def examine(self, number: int) -> Mapping[str, float]:
        """The averaged model on held-out speech."""
        lesson = Lesson(VoxCPM(self.lesson.model.config), self.lesson.slots).to(self.device)
        lesson.load_state_dict(self.average.tensors)
        found: dict[str, float] = {}
        for language, batch in self.examined.items():
            losses = self._losses(lesson, batch, generator(self.recipe.seed, EXAMINED_STEP, self.device))
            found |= {f"held_out_{name}_{language}": float(value) for name, value in losses.items()}
        return found

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
        if "optimizer" in state:  # a slim checkpoint has none
            self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state.get("updates", 0)

    def _losses(self, lesson: Lesson, batch: Batch, drawn: torch.Generator) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=multiplies_bfloat16(self.device)):
            return lesson.losses(batch, self.recipe.objective, drawn)


def _some(latents: Latents, said: Script) -> Batch:
    apart = max(1, len(latents) // EXAMINED_SENTENCES)
    return collate([[sentence] for sentence in range(0, len(latents), apart)][:EXAMINED_SENTENCES], said, latents)


def recipe_for(device: torch.device, objective: Objective, **given: Any) -> LmRecipe:
    """The recipe for a device, with what is given in its place; None gives nothing."""
    usual = {"steps": 15_000, "batch": 256} if device.type == "cuda" else {"steps": 60_000, "batch": 16}
    chosen = {name: value for name, value in given.items() if value is not None}
    return LmRecipe(**{**usual, **chosen}, objective=objective)


def model_tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The averaged model of a saved state, by published name; the second teacher's head is left behind."""
    prefix = "model."
    return {name.removeprefix(prefix): t for name, t in state["average"].items() if name.startswith(prefix)}
