"""Training losses of the language models and the flow decoder.

Main losses: conditional flow matching (arXiv 2210.02747) on each patch given all before it, and cross-entropy of the
stop head. Three auxiliary losses use the phoneme alignment of the teacher's speech. The alignment loss (log key
`looks`) guides two attention heads of the base model to the text tokens of the next patch. The phoneme loss (`sounds`)
requires that a linear probe, not exported, predicts the phonemes of a patch from the condition of its flow. The
counting loss (`counts`) requires the same of the number of times that a repeated word has been said: the sounds of
"five five five" do not show it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.batches import Batch
from training.model import VoxCPM
from training.script import MAX_REPEATS, NOT_REPEATED

PHONEME_LABELS = 178
"""Number of labels in the teacher's phoneme alphabet, including silence."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Loss weights, and the noise and dropout of the inputs.

    Attributes:
        flow_samples: flow times and noises drawn per patch; more of them cost only evaluations of the flow decoder.
        unconditional_share: fraction of the patches whose condition is dropped, for classifier-free guidance.
        history_noise: maximum standard deviation of the noise added to preceding patches, for robustness against the
            model's own errors at inference.
        alignment_weight, sounds_weight, counts_weight: initial weights of the auxiliary losses.
        floor, teacher_steps: the auxiliary weights decay linearly to the fraction `floor` within `teacher_steps` steps.
    """

    flow_samples: int = 1
    unconditional_share: float = 0.12
    history_noise: float = 0.25
    stop_weight: float = 0.5
    alignment_weight: float = 0.5
    sounds_weight: float = 1.0
    counts_weight: float = 0.5
    floor: float = 0.1
    teacher_steps: int = 6_000

    def auxiliary_scale(self, step: int) -> float:
        """Factor on the weights of the auxiliary losses at a step: linear from 1 to `floor`."""
        elapsed = min(1.0, step / self.teacher_steps) if self.teacher_steps else 1.0
        return 1 - elapsed * (1 - self.floor)


class Lesson(nn.Module):
    """The model with its losses and the two linear probes.

    Args:
        slots: phoneme labels per patch.
    """

    def __init__(self, model: VoxCPM, slots: int) -> None:
        super().__init__()
        self.model = model
        self.slots = slots
        self.sounds = nn.Linear(model.config.local_dit.hidden, slots * PHONEME_LABELS)
        self.counts = nn.Linear(model.config.local_dit.hidden, slots * (MAX_REPEATS + 1))

    def losses(self, batch: Batch, objective: Objective, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalar losses `flow`, `stop`, `looks`, `sounds` and `counts`, and three metrics.

        `sounds_right` and `counts_right` are the accuracies of the probes, `stops_right` the recall of the stop head.
        """
        model = self.model
        history = self._noisy_history(batch, objective.history_noise, generator)
        hidden = model.hidden_states(batch.tokens, batch.positions, history)
        condition = model.condition(hidden)
        previous = torch.where(batch.first.view(-1, 1, 1), 0.0, history.roll(1, 0))
        logits = self.sounds(condition).float().unflatten(1, (self.slots, PHONEME_LABELS))
        counts = self.counts(condition).float().unflatten(1, (self.slots, MAX_REPEATS + 1)).flatten(0, 1)
        repeats = batch.repeats.flatten()
        repeated = (repeats != NOT_REPEATED).sum().clamp_min(1)  # a batch without repetitions has a loss of 0
        stop_logits = model.stop_logits(hidden)
        return {
            "flow": self._flow_loss(batch.patches, condition, previous, objective, generator),
            "stop": functional.cross_entropy(stop_logits, batch.last.long()),
            "looks": alignment_loss(hidden.attention, batch.alignment),
            "sounds": functional.cross_entropy(logits.transpose(1, 2), batch.labels),
            "counts": functional.cross_entropy(counts, repeats, ignore_index=NOT_REPEATED, reduction="sum") / repeated,
            "counts_right": (counts.argmax(1) == repeats).sum() / repeated,
            "sounds_right": (logits.argmax(2) == batch.labels).float().mean(),
            "stops_right": (stop_logits.argmax(1) * batch.last).sum() / batch.last.sum(),
        }

    def _noisy_history(self, batch: Batch, max_noise: float, generator: torch.Generator) -> Tensor:
        """The input patches with Gaussian noise, whose standard deviation is random per sequence."""
        device = batch.patches.device
        strength = max_noise * torch.rand(batch.tokens.shape[0], 1, 1, generator=generator, device=device)
        noise = torch.randn(batch.patches.shape, generator=generator, device=device)
        return batch.patches + strength[batch.rows] * noise

    def _flow_loss(
        self, patches: Tensor, condition: Tensor, previous: Tensor, objective: Objective, generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the predicted velocity (noise minus speech) at random times."""
        samples, device = objective.flow_samples, patches.device
        patches, condition, previous = (
            part.repeat(samples, *[1] * (part.dim() - 1)) for part in (patches, condition, previous)
        )
        times = flow_times(len(patches), generator, device)
        kept = torch.rand(len(patches), 1, generator=generator, device=device) >= objective.unconditional_share
        noise = torch.randn(patches.shape, generator=generator, device=device)
        t = times.view(-1, 1, 1)
        velocity = self.model.velocity((1 - t) * patches + t * noise, times, condition * kept, previous)
        return functional.mse_loss(velocity, noise - patches)


def total(losses: Mapping[str, Tensor], objective: Objective, step: int) -> Tensor:
    """The weighted sum that is minimized."""
    auxiliary = objective.alignment_weight * losses["looks"] + objective.sounds_weight * losses["sounds"]
    auxiliary = auxiliary + objective.counts_weight * losses["counts"]
    return losses["flow"] + objective.stop_weight * losses["stop"] + objective.auxiliary_scale(step) * auxiliary


def alignment_loss(attention: Tensor, alignment: Tensor) -> Tensor:
    """Negative log of the attention mass on the aligned tokens, mean over patches and heads.

    Args:
        attention: `[N, heads, S]`, attention weights of each patch's prediction.
        alignment: `[N, slots]`, int64, positions of the tokens spoken in the patch.
    """
    target = torch.zeros_like(attention[:, 0]).scatter_(1, alignment, 1.0)  # [N, S]
    return -(attention * target.unsqueeze(1)).sum(2).clamp_min(1e-6).log().mean()


def flow_times(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Random times `[count]`, 1 for noise and 0 for speech: half logistic-normal as in VoxCPM, half uniform.

    The time grid of the solver is densest near noise, where a logistic-normal distribution has little mass.
    """
    logistic_normal = torch.sigmoid(torch.randn(count, generator=generator, device=device))
    uniform = torch.rand(count, generator=generator, device=device)
    choice = torch.rand(count, generator=generator, device=device) < 0.5
    return torch.where(choice, logistic_normal, uniform)
