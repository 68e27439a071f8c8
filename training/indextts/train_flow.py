"""Stage `flow`: trains codec, length regulator and flow to make the frames of codes (flow matching, arXiv 2210.02747).

An example is laid out as the server does it in a stream: the voice's recording, frames that are already known, and
new ones, with or without codes beyond them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.s2mel.length_regulator import nominal_ratio, source_features
from training.indextts.codes import FEATURES_PER_CODE, FRAMES_PER_CODE
from training.indextts.features import Basis, codes_of
from training.indextts.flow import Acoustic, Built
from training.indextts.sizes import FLOW_STEPS, ROWS
from training.indextts.speech import MEL_BANDS, Speech
from training.loop import generator
from training.optimizing import Average, adam, rate_at, restore_optimizers, set_rate

EXAMINED_SENTENCES, EXAMINED_FRAMES = 16, 160
MAX_GRADIENT = 1.0
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class FlowRecipe:
    """Hyperparameters of the acoustic model.

    Attributes:
        groups, batch: groups of examples, each of which has a time and a number of known frames, and their size.
        new_frames: frames of an example that are solved for.
        known_frames: maximum number of frames before them.
        known_noise: maximum standard deviation of the noise on the known frames.
        grid_share: fraction of the times that are those of the served solver.
        pitch_weight: weight of the errors of pitch and voicing, which are two of the rows.
    """

    steps: int = 20_000
    groups: int = 2
    batch: int = 2
    new_frames: int = 140
    known_frames: int = 100
    known_noise: float = 0.15
    grid_share: float = 0.5
    pitch_weight: float = 6.0
    rate: float = 1e-3
    average_decay: float = 0.999
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """A part of a sentence.

    Attributes:
        rows: `[known + new, R]`.
        codes: `[n]`, all that its conditions depend on.
        first_code, first_frame: number of the first of the codes and of the first frame.
    """

    rows: Tensor
    codes: Tensor
    first_code: int
    first_frame: int


class Sentences:
    """Frames and codes of some speech."""

    def __init__(self, speech: Speech, basis: Basis) -> None:
        self._speech, self._basis, self._codes = speech, basis, codes_of(speech, basis)
        self.lengths = speech.frames.diff()

    def codes(self, index: int) -> Tensor:
        """All codes of a sentence."""
        return self._codes[slice(*self._speech.codes[index : index + 2].tolist())]

    def example(self, index: int, first: int, length: int, context_codes: int, beyond: bool) -> Example:
        """Frames from number `first` of a sentence on; `beyond`: with the codes after them."""
        speech = self._speech
        start, code, end = int(speech.frames[index]) + first, int(speech.codes[index]), int(speech.codes[index + 1])
        span = slice(start, start + length)
        first_code = max(0, int(first / FRAMES_PER_CODE) - context_codes - 2)
        last_code = int((first + length - 1) / FRAMES_PER_CODE) + 1 + (context_codes if beyond else 0)
        codes = self._codes[code + first_code : min(end, code + last_code)]
        return Example(self._basis.rows(speech.mel[span], speech.pitch[span]), codes, first_code, first)

    def drawn(self, length: int, known: int, context_codes: int, random: torch.Generator) -> Example:
        """A random part of a random sentence that is long enough; it begins at the beginning if nothing is known."""
        fitting = torch.nonzero(self.lengths >= length)[:, 0]
        index = int(fitting[torch.randint(len(fitting), (1,), generator=random)])
        most = int(self.lengths[index]) - length
        first = int(torch.randint(most + 1, (1,), generator=random)) if known else 0
        return self.example(index, first, length, context_codes, bool(torch.rand(1, generator=random) < 0.5))


class FlowTrainee:
    """The acoustic model, as a `loop.Trainee`."""

    def __init__(
        self,
        config: IndexTTSConfig,
        recipe: FlowRecipe,
        basis: Basis,
        speech: Speech,
        held_out: Speech,
        device: torch.device = CPU,
    ) -> None:
        self.recipe, self.basis, self.device = recipe, basis, device
        self.sentences, self.examined = Sentences(speech, basis), Sentences(held_out, basis)
        self.model, self._examined_model = (Acoustic(config, recipe.seed).to(device) for _ in range(2))
        self.average = Average.of(self.model, recipe.average_decay)
        self.optimizer = adam(self.model.parameters(), recipe.rate, (0.9, 0.98), 0.01)
        self.updates = 0
        self._weights = torch.ones(ROWS, device=device)
        self._weights[MEL_BANDS:] = recipe.pitch_weight

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Train on one batch; returns the losses."""
        recipe, random = self.recipe, generator(self.recipe.seed, number, CPU)
        set_rate(self.optimizer, recipe.rate * rate_at(number, recipe.steps, self.updates))
        self.updates += 1
        built = self.model.built()
        errors = [self._group(built, random) for _ in range(recipe.groups)]
        error = torch.stack(errors).mean(0)  # [R]
        loss = (self._weights * error).sum() / self._weights.sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        self.average.add(self.model, number)
        return {"flow": loss, "mel": error[:MEL_BANDS].mean(), "pitch": error[MEL_BANDS], "voicing": error[-1]}

    def examine(self, number: int) -> Mapping[str, float]:
        """Mean absolute errors of the frames that the averaged model makes of held-out sentences' codes."""
        self._examined_model.load_state_dict(self.average.tensors)
        wanted: list[Tensor] = []
        made: list[Tensor] = []
        with torch.no_grad():
            built = self._examined_model.built()
            random = generator(self.recipe.seed, 0, CPU)
            for index in torch.nonzero(self.examined.lengths >= EXAMINED_FRAMES)[:EXAMINED_SENTENCES, 0].tolist():
                one = self.examined.example(index, 0, EXAMINED_FRAMES, 0, True)
                rows, content = self._laid_out(built, [one], 0, 0.0, random)
                noise = torch.randn(1, EXAMINED_FRAMES, ROWS, generator=random).to(self.device)
                made.append(built.solved(noise, built.fixed(rows, content), FLOW_STEPS)[0].cpu())
                wanted.append(one.rows)
        off, voiced = (torch.cat(made) - torch.cat(wanted)).abs(), torch.cat(wanted)[:, -1] > 0
        return {
            "held_out_mel": float(off[:, :MEL_BANDS].mean()),
            "held_out_pitch": float(off[voiced, MEL_BANDS].mean()),
            "held_out_voicing": float(off[:, -1].mean()),
        }

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee`."""
        return {
            "flow": self.model.state_dict(),
            "average": self.average.tensors,
            "optimizers": [self.optimizer.state_dict()],
            "updates": self.updates,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `loop.Trainee`."""
        self.model.load_state_dict(state["flow"])
        self.average.load(state["average"])
        restore_optimizers((self.optimizer,), state)
        self.updates = state.get("updates", 0)

    def _group(self, built: Built, random: torch.Generator) -> Tensor:
        """Mean squared error of the velocity of each row, `[R]`, of examples with the same time."""
        recipe = self.recipe
        drawn, kind = torch.rand(2, generator=random).tolist()
        time = int(drawn * FLOW_STEPS) / FLOW_STEPS if kind < recipe.grid_share else drawn
        known = max(0, int(torch.randint(-recipe.known_frames // 3, recipe.known_frames + 1, (1,), generator=random)))
        length = known + recipe.new_frames
        batch = [self.sentences.drawn(length, known, built.content.context_codes, random) for _ in range(recipe.batch)]
        strength = recipe.known_noise * float(torch.rand(1, generator=random))
        rows, content = self._laid_out(built, batch, known, strength, random)
        target = torch.stack([one.rows[known:] for one in batch])
        noise = torch.randn(target.shape, generator=random).to(self.device)
        target = target.to(self.device)
        velocity = built.velocity(torch.lerp(noise, target, time), built.fixed(rows, content), time)
        return (velocity - (target - noise)).square().mean((0, 1))

    def _laid_out(
        self,
        built: Built,
        batch: Sequence[Example],
        known: int,
        strength: float,
        random: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Known rows `[B, P + known, R]`, those of the voice first, and the conditions of all frames `[B, T, C]`."""
        content, regulator = built.content, built.regulator
        voice, voice_condition, moments = built.prompt(self.basis)
        rows, conditions = [], []
        for one in batch:
            length = len(one.rows)
            features = content.of_codes(one.codes.to(self.device), None)
            before = one.first_code * FEATURES_PER_CODE
            lead = min(one.first_frame, regulator.context_frames)
            first = one.first_frame - lead
            index = source_features(first, one.first_frame + length, nominal_ratio(), before + len(features)) - before
            chosen = features[torch.from_numpy(index.clip(min=0)).to(self.device)]
            condition, _ = regulator.condition(chosen, moments, lead, 0)
            before_rows = one.rows[:known] + strength * torch.randn(known, ROWS, generator=random)
            rows.append(torch.cat((voice, before_rows.to(self.device))))
            conditions.append(torch.cat((voice_condition, condition)))
        return torch.stack(rows), torch.stack(conditions)
