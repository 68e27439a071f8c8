"""How far streamed units are from whole ones, by chunk plan: `python tests/bench/indextts_streaming.py`.

Writes `docs/figures/indextts_streaming.md` and `.png`. Mel is compared frame by frame; sound at the borders of chunks
with sound elsewhere. The codes are synthetic: nearest codebook rows along a smooth random path. With untrained weights
the figures rank plans and show what breaks; they do not say what is heard. The yardstick of mel is another sentence
with the same noise: 100 % is as far from the whole unit as that. That of borders is a vocoder that begins anew with
each chunk.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from conditions import FIGURES, conditions, counted, refuse_if_busy
from indextts_borders import NEAR_SAMPLES, Sound, compare
from indextts_scores import ALONE, ANEW, LEGEND, SECOND_FRAMES, Score, draw, lines
from torch import Tensor

from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.s2mel import streaming
from intone.server.engines.indextts.s2mel.acoustic import AcousticModel, AcousticPrompt, AcousticSettings
from intone.server.engines.indextts.s2mel.codec import BOOK, CodecDecoder
from intone.server.engines.indextts.s2mel.streaming import AcousticState, ChunkPlan
from intone.server.engines.indextts.s2mel.voice_cache import CachedVoice
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from intone.server.engines.indextts.vocoder.crossfader import FADE_SAMPLES, Crossfader
from intone.server.engines.weights import Weights

CEPSTRA = 13
PLAN = ChunkPlan()
CACHED = "cached voice"  # plans whose names begin so solve after cached frames of the recording
PLANS = {
    "default": PLAN,
    "lookahead 0": replace(PLAN, lookahead_frames=0),
    "lookahead 8": replace(PLAN, lookahead_frames=8),
    "lookahead 32": replace(PLAN, lookahead_frames=32),
    "context 0": replace(PLAN, context_frames=0),
    "context 43": replace(PLAN, context_frames=43),
    "context all": replace(PLAN, context_frames=10**6),
    "prompt 215": replace(PLAN, prompt_frames=215),
    "later 129": replace(PLAN, later_frames=129),
    "later 172": replace(PLAN, later_frames=172),
    "later 258": replace(PLAN, later_frames=258),
    "later all": replace(PLAN, later_frames=None),
    "all + all": replace(PLAN, prompt_frames=None, context_frames=10**6, later_frames=None),
    CACHED: PLAN,
    "cached, context 43": replace(PLAN, context_frames=43),
    "first 20": replace(PLAN, first_features=20),
    "first 50": replace(PLAN, first_features=50),
    "equal 28": replace(PLAN, growth=1.0),
    "equal 100": replace(PLAN, first_features=100),
    "growth 4 to 200": replace(PLAN, growth=4.0, max_features=200),
}
assert NEAR_SAMPLES == FADE_SAMPLES, "borders are looked at as far as chunks fade"


@dataclass(frozen=True)
class Bench:
    """A model, a vocoder, a recording and the codebook that synthetic codes come from."""

    model: AcousticModel
    vocoder: BigVGAN
    prompt: AcousticPrompt
    settings: AcousticSettings
    book: Tensor

    def unit(self, count: int, seed: int) -> "Unit":
        """Codes along a path, and what they are when nothing is cut."""
        codes, others = path_codes(self.book, count, seed), path_codes(self.book, count, seed + 1000)
        content = self.model.source.of_codes(codes, None)
        mel = self.model.whole(self.prompt.known_frames(), codes, None, self.settings)
        return Unit(
            codes=codes,
            mel=mel,
            sound=self._decoded(mel),
            other=self.model.whole(self.prompt.known_frames(), others, None, self.settings),
            condition=self.model.regulator.whole(content, self.model.frames(count, 1.0))[0],
        )

    def stream(self, name: str, codes: Tensor) -> tuple[list[Tensor], list[AcousticState]]:
        """Mel of a unit whose codes come one plan's chunk at a time, in chunks; the states between."""
        plan, heard = PLANS.get(name, PLAN), name != ALONE
        state = streaming.start(self.prompt, self.settings, plan)
        if name.startswith("cached"):
            state = streaming.with_cached_voice(state, self.cached(plan))
        if not heard:
            state = replace(state, moments=self.model.regulator.empty_moments())
        chunks, states, position = [], [], 0
        while not state.done:
            end = min(codes.shape[0], position + plan.codes(state.chunks, self.model.features_per_code))
            mel, state = streaming.extend(self.model, state, codes[position:end], None, last=end == codes.shape[0])
            position = end
            chunks.append(mel)
            states.append(state)
        return chunks, states

    def cached(self, plan: ChunkPlan) -> CachedVoice:
        """The frames of the recording."""
        cache, found = self.model.voices, None
        assert cache is not None, "the solver is native"
        while found is None:
            found = cache.advance(self.prompt, plan.prompt_frames, self.settings)
        return found

    def speak(self, chunks: Sequence[Tensor], states: Sequence[AcousticState], anew: bool) -> list[Sound]:
        """The chunks' sound, as the engine joins it or, `anew`, each by itself."""
        if anew:
            return [self._decoded(mel) for mel in chunks]
        vocoder, joint, sounds = self.vocoder.initial_state(), Crossfader(), []
        for mel, state in zip(chunks, states, strict=True):
            final, vocoder = self.vocoder.decode(mel.unsqueeze(0), vocoder, last=state.done)
            provisional = np.zeros(0, np.float32)
            if not state.done:
                provisional = self.vocoder.peek(state.provisional.unsqueeze(0), vocoder)[0].numpy()
            sounds.append(joint.join(final[0].numpy(), provisional, state.done))
        return sounds

    def _decoded(self, mel: Tensor) -> Sound:
        sound: Sound = self.vocoder.decode(mel.unsqueeze(0), self.vocoder.initial_state(), last=True)[0][0].numpy()
        return sound


@dataclass(frozen=True)
class Unit:
    """A unit made as a whole: mel `[bands, F]`, its sound, conditions `[F, C]`; and another's mel of that length."""

    codes: Tensor
    mel: Tensor
    sound: Sound
    other: Tensor
    condition: Tensor


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
    vocoder = BigVGAN(config.vocoder, Weights(checkpoint.vocoder, torch.float32, torch.device("cpu")))
    settings = AcousticSettings(1, model.time_table(steps))
    return Bench(model, vocoder, model.prompt(mel, features, style), settings, book)


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
    total, begun, known = 0, 0, 0
    for state in states:
        if state.chunks > known:
            given, voice = min(begun, plan.context_frames), state.voice.mel.shape[0]
            if state.voice.cached is not None:
                voice -= state.voice.cached.frames
            else:
                voice = plan.voice_frames(known, given, voice)
            total += voice + given + state.frames - begun + state.provisional.shape[1]
            begun, known = state.frames, state.chunks
    return total / (bench.prompt.mel.shape[0] + bench.model.frames(count, 1.0))


def score(bench: Bench, name: str, units: Sequence[Unit]) -> Score:
    """A plan over all units."""
    plan = PLANS.get(name, PLAN)
    rows: list[tuple[float, float, float, float, float, float]] = []
    by_frame: list[Tensor] = []
    sounds: list[Sound] = []
    borders: list[list[int]] = []
    for unit in units:
        chunks, states = bench.stream(name, unit.codes)
        mel, pieces = torch.cat(chunks, dim=1), bench.speak(chunks, states, anew=name == ANEW)
        sounds.append(np.concatenate(pieces))
        ends = itertools.accumulate(len(piece) for piece in pieces)
        borders.append(sorted({end for end in ends if 0 < end < len(sounds[-1])}))
        difference = (mel - unit.mel).abs()
        by_frame.append(difference.mean(0))
        l1, yardstick = float(difference.mean()), float((unit.other - unit.mel).abs().mean())
        first_ms = next(state.frames for state in states if state.frames) / SECOND_FRAMES * 1000
        effort = work(bench, plan, states, unit.codes.shape[0])
        apart = conditions_apart(states, unit.condition)
        rows.append((l1, cepstral_distortion_db(mel, unit.mel), l1 / yardstick, apart, effort, first_ms))
    figures = (float(column) for column in np.mean(rows, axis=0))
    met = compare(sounds, borders, [unit.sound for unit in units])
    return Score(*figures, by_frame=torch.stack(by_frame).mean(0).double().numpy(), borders=met)


def described(asked: argparse.Namespace, busy: float) -> str:
    """What figures must be read with."""
    return (
        f"{counted(asked.units, 'unit')} of {asked.codes} codes ({asked.codes * 3.44 / SECOND_FRAMES:.1f} s), "
        f"{asked.steps} steps, prompt {asked.prompt_s:g} s, random weights, size {asked.size}, float32; "
        f"{conditions(busy)}"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="nano", choices=("nano", "2.5"))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--codes", type=int, default=150, help="of a unit; 25 to a second")
    parser.add_argument("--units", type=int, default=4)
    parser.add_argument("--prompt-s", type=float, default=6.0)
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder")
    asked = parser.parse_args()
    busy = refuse_if_busy(anyway=True)  # nothing here is timed
    scores: dict[str, Score] = {}
    with torch.inference_mode():
        bench = build(asked.size, asked.steps, asked.prompt_s)
        units = [bench.unit(asked.codes, seed) for seed in range(asked.units)]
        for name in (*PLANS, ALONE, ANEW):
            scores[name] = score(bench, name, units)
            print(f"{len(scores)} of {len(PLANS) + 2} plans", file=sys.stderr, flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "indextts_streaming.md"
    table = "\n".join(lines(scores))
    told = described(asked, busy)
    path.write_text(f"# Streamed IndexTTS against whole units\n\n{table}\n\n{LEGEND}\n\n{told}\n", "utf8")
    draw(scores, path.with_suffix(".png"))
    print(f"{table}\n\n{path}\n{path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
