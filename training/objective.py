"""What the language models and the flow learn by. Knows no optimizer and no file.

Conditional flow matching (arXiv 2210.02747) on each patch, given all before it; the stop head; and a second teacher,
who knows what is said when. It has two heads of the base model look at the sounds that come next, so that hidden states
know where in the text they are; and from what the flow is told about a patch, a linear head that is dropped at export
must read the sounds of that patch, so that they know what to say there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.batches import Batch
from training.model import VoxCPM

SOUNDS = 178
"""Labels of the teacher's alphabet, silence among them."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Weights and probabilities.

    Attributes:
        flow_samples: noisy versions of each patch; more of them cost the flow alone.
        unguided_share: of the patches, those whose flow is not told the wish, for guidance.
        history_noise: most that is added to the patches heard so far, which at inference have errors too.
        looks_weight, sounds_weight: of the second teacher at first; fall to `floor` of it until `teacher_steps`.
    """

    flow_samples: int = 1
    unguided_share: float = 0.12
    history_noise: float = 0.25
    stop_weight: float = 0.5
    looks_weight: float = 0.5
    sounds_weight: float = 1.0
    floor: float = 0.1
    teacher_steps: int = 6_000

    def teacher_weight_at(self, step: int) -> float:
        """What the second teacher's weights are multiplied by: falls in a straight line."""
        part = min(1.0, step / self.teacher_steps) if self.teacher_steps else 1.0
        return 1 - part * (1 - self.floor)


class Lesson(nn.Module):
    """The model and the head of the second teacher."""

    def __init__(self, model: VoxCPM, slots: int) -> None:
        super().__init__()
        self.model = model
        self.slots = slots
        self.sounds = nn.Linear(model.config.local_dit.hidden, slots * SOUNDS)

    def losses(self, batch: Batch, objective: Objective, drawn: torch.Generator) -> dict[str, Tensor]:
        """`flow`, `stop`, `looks`, `sounds`, as numbers, and the two shares `sounds_right` and `stops_right`."""
        model = self.model
        heard = self._noisy_history(batch, objective.history_noise, drawn)
        wishes = model.wishes(batch.tokens, batch.at, heard)
        wish = model.condition(wishes)
        before = torch.where(batch.first.view(-1, 1, 1), 0.0, heard.roll(1, 0))
        logits = self.sounds(wish).float().unflatten(1, (self.slots, SOUNDS))  # [N, slots, SOUNDS]
        ending = model.stop_logits(wishes)
        return {
            "flow": self._flow_loss(batch.patches, wish, before, objective, drawn),
            "stop": functional.cross_entropy(ending, batch.last.long()),
            "looks": unseen(wishes.looks, batch.places),
            "sounds": functional.cross_entropy(logits.transpose(1, 2), batch.labels),
            "sounds_right": (logits.argmax(2) == batch.labels).float().mean(),
            "stops_right": (ending.argmax(1) * batch.last).sum() / batch.last.sum(),
        }

    def _noisy_history(self, batch: Batch, most: float, drawn: torch.Generator) -> Tensor:
        """The patches as the model hears them, each sequence with noise of its own strength."""
        device = batch.patches.device
        strength = most * torch.rand(batch.tokens.shape[0], 1, 1, generator=drawn, device=device)
        noise = torch.randn(batch.patches.shape, generator=drawn, device=device)
        return batch.patches + strength[batch.row] * noise

    def _flow_loss(
        self, patches: Tensor, wish: Tensor, before: Tensor, objective: Objective, drawn: torch.Generator
    ) -> Tensor:
        """Mean squared error of the velocity, noise minus speech, at random times."""
        samples, device = objective.flow_samples, patches.device
        patches, wish, before = (part.repeat(samples, *[1] * (part.dim() - 1)) for part in (patches, wish, before))
        times = flow_times(len(patches), drawn, device)
        told = torch.rand(len(patches), 1, generator=drawn, device=device) >= objective.unguided_share
        noise = torch.randn(patches.shape, generator=drawn, device=device)
        at = times.view(-1, 1, 1)
        found = self.model.velocity((1 - at) * patches + at * noise, times, wish * told, before)
        return functional.mse_loss(found, noise - patches)


def total(losses: Mapping[str, Tensor], objective: Objective, step: int) -> Tensor:
    """What is minimised."""
    taught = objective.looks_weight * losses["looks"] + objective.sounds_weight * losses["sounds"]
    return losses["flow"] + objective.stop_weight * losses["stop"] + objective.teacher_weight_at(step) * taught


def unseen(looks: Tensor, places: Tensor) -> Tensor:
    """Minus the logarithm of the attention that the sounds of a patch have together, mean over patches and heads."""
    said = torch.zeros_like(looks[:, 0]).scatter_(1, places, 1.0)  # [N, S]
    return -(looks * said.unsqueeze(1)).sum(2).clamp_min(1e-6).log().mean()


def flow_times(count: int, drawn: torch.Generator, device: torch.device) -> Tensor:
    """Times `[count]`, 1 for noise and 0 for speech: half logistic-normal, as the published models, half even.

    The solver's grid is densest near noise, where a logistic normal alone hardly ever falls.
    """
    usual = torch.sigmoid(torch.randn(count, generator=drawn, device=device))
    even = torch.rand(count, generator=drawn, device=device)
    coin = torch.rand(count, generator=drawn, device=device) < 0.5
    return torch.where(coin, usual, even)
