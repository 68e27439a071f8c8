"""VoxCPM on this CPU: the official package and ours in turn, on the same random weights of a published size.

    python tests/bench/voxcpm_cpu.py [--size 1.5] [--patches 24] [--runs 3] [--arms official-bf16,int8,…] [--anyway]

Writes an untrained checkpoint in the published layout, loads it in a process of its own for each arm, so that the peak
memory is the arm's own, and speaks the same 40 tokens, streamed, to the same number of patches: random weights know no
end. Then the distance from what this machine could do at best, measured in the same run. Prints Markdown, writes JSON
and a picture to docs/figures. Refuses on a busy machine.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conditions import FIGURES, ROOT, command_line, conditions, module_of_tests, refuse_if_busy
from timing import multiply_gop_s, peak_gb, read_gb_s

from intone.server.engines.voxcpm.sizes import config_of

TEXT = "The ferry leaves at nine from pier four."  # 40 bytes, 40 tokens of the random tokenizer
PROMPT_S = 5.0
PROMPT_TEXT = "These are the words that the recording says, more or less."
STEPS, GUIDANCE = 10, 2.0
OFFICIAL = ("official-bf16", "official-fp32")
OURS = ("int8", "bf16", "fp32")


@dataclass(frozen=True)
class Arm:
    """What one arm did; medians over the runs. `prompt_*`: a voice of 5 s. None is what was not measured."""

    name: str
    ttfa_ms: float
    patch_ms: float
    rtf: float
    peak_gb: float
    load_s: float
    reload_s: float | None = None  # of a later start, which finds packed weights
    vae_ms: float | None = None
    prompt_first_ms: float | None = None
    prompt_ttfa_ms: float | None = None


def official_pieces(folder: Path, dtype: str, patches: int) -> Iterator[Any]:
    """A model of the official package; gives functions that stream one utterance."""
    from intone.server.engines.voxcpm.text import TextTokenizer
    from tests.oracles import voxcpm_oracle

    vocabulary = json.loads((folder / "config.json").read_text())["lm_config"]["vocab_size"]
    tokenizer = TextTokenizer.load(folder, vocabulary)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "dtype": dtype}))
    with voxcpm_oracle.official() as package:
        loader = types.SimpleNamespace(from_pretrained=lambda _: types.SimpleNamespace(vocab={}))
        module = package.v2 if settings["architecture"] == "voxcpm2" else package.v1
        module.LlamaTokenizerFast = loader
        model_class = module.VoxCPM2Model if module is package.v2 else module.VoxCPMModel
        model = model_class.from_local(str(folder), optimize=False, device="cpu")
        model.text_tokenizer = tokenizer.ids
        while True:
            yield model.generate_streaming(
                target_text=TEXT, min_len=patches, max_len=patches, inference_timesteps=STEPS, cfg_value=GUIDANCE
            )


def our_pieces(engine: Any, patches: int, patch_ms: float, voice: Any = None) -> Iterator[Any]:
    """Functions that stream one utterance of ours."""
    from intone.server.domain import SpeakRequest, SynthesisOptions

    def stream() -> Iterator[Any]:
        audio_ms = round(patches * patch_ms)
        parameters = {"steps": STEPS, "guidance": GUIDANCE, "max_audio_ms": audio_ms, "min_audio_ms": audio_ms}
        options = SynthesisOptions(parameters=parameters)
        state = engine.start(SpeakRequest(TEXT, seed=1, voice=voice, options=options))
        done = False
        while not done:
            (step,) = engine.step([state])
            done = step.done
            stages.append(step.stage_ms)
            if step.pcm is not None and len(step.pcm):
                yield step.pcm

    stages: list[Any] = []
    our_pieces.stages = stages  # type: ignore[attr-defined]
    while True:
        yield stream()


def timed(stream: Any, rate_hz: int) -> tuple[float, float, float]:
    """Milliseconds to the first sound, of every later piece, and the real-time factor of one utterance."""
    began_s, arrivals, samples = time.perf_counter(), [], 0
    for piece in stream:
        arrivals.append(time.perf_counter())
        samples += int(np.prod(piece.shape))
    later = np.diff(arrivals)
    return 1000 * (arrivals[0] - began_s), 1000 * float(np.mean(later)), (arrivals[-1] - began_s) * rate_hz / samples


def run_arm(name: str, folder: Path, size: str, patches: int, runs: int, threads: int) -> Arm:
    """Load, warm up, measure."""
    torch.set_num_threads(threads)
    began_s = time.perf_counter()
    extra: dict[str, float | None] = {}
    rate_hz = config_of(size).vae.out_sample_rate_hz
    if name in OFFICIAL:
        streams = official_pieces(folder, {"official-bf16": "bfloat16", "official-fp32": "float32"}[name], patches)
        first = next(streams)
    else:
        from intone.server.engines.voxcpm.engine import VoxCPMEngine

        engine = VoxCPMEngine.from_folder(folder, dtype=name, threads=threads)
        streams = our_pieces(engine, patches, engine._patch_ms)
        first = next(streams)
    load_s = time.perf_counter() - began_s
    timed(first, rate_hz)
    figures = [timed(next(streams), rate_hz) for _ in range(runs)]
    peak_memory_gb = peak_gb()
    if name not in OFFICIAL:
        stages = [stage["vae"] for stage in our_pieces.stages if "vae" in stage]  # type: ignore[attr-defined]
        extra = {
            "vae_ms": statistics.median(stages),
            **with_voice(engine, runs),
            "reload_s": reload_s(folder, name, threads),
        }
    ttfa_ms, patch_ms, rtf = (statistics.median(column) for column in zip(*figures, strict=True))
    return Arm(name, ttfa_ms, patch_ms, rtf, peak_memory_gb, load_s, **extra)


def reload_s(folder: Path, dtype: str, threads: int) -> float:
    """Seconds to load what another start has packed before."""
    from intone.server.engines.packed_cache import finish_writing
    from intone.server.engines.voxcpm.engine import VoxCPMEngine

    with tempfile.TemporaryDirectory() as packed:
        VoxCPMEngine.from_folder(folder, dtype=dtype, threads=threads, pack_cache=Path(packed))
        finish_writing()
        began_s = time.perf_counter()
        VoxCPMEngine.from_folder(folder, dtype=dtype, threads=threads, pack_cache=Path(packed))
        return time.perf_counter() - began_s


def with_voice(engine: Any, runs: int) -> dict[str, float | None]:
    """Preparing a voice from a recording, and the first sound with it, prepared."""
    from intone.server.domain import Recording
    from intone.server.engines.pieces import complete

    noise = (0.1 * np.random.default_rng(1).standard_normal(int(PROMPT_S * 16_000))).astype(np.float32)
    began_s = time.perf_counter()
    voice = complete(engine.prepare_voice(Recording(noise, 16_000, PROMPT_TEXT)))
    first_ms = 1000 * (time.perf_counter() - began_s)
    streams = our_pieces(engine, 3, engine._patch_ms, voice)
    times = [timed(next(streams), engine.info.sample_rate_hz)[0] for _ in range(runs + 1)]
    return {"prompt_first_ms": first_ms, "prompt_ttfa_ms": statistics.median(times[1:])}


def roofline(size: str, threads: int) -> dict[str, float]:
    """What a patch would take at best: weights read once at the speed of a plain read, or the operations of the CFM at
    that of the packed linear in cache, whichever stack is bound by which."""
    torch.set_num_threads(threads)
    config, bandwidth, gop_s = config_of(size), read_gb_s(), multiply_gop_s("int8")

    def weights(stack: Any) -> float:
        heads = stack.heads * stack.head_dim + 2 * stack.kv_heads * stack.head_dim
        return stack.layers * (
            stack.hidden * heads + stack.heads * stack.head_dim * stack.hidden + 3 * stack.hidden * stack.feed_forward
        )

    lm_ms = (weights(config.base) + weights(config.residual)) / bandwidth / 1e6
    tokens = config.patch_frames + 1
    encoder_ms = (
        max(weights(config.local_encoder) / bandwidth, 2 * tokens * weights(config.local_encoder) / gop_s) / 1e6
    )
    evaluations, lead = STEPS - 1, 1 if config.version == 1 else 3  # tokens before the patches
    flow = weights(config.local_dit)
    flow_ms = evaluations * max(flow / bandwidth, 2 * 2 * (2 * config.patch_frames + lead) * flow / gop_s) / 1e6
    return {"read_gb_s": bandwidth, "int8_gop_s": gop_s, "floor_ms": lm_ms + encoder_ms + flow_ms}


def report(arms: list[Arm], floor: dict[str, float], told: str) -> str:
    """Everything as Markdown."""
    base = next((arm for arm in arms if arm.name in OFFICIAL), None)
    lines = [
        told,
        "",
        "| arm | first sound, ms | patch, ms | RTF | × official | peak, GB | load, s | load again, s | VAE, ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in arms:
        ratio = f"{base.patch_ms / arm.patch_ms:.1f}" if base else "–"
        later, vae = ("–" if figure is None else f"{figure:.1f}" for figure in (arm.reload_s, arm.vae_ms))
        figures = f"{arm.ttfa_ms:.0f} | {arm.patch_ms:.0f} | {arm.rtf:.2f} | {ratio} | {arm.peak_gb:.2f}"
        lines.append(f"| {arm.name} | {figures} | {arm.load_s:.1f} | {later} | {vae} |")
    for arm in arms:
        if arm.prompt_first_ms is not None and arm.prompt_ttfa_ms is not None:
            words = f"{arm.prompt_first_ms:.0f} ms to prepare, {arm.prompt_ttfa_ms:.0f} ms to the first sound with it"
            lines.append(f"\n{arm.name}, a voice of {PROMPT_S:g} s: {words}")
    best = next((arm for arm in arms if arm.name == "int8"), None)
    words = f"this machine reads {floor['read_gb_s']:.1f} GB/s and multiplies {floor['int8_gop_s']:.0f} int8 GOP/s; "
    words += f"at that rate the transformers of a patch take {floor['floor_ms']:.0f} ms"
    if best is not None:
        words += f", int8 takes {best.patch_ms / floor['floor_ms']:.2f} times that, its VAE included"
    return "\n".join([*lines, "", words])


def draw(arms: list[Arm], path: Path, title: str, patch_ms: float) -> None:
    """Milliseconds a patch by arm, with the line of real time."""
    from intone.client.tools.drawing import (  # not in an arm's memory
        FIRST,
        INK,
        MUTED,
        SERIES_COLORS,
        new_figure,
        set_title,
        style_axes,
    )

    figure = new_figure(8, 0.5 * len(arms) + 1.5)
    set_title(figure, title)
    axes = figure.add_subplot()
    style_axes(axes, "", "")
    names = [f"official, {arm.name.split('-')[1]}" if arm.name in OFFICIAL else f"intone, {arm.name}" for arm in arms]
    colors = [MUTED if arm.name in OFFICIAL else SERIES_COLORS[0] for arm in arms]
    bars = axes.barh(names, [arm.patch_ms for arm in arms], color=colors, height=0.68)
    axes.axvline(patch_ms, color=FIRST, linewidth=1.2, label=f"real time: {patch_ms:.0f} ms", zorder=0)
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.bar_label(bars, fmt="%.0f ms", padding=5, fontsize=9, color=INK, bbox=behind)
    axes.invert_yaxis()
    axes.set_xlabel(f"milliseconds for a patch of {patch_ms:.0f} ms of audio", fontsize=9, color=MUTED)
    axes.margins(x=0.12)
    axes.set_xlim(0, max(1.12 * max(arm.patch_ms for arm in arms), 1.15 * patch_ms))
    figure.legend(fontsize=8, frameon=False, labelcolor=INK, loc="outside upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--size", default="1.5", choices=("nano", "0.5b", "1.5", "2"))
    parser.add_argument("--arms", default="official-bf16,official-fp32,int8,bf16,fp32")
    parser.add_argument("--patches", type=int, default=24)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="keep the checkpoint here, or take it from here")
    parser.add_argument("--out", type=Path, default=FIGURES)
    parser.add_argument("--redraw", action="store_true", help="draw the figures of an earlier run again")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    name = f"voxcpm_{given.size.replace('.', '_')}"
    title = f"VoxCPM {given.size} on {given.threads} CPU threads, random weights"
    if given.redraw:
        earlier = json.loads((given.out / f"{name}.json").read_text())
        draw([Arm(**arm) for arm in earlier["arms"]], given.out / f"{name}.png", title, _patch_ms(given.size))
        return 0
    if given.one:
        arm = run_arm(given.one, given.folder, given.size, given.patches, given.runs, given.threads)
        print(json.dumps(asdict(arm)))
        return 0
    busy = refuse_if_busy(given.anyway)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch) / "checkpoint"
        if not (folder / "config.json").exists():
            random_checkpoint = module_of_tests("support.voxcpm_tiny").random_checkpoint

            print("writing the checkpoint", file=sys.stderr)
            random_checkpoint(given.size, folder, dtype=torch.bfloat16)
        arms = [_apart(name, folder, given) for name in given.arms.split(",")]
    floor = roofline(given.size, given.threads)
    told = (
        f"VoxCPM {given.size}, random weights, {STEPS} steps, guidance {GUIDANCE:g}, 40 tokens, "
        f"{given.patches} patches, median of {given.runs}, {given.threads} threads; {conditions(busy)}"
    )
    print(report(arms, floor, told))
    draw(arms, given.out / f"{name}.png", title, _patch_ms(given.size))
    found = {"conditions": told, "floor": floor, "arms": [asdict(arm) for arm in arms]}
    (given.out / f"{name}.json").write_text(json.dumps(found, indent=1))
    return 0


def _patch_ms(size: str) -> float:
    config = config_of(size)
    return 1000 * config.patch_frames * math.prod(config.vae.decoder_rates) / config.vae.out_sample_rate_hz


def _apart(name: str, folder: Path, given: argparse.Namespace) -> Arm:
    """One arm in a process of its own."""
    print(f"measuring {name}", file=sys.stderr)
    flags = [f"--{key}={getattr(given, key)}" for key in ("size", "patches", "runs", "threads")]
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder), *flags]
    known = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=known)
    return Arm(**json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.exit(main())
