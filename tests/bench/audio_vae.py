"""Times VoxCPM's audio VAE: ours native, ours in PyTorch and the official package's, in turn on this machine.

    python tests/bench/audio_vae.py [--sizes nano,0.5b,1.5,2] [--threads 1,2] [--runs 30] [--layers] [--anyway]

All three have the same random weights and go on with the same stream, 160 ms at a time; the package decodes a patch
without a past, which is as much work, and its own way to stream beside it. The least time of many runs is printed: what
the machine did besides only adds. `--layers` tells every stage of ours beside the machine's peak, which is the faster
of a large product in PyTorch and one of ours that never leaves the cache. Refuses on a busy machine.
"""

import argparse
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from conditions import command_line, conditions, module_of_tests, refuse_if_busy
from timing import min_ms
from torch import Tensor

from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.audio_vae import AudioVAE, Stage, random_tensors
from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from intone.server.engines.voxcpm.native_vae import NativeAudioVAE
from intone.server.engines.weights import Weights
from intone.server.ops import ensure_built

FRAMES = 4  # of 40 ms: 160 ms
PROMPT_S = 5  # encoded for a voice
PATCHES_DECODED_AGAIN = 3  # by the package's version 1, for each patch that it streams

WHOLE = """\
| size | threads | ours, patch | ours, 40 ms | GFLOP/s | PyTorch | package, alone | its streaming | voice | PyTorch |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""
LAYERS = """
{size}, threads: {threads}

| stage | ms | GFLOP/s | of peak |
|---|---:|---:|---:|"""


@dataclass(frozen=True)
class Arms:
    """One size with the same weights three times."""

    config: AudioVAEConfig
    native: NativeAudioVAE
    python: AudioVAE
    official: Any


@contextmanager
def official_classes() -> Iterator[types.SimpleNamespace | None]:
    """The package's modules; None where it is not installed."""
    oracle = module_of_tests("oracles.voxcpm_oracle")
    if not oracle.installed():
        yield None
        return
    with oracle.official() as found:
        yield found


def arms(size: str, package: types.SimpleNamespace | None) -> Arms:
    """The three of a published size."""
    document = sizes.document(size)
    given = document.get("audio_vae_config") or {}
    config = AudioVAEConfig.from_json(document["architecture"], given)
    tensors = random_tensors(config, torch.Generator().manual_seed(0))
    official = None
    if package is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the old weight norm
            if config.version == 1:
                official = package.v1.AudioVAE(package.v1.AudioVAEConfig(**given)).eval()
            else:
                official = package.v2.AudioVAEV2(package.v2.AudioVAEConfigV2(**given)).eval()
            official.load_state_dict(tensors)
            for module in official.modules():  # as its own loader leaves it, minus the time this takes at every call
                if hasattr(module, "weight_g"):
                    torch.nn.utils.remove_weight_norm(module)
    return Arms(config, NativeAudioVAE(config, Weights(tensors)), AudioVAE(config, Weights(tensors)), official)


def whole_row(size: str, threads: int, runs: int, found: Arms) -> str:
    """A line of the first table."""
    torch.set_num_threads(threads)
    few = max(3, runs // 6)
    generator = torch.Generator().manual_seed(1)
    patch = torch.randn(1, found.config.latent_dim, FRAMES, generator=generator)
    voice = 0.1 * torch.randn(1, _prompt_samples(found), generator=generator)
    state = found.native.initial_state()
    native = [
        min_ms(lambda: found.native.decode_each([patch[0]], [state]), runs),
        min_ms(lambda: found.native.decode_each([patch[0, :, :1]], [state]), runs),
    ]
    python = min_ms(lambda: found.python.decode(patch, state), few)
    package = official_ms(found, patch, few)
    encoded = [min_ms(lambda vae=vae: vae.encode(voice), few) for vae in (found.native, found.python)]
    speed = work(found.python.decoder, FRAMES) / native[0] / 1e6
    return (
        f"| {size} | {threads} | {native[0]:.2f} | {native[1]:.2f} | {speed:.0f} | {python:.1f} | {package[0]:.1f} "
        f"| {package[1]:.1f} | {encoded[0]:.0f} | {encoded[1]:.0f} |"
    )


def official_ms(found: Arms, patch: Tensor, runs: int) -> tuple[float, float]:
    """The package's time for a patch without a past, and for one in its own way to stream."""
    vae = found.official
    if vae is None:
        return float("nan"), float("nan")
    alone = min_ms(lambda: vae.decode(patch), runs)
    if found.config.version == 1:
        window = patch.repeat(1, 1, PATCHES_DECODED_AGAIN)
        return alone, min_ms(lambda: vae.decode(window), runs)
    with vae.streaming_decode() as decoder:
        return alone, min_ms(lambda: decoder.decode_chunk(patch), runs)


def work(chain: Sequence[Stage], rows: int) -> float:
    """Floating-point operations of a chain's matrices, for so many rows at its start."""
    return sum(2.0 * macs for _, macs in stages(chain, rows))


def stages(chain: Sequence[Stage], rows: int) -> Iterator[tuple[str, float]]:
    """What each stage of a chain is, and its multiplications."""
    for stage in chain:
        matrix, kind = matrix_of(stage), type(stage.conv).__name__.removeprefix("Causal")
        rows //= stage.conv.stride if kind == "Conv" else 1  # type: ignore[attr-defined]
        yield f"{kind} {rows} x {list(matrix.shape)}", float(rows * matrix.numel())
        rows *= stage.conv.stride if kind == "ConvTranspose" else 1  # type: ignore[attr-defined]


def matrix_of(stage: Stage) -> Tensor:
    """The weights that a stage multiplies most with."""
    return stage.then[0] if stage.then is not None else stage.conv.weight  # type: ignore[attr-defined,no-any-return]


def layer_rows(threads: int, runs: int, found: Arms, peak: float) -> Iterator[str]:
    """The lines of the second table."""
    torch.set_num_threads(threads)
    stream = [torch.randn(FRAMES, found.config.latent_dim)]
    tails = [list(found.native.initial_state().tensors)]
    least = [float("inf")] * len(found.python.decoder)
    for _ in range(2 * runs):
        times = found.native.decoder.stage_ms(stream, tails)
        least = [min(pair) for pair in zip(least, times, strict=True)]
    for (what, macs), took_ms in zip(stages(found.python.decoder, FRAMES), least, strict=True):
        speed = 2 * macs / took_ms / 1e6
        yield f"| {what} | {took_ms:.3f} | {speed:.0f} | {speed / peak:.0%} |"


def peak_gflops(threads: int, runs: int) -> float:
    """The most float32 operations a second that anything here reaches, in 10⁹."""
    torch.set_num_threads(threads)
    side = 1024
    a, b = torch.randn(side, side), torch.randn(side, side)
    found = 2.0 * side**3 / min_ms(lambda: a @ b, runs) / 1e6
    native = ensure_built()
    depth, columns, rows = 512, 128, 16 * 96
    names = ("alpha", "scale", "shift", "taps", "taps_bias", "taps_alpha")
    plain = {"dilation": 1, "window": 1, "stride": 1, "up": 1, "tail_rows": 0, "residual": False}
    matrix = {"weight": torch.randn(columns, depth), "bias": torch.zeros(columns)}
    chain = native.ConvChain(stages=[native.StageWeights(**dict.fromkeys(names), **matrix, **plain)], isa="best")
    x, tails = [torch.randn(rows, depth)], [[torch.zeros(1, 0, depth)]]
    took_ms = min(chain.stage_ms(x, tails)[0] for _ in range(4 * runs))
    return max(found, 2.0 * rows * depth * columns / took_ms / 1e6)


def _prompt_samples(found: Arms) -> int:
    frames = found.config.sample_rate_hz * PROMPT_S // found.native.hop_in_samples
    return frames * found.native.hop_in_samples


def measure(arguments: argparse.Namespace) -> None:
    """Prints the tables as they come."""
    threads = [int(number) for number in arguments.threads.split(",")]
    peaks = {number: peak_gflops(number, arguments.runs) for number in threads}
    print(f"Milliseconds of the decoder for 160 ms of sound; `voice` is the encoder for {PROMPT_S} s.\n\n{WHOLE}")
    layers = []
    with official_classes() as package:
        for size in arguments.sizes.split(","):
            found = arms(size, package)
            for number in threads:
                print(whole_row(size, number, arguments.runs, found), flush=True)
                if arguments.layers:
                    layers.append(LAYERS.format(size=size, threads=number))
                    layers += layer_rows(number, arguments.runs, found, peaks[number])
    print("\n".join(layers))
    print("\nPeak: " + ", ".join(f"{peaks[number]:.0f} GFLOP/s on {number}" for number in threads))


def main() -> int:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--sizes", default=",".join(sizes.size_names()))
    parser.add_argument("--threads", default="1,2", help="of torch, and so of ours")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--layers", action="store_true", help="every stage of ours too")
    arguments = parser.parse_args()
    busy = refuse_if_busy(arguments.anyway)
    with torch.inference_mode():
        measure(arguments)
    print(f"float32, random weights; least of {arguments.runs} runs. {conditions(busy)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
