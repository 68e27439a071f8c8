"""Times IndexTTS's vocoder BigVGAN on the CPU: native, in PyTorch and the official module, in turn on this machine.

    python tests/bench/indextts_vocoder.py [--size 2.5] [--frames 96] [--threads 2] [--runs 3] [--anyway]

Random weights. "Whole" is all frames in one call; the chunks are a stream's first and a later one, with the forecast of
the frames that follow, as the engine has them; the official module cannot stream. The floor is the time that the
multiplications of the convolutions take as they are written, at the machine's peak: the faster of a large product in
PyTorch and one of ours. The native one does about half as many.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from audio_vae import peak_gflops
from conditions import ROOT, command_line, conditions, counted, refuse_if_busy
from timing import min_ms
from torch import Tensor
from voxcpm_floors import Machine, Part

from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config import BigVGANConfig
from intone.server.engines.indextts.checkpoint.config_files import config_of
from intone.server.engines.indextts.checkpoint.random_weights import random_tensors, vocoder_rules
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from intone.server.engines.indextts.vocoder.native_bigvgan import NativeBigVGAN
from intone.server.engines.weights import Weights, declared_shapes
from intone.server.nn.lookahead import Layer, LookaheadConv, LookaheadConvTranspose, Mean, Residual

CHUNKS = ((30, 18), (172, 18))
"""New and provisional frames of a stream's first chunk and of a later one."""

TABLE = """\
| frames | official | PyTorch | native | native, s per second of sound | GFLOP/s | of the floor |
|---|---:|---:|---:|---:|---:|---:|"""
OFFICIAL = """
import sys, time, torch
from tests.oracles.indextts_oracle_bigvgan import PUBLISHED, vocoder
channels, threads, runs, *counts = map(int, sys.argv[1:])
torch.set_num_threads(threads)
with torch.inference_mode():
    model = vocoder(channels, PUBLISHED, [3, 7, 11], [[1, 3, 5]] * 3)
    for count in counts:
        mel, best = torch.randn(1, 80, count), 1e9
        for _ in range(runs + 1):
            began = time.perf_counter()
            model(mel)
            best = min(best, time.perf_counter() - began)
        print(1000 * best)
"""


def multiplications(layers: Sequence[Layer], rows: float = 1, tiled: bool = False) -> tuple[float, float]:
    """Of the convolutions for so many rows of input, as written or as the native one does them; and rows of output."""
    total = 0.0
    for layer in layers:
        if isinstance(layer, Residual):
            total += multiplications(layer.inner, rows, tiled)[0]
        elif isinstance(layer, Mean):
            total += sum(multiplications(branch, rows, tiled)[0] for branch in layer.branches)
        elif isinstance(layer, LookaheadConv | LookaheadConvTranspose):
            kernel = 2 if isinstance(layer, LookaheadConvTranspose) else layer.weight.shape[2]
            taps = min(kernel, 4)  # of a block, `tile_shape` in csrc/cpu/tiled_conv.h
            of_kernel = -(-kernel // taps) * (taps + 3) / 4 if tiled and kernel > 1 else kernel
            total += rows * layer.weight.numel() * of_kernel / kernel
            rows *= layer.rate
    return total, rows


def vocoders(config: BigVGANConfig, frames: int, machine: Machine) -> Iterator[Part]:
    """A sentence of so many frames, native and in PyTorch, each beside the operations that it does."""
    plain = random_vocoder(config)
    native = NativeBigVGAN(plain)
    for kind, vocoder in (("fp32", native), ("torch fp32", plain)):
        mel, none = torch.randn(config.mel_bands, frames), torch.zeros(config.mel_bands, 0)
        took_ms = min_ms(partial(_decode, vocoder, mel, none, True), 2)
        size = (
            native.weight_bytes
            if kind == "fp32"
            else 4 * sum(map(prod, declared_shapes(partial(BigVGAN, config)).values()))
        )
        work = 2 * round(multiplications(plain.layers, frames, tiled=kind == "fp32")[0])
        yield Part(f"vocoder, {frames} frames", kind, frames, took_ms, size, work, machine)


def random_vocoder(config: BigVGANConfig) -> BigVGAN:
    """With random weights."""
    shapes = declared_shapes(partial(BigVGAN, config))
    return BigVGAN(config, Weights(random_tensors(shapes, torch.Generator().manual_seed(0), vocoder_rules(config))))


def _decode(vocoder: BigVGAN | NativeBigVGAN, mel: Tensor, following: Tensor, last: bool) -> None:
    state: Any = vocoder.initial_state()
    vocoder.extend(mel, following, state, last)


def official_ms(config: BigVGANConfig, threads: int, runs: int, counts: Sequence[int]) -> list[float]:
    """Of the official module for so many frames, in a process of its own; NaN where it is not installed."""
    folder = ROOT / "build" / "oracle-indextts"
    if not (folder / "indextts25").is_dir():
        return [float("nan")] * len(counts)
    known = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "HF_HUB_OFFLINE": "1"}
    arguments = map(str, (config.channels, threads, runs, *counts))
    command = [sys.executable, "-W", "ignore", "-c", OFFICIAL, *arguments]
    said = subprocess.run(command, env=known, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [float(line) for line in said.split()[-len(counts) :]]


def rows(config: BigVGANConfig, frames: int, threads: int, runs: int) -> Iterator[str]:
    """The lines of the table."""
    plain = random_vocoder(config)
    native = NativeBigVGAN(plain)
    gflops = peak_gflops(threads, 30)
    operations = 2 * multiplications(plain.layers)[0]
    for count, following in ((frames, 0), *CHUNKS):
        last = following == 0
        given = (torch.randn(80, count), torch.randn(80, following), last)
        official = official_ms(config, threads, runs, [count])[0] if last else float("nan")
        both = [min_ms(partial(_decode, own, *given), runs) for own in (plain, native)]
        audio_s = count * plain.hop_samples / config.sample_rate_hz
        floor_ms = operations * count / gflops / 1e6
        figures = f"{official:.0f} | {both[0]:.0f} | {both[1]:.0f} | {both[1] / 1000 / audio_s:.3f}"
        speed = f"{operations * count / both[1] / 1e6:.0f} | {both[1] / floor_ms:.2f}"
        yield f"| {count}{'' if last else f' + {following}'} | {figures} | {speed} |"
    yield f"\nPeak {gflops:.0f} GFLOP/s; the floor is {operations * 86.13 / gflops / 1e9:.3f} s per second of sound."


def main() -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--size", choices=sizes.size_names(), default="2.5", help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=96, help="of the whole; default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="of which the least time counts; default: %(default)s")
    asked = parser.parse_args()
    busy = refuse_if_busy(asked.anyway)
    torch.set_num_threads(asked.threads)
    config = config_of(*sizes.documents(asked.size)).vocoder
    print(TABLE)
    with torch.inference_mode():
        for line in rows(config, asked.frames, asked.threads, asked.runs):
            print(line, flush=True)
    print(f"\n{asked.size}, {counted(asked.threads, 'thread')}, milliseconds. {conditions(busy)}")


if __name__ == "__main__":
    main()
