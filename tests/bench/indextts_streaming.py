"""How far streamed mel is from the mel of whole units, by chunk plan: `python tests/bench/indextts_streaming.py`.

Prints a table and draws it. The codes are synthetic: nearest codebook rows along a smooth random path. With untrained
weights the figures rank plans and show what breaks; they do not say what is heard. The yardstick is another sentence
with the same noise: 100 % is as far from the whole unit as that.
"""

import argparse
import itertools
import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intone.server.engines.indextts import sizes, streaming
from intone.server.engines.indextts.acoustic import AcousticModel, AcousticPrompt, AcousticSettings
from intone.server.engines.indextts.codec import BOOK, CodecDecoder
from intone.server.engines.indextts.streaming import AcousticState, ChunkPlan
from intone.server.engines.weights import Weights

SECOND_FRAMES = 22050 / 256
CEPSTRA = 13
PLAN = ChunkPlan()
PLANS = {
    "default": PLAN,
    "lookahead 0": replace(PLAN, lookahead_frames=0),
    "lookahead 8": replace(PLAN, lookahead_frames=8),
    "lookahead 32": replace(PLAN, lookahead_frames=32),
    "context 0": replace(PLAN, context_frames=0),
    "context 43": replace(PLAN, context_frames=43),
    "context all": replace(PLAN, context_frames=10**6),
    "prompt 215": replace(PLAN, prompt_frames=215),
    "prompt all": replace(PLAN, prompt_frames=None),
    "all + all": replace(PLAN, prompt_frames=None, context_frames=10**6),
    "first 20": replace(PLAN, first_features=20),
    "first 50": replace(PLAN, first_features=50),
    "equal 28": replace(PLAN, growth=1.0),
    "equal 100": replace(PLAN, first_features=100),
}
ALONE = "norms alone"  # the default plan, with norms that never heard the recording


@dataclass(frozen=True)
class Bench:
    """A model, a recording and the codebook that synthetic codes come from."""

    model: AcousticModel
    prompt: AcousticPrompt
    settings: AcousticSettings
    book: Tensor

    def unit(self, count: int, seed: int) -> "Unit":
        """Codes along a path, and what they are when nothing is cut."""
        codes, others = path_codes(self.book, count, seed), path_codes(self.book, count, seed + 1000)
        content = self.model.source.of_codes(codes, None)
        return Unit(
            codes=codes,
            mel=self.model.solve_offline(self.prompt, codes, None, self.settings),
            other=self.model.solve_offline(self.prompt, others, None, self.settings),
            condition=self.model.regulator.whole(content, self.model.frames(count, 1.0))[0],
        )

    def stream(self, plan: ChunkPlan, codes: Tensor, heard: bool = True) -> tuple[Tensor, list[AcousticState]]:
        """Mel of a unit whose codes come one plan's chunk at a time; the states between."""
        state = streaming.start(self.prompt, self.settings, plan)
        if not heard:
            state = replace(state, moments=self.model.regulator.nothing_seen())
        chunks, states, position = [], [], 0
        while not state.done:
            end = min(codes.shape[0], position + plan.codes(state.chunks, self.model.features_per_code))
            mel, state = streaming.extend(self.model, state, codes[position:end], None, last=end == codes.shape[0])
            position = end
            chunks.append(mel)
            states.append(state)
        return torch.cat(chunks, dim=1), states


@dataclass(frozen=True)
class Unit:
    """A unit made as a whole: mel `[bands, F]`, conditions `[F, C]`, and the mel of another one of the same length."""

    codes: Tensor
    mel: Tensor
    other: Tensor
    condition: Tensor


@dataclass(frozen=True)
class Score:
    """Of one plan over all units.

    Attributes:
        l1: mean difference of log mel.
        cepstral_db: mel-cepstral distortion.
        share: `l1` in parts of that of another sentence.
        conditions: relative L2 difference of the conditions that the context keeps; nan where it keeps none.
        work: frames solved for and given, in parts of those of whole units.
        first_ms: audio of the first chunk.
        by_frame: `[F]`, difference at each frame of the units.
    """

    l1: float
    cepstral_db: float
    share: float
    conditions: float
    work: float
    first_ms: float
    by_frame: NDArray[np.float64]


def path_codes(book: Tensor, count: int, seed: int) -> Tensor:
    """Codes along a path that forgets half of itself every four codes and stays as far out as the codebook's rows."""
    generator = torch.Generator().manual_seed(seed)
    keep = 0.5**0.25
    steps = torch.randn(count, book.shape[1], generator=generator) * math.sqrt(1 - keep**2)
    points = list(itertools.accumulate(steps, lambda at, step: keep * at + step))
    return torch.cdist(torch.stack(points), book).argmin(dim=1)


def build(size: str, steps: int, prompt_s: float) -> Bench:
    """An untrained IndexTTS-2.5 whose recording is of the same kind as what it will speak."""
    checkpoint = sizes.in_memory(size)
    config = checkpoint.config
    s2mel, tensors = (Weights(w, torch.float32, torch.device("cpu")) for w in (checkpoint.s2mel, checkpoint.codec))
    model, book = AcousticModel(config, s2mel, tensors), checkpoint.codec[f"{BOOK}.codebook.weight"]
    frames = round(prompt_s * SECOND_FRAMES)
    spoken = path_codes(book, math.ceil(frames / 3.44), seed=10**6)
    features = CodecDecoder(config.codec, tensors)(spoken.unsqueeze(0))[0]
    generator = torch.Generator().manual_seed(0)
    mel, style = (torch.randn(shape, generator=generator) for shape in ((80, frames), (config.dit.style_dim,)))
    return Bench(model, model.prompt(mel, features, style), AcousticSettings(1, model.time_table(steps)), book)


def cepstral_distortion_db(a: Tensor, b: Tensor) -> float:
    """Mean over frames of 10 / ln 10 · √(2 Σ Δc²), c the cosine transform of the log mel, numbers 1 to 13 of it."""
    bands = a.shape[0]
    angles = torch.outer(torch.arange(1, CEPSTRA + 1).float(), torch.arange(bands).float() + 0.5) * (math.pi / bands)
    distance = (angles.cos() / bands @ (a - b)).square().sum(0)
    return float(10 / math.log(10) * (2 * distance).sqrt().mean())


def conditions_apart(states: Sequence[AcousticState], whole: Tensor) -> float:
    """Relative L2 difference of spoken frames' conditions from those of the whole unit, of what context keeps."""
    off, size = 0.0, 0.0
    for before, after in itertools.pairwise([None, *states]):
        assert after is not None
        fresh = after.frames - (before.frames if before else 0)
        kept = min(fresh, after.recent.condition.shape[0])
        if not after.done and kept:
            expected = whole[after.frames - kept : after.frames]
            off += float((after.recent.condition[-kept:] - expected).square().sum())
            size += float(expected.square().sum())
    return math.sqrt(off / size) if size else float("nan")


def work(bench: Bench, plan: ChunkPlan, states: Sequence[AcousticState], count: int) -> float:
    """Frames in all solves of a stream, in parts of those of the whole unit."""
    limit = plan.prompt_frames
    voice = bench.prompt.mel.shape[0] if limit is None else min(limit, bench.prompt.mel.shape[0])
    total, begun, known = 0, 0, 0
    for state in states:
        if state.chunks > known:
            given = min(begun, plan.context_frames)
            total += voice + given + state.frames - begun + state.provisional.shape[1]
            begun, known = state.frames, state.chunks
    return total / (bench.prompt.mel.shape[0] + bench.model.frames(count, 1.0))


def score(bench: Bench, name: str, units: Sequence[Unit]) -> Score:
    """A plan over all units."""
    plan = PLANS.get(name, PLAN)
    rows: list[tuple[float, float, float, float, float, float]] = []
    by_frame: list[Tensor] = []
    for unit in units:
        mel, states = bench.stream(plan, unit.codes, heard=name != ALONE)
        difference = (mel - unit.mel).abs()
        by_frame.append(difference.mean(0))
        l1, yardstick = float(difference.mean()), float((unit.other - unit.mel).abs().mean())
        first_ms = next(state.frames for state in states if state.frames) / SECOND_FRAMES * 1000
        effort = work(bench, plan, states, unit.codes.shape[0])
        apart = conditions_apart(states, unit.condition)
        rows.append((l1, cepstral_distortion_db(mel, unit.mel), l1 / yardstick, apart, effort, first_ms))
    return Score(*(float(column) for column in np.mean(rows, axis=0)), torch.stack(by_frame).mean(0).double().numpy())


def lines(scores: dict[str, Score]) -> Iterator[str]:
    """The table, in Markdown."""
    yield "| plan | first chunk ms | log-mel L1 | MCD dB | of another sentence | conditions | frames solved |"
    yield "|---|---|---|---|---|---|---|"
    for name, s in scores.items():
        yield (
            f"| {name} | {s.first_ms:.0f} | {s.l1:.3f} | {s.cepstral_db:.3f} | {100 * s.share:.1f} % | "
            f"{'–' if math.isnan(s.conditions) else f'{100 * s.conditions:.1f} %'} | {s.work:.2f} |"
        )


def draw(scores: dict[str, Score], path: Path) -> None:
    """Difference over time for some plans, and the mean of all."""
    from matplotlib.figure import Figure  # only for people

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for name in ("default", "lookahead 0", "context 0", ALONE):
        if name in scores:
            curve = np.convolve(scores[name].by_frame, np.ones(9) / 9, mode="same")
            left.plot(np.arange(len(curve)) / SECOND_FRAMES, curve, label=name, linewidth=1)
    left.set(xlabel="s", ylabel="log-mel L1 to the whole unit", ylim=(0, None))
    left.legend()
    right.barh(list(scores), [100 * s.share for s in scores.values()])
    right.invert_yaxis()
    right.set(xlabel="% of the difference to another sentence")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="nano", choices=("nano", "2.5"))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--codes", type=int, default=150, help="of a unit; 25 to a second")
    parser.add_argument("--units", type=int, default=2)
    parser.add_argument("--prompt-s", type=float, default=6.0)
    parser.add_argument("--plot", type=Path, default=Path("build/indextts_streaming.png"))
    asked = parser.parse_args()
    with torch.inference_mode():
        bench = build(asked.size, asked.steps, asked.prompt_s)
        units = [bench.unit(asked.codes, seed) for seed in range(asked.units)]
        scores = {name: score(bench, name, units) for name in (*PLANS, ALONE)}
    print(
        f"{asked.units} units of {asked.codes} codes, {asked.steps} steps, prompt {asked.prompt_s} s, random weights, "
        f"size {asked.size}, {platform.processor() or platform.machine()}\n"
    )
    print("\n".join(lines(scores)))
    asked.plot.parent.mkdir(parents=True, exist_ok=True)
    draw(scores, asked.plot)
    print(f"\n{asked.plot}")


if __name__ == "__main__":
    main()
