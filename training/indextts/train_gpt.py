"""Stage `gpt`: trains the language model to write the codes of a text in a mood.

Besides the cross-entropy of the codes, the alignment loss guides the first heads of the two middle layers to the
character that the next code belongs to: without it, a small model finds the alignment late.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from training.indextts.codes import composed, parts, token_ids
from training.indextts.features import Basis, codes_of
from training.indextts.gpt import GPT, PREFIX_ROWS
from training.indextts.prosody import Mood
from training.indextts.speech import Speech
from training.loop import generator
from training.optimizing import Average, adam, rate_at, restore_optimizers, set_rate

CPU = torch.device("cpu")
EXAMINED_SENTENCES = 64
MAX_GRADIENT = 1.0
LEAST_WEIGHT = 1e-4
"""Added to an attention weight before its logarithm."""


@dataclass(frozen=True, slots=True)
class GptRecipe:
    """Hyperparameters of the language model.

    Attributes:
        rows: text and code positions of a batch, at most.
        other_codes: fraction of the preceding codes that are replaced by those of another pitch and effort, for
            robustness against the model's own errors.
        alignment_weight, alignment_floor, alignment_steps: weight of the alignment loss; the factor on it decreases
            linearly from 1 to the floor within so many steps.
    """

    steps: int = 15_000
    rows: int = 2_000
    rate: float = 1e-3
    alignment_weight: float = 0.3
    alignment_floor: float = 0.05
    alignment_steps: int = 5_000
    other_codes: float = 0.08
    average_decay: float = 0.999
    decay: float = 0.01
    seed: int = 0


class Sentences:
    """The sentences as the language model sees them: text, codes, and the character that each code belongs to."""

    def __init__(self, speech: Speech, basis: Basis) -> None:
        self._speech, self._codes = speech, codes_of(speech, basis)
        ids = {text: token_ids(text) for text in dict.fromkeys(speech.texts)}
        self._texts = [ids[text] for text in speech.texts]
        self.lengths = [
            len(text) + codes for text, codes in zip(self._texts, speech.codes.diff().tolist(), strict=True)
        ]

    def get(self, index: int) -> tuple[Sequence[int], Tensor, Tensor, Mood]:
        """Token ids, codes `[n]`, index of each code's token `[n]`, and mood."""
        span = slice(*self._speech.codes[index : index + 2].tolist())
        offset = len(self._texts[index]) - len(self._speech.texts[index])  # the language tag
        return self._texts[index], self._codes[span], self._speech.units[span] + offset, self._speech.mood(index)

    def drawn(self, rows: int, random: torch.Generator) -> list[int]:
        """Random sentences of similar length, of `rows` positions in all, at least one."""
        order = sorted(range(len(self.lengths)), key=self.lengths.__getitem__)
        place = int(torch.randint(len(order), (1,), generator=random))
        count = max(1, rows // (self.lengths[order[place]] + PREFIX_ROWS + 3))
        first = max(0, min(place, len(order) - count))
        return order[first : first + count]


class GptTrainee:
    """The language model, as a `loop.Trainee`."""

    def __init__(
        self,
        config: IndexTTSConfig,
        recipe: GptRecipe,
        basis: Basis,
        speech: Speech,
        held_out: Speech,
        device: torch.device = CPU,
    ) -> None:
        self.config, self.recipe, self.device = config, recipe, device
        self.sentences, self.examined = Sentences(speech, basis), Sentences(held_out, basis)
        self.model, self._examined_model = (GPT(config, recipe.seed).to(device) for _ in range(2))
        self.average = Average.of(self.model, recipe.average_decay)
        self.optimizer = adam(self.model.parameters(), recipe.rate, (0.9, 0.98), recipe.decay)
        self.updates = 0

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Train on one batch; returns the losses."""
        recipe, random = self.recipe, generator(self.recipe.seed, number, CPU)
        set_rate(self.optimizer, recipe.rate * rate_at(number, recipe.steps, self.updates))
        self.updates += 1
        batch = [self.sentences.get(index) for index in self.sentences.drawn(recipe.rows, random)]
        figures = self._losses(self.model, batch, random)
        left = max(recipe.alignment_floor, 1 - number / recipe.alignment_steps)
        loss = figures["codes"] + recipe.alignment_weight * left * figures["looks"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        self.average.add(self.model, number)
        return figures

    def examine(self, number: int) -> Mapping[str, float]:
        """Losses of the averaged model on held-out sentences, and how often the likeliest sound and pitch are right."""
        self._examined_model.load_state_dict(self.average.tensors)
        sums: dict[str, float] = {}
        with torch.no_grad():
            count = min(EXAMINED_SENTENCES, len(self.examined.lengths))
            for first in range(0, count, 8):
                batch = [self.examined.get(index) for index in range(first, min(first + 8, count))]
                for name, value in self._losses(self._examined_model, batch, None).items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(batch) / count
        return {f"held_out_{name}": value for name, value in sums.items()}

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee`."""
        return {
            "gpt": self.model.state_dict(),
            "average": self.average.tensors,
            "optimizers": [self.optimizer.state_dict()],
            "updates": self.updates,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `loop.Trainee`."""
        self.model.load_state_dict(state["gpt"])
        self.average.load(state["average"])
        restore_optimizers((self.optimizer,), state)
        self.updates = state.get("updates", 0)

    def _losses(
        self,
        model: GPT,
        batch: Sequence[tuple[Sequence[int], Tensor, Tensor, Mood]],
        random: torch.Generator | None,
    ) -> dict[str, Tensor]:
        texts, codes, tokens, moods = (list(part) for part in zip(*batch, strict=True))
        heard = codes if random is None else [self._disturbed(part, random) for part in codes]
        hidden, looks, starts = model(texts, [part.to(self.device) for part in heard], moods)
        spans = enumerate(zip(starts, codes, strict=True))
        rows = [hidden[row, start : start + len(part) + 1] for row, (start, part) in spans]
        stop = torch.tensor([self.config.gpt.stop_code])
        wanted = torch.cat([torch.cat((part, stop)) for part in codes]).to(self.device)
        logits = model.logits(torch.cat(rows))
        found = logits.argmax(1)
        sound, pitch, _ = (ours == theirs for ours, theirs in zip(parts(found), parts(wanted), strict=True))
        seen = [
            layer[row, torch.arange(start, start + len(place)), PREFIX_ROWS + 1 + place]
            for layer in (looks[(len(looks) - 1) // 2], looks[len(looks) // 2])
            for row, (start, place) in enumerate(zip(starts, tokens, strict=True))
        ]
        return {
            "codes": functional.cross_entropy(logits, wanted),
            "looks": -(torch.cat(seen) + LEAST_WEIGHT).log().mean(),
            "sounds_right": sound.float().mean(),
            "pitch_right": pitch.float().mean(),
        }

    def _disturbed(self, codes: Tensor, random: torch.Generator) -> Tensor:
        """Codes of which a part has the pitch and effort of another code of the sentence."""
        sounds, pitch, effort = parts(codes)
        other = codes[torch.randperm(len(codes), generator=random)]
        _, other_pitch, other_effort = parts(other)
        chosen = torch.rand(len(codes), generator=random) < self.recipe.other_codes
        return torch.where(chosen, composed(sounds, other_pitch, other_effort), codes)
