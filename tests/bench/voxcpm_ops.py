"""What the parts of VoxCPM take on this CPU, beside the least that the machine would need for them.

    python tests/bench/voxcpm_ops.py [--size 1.5] [--types int8,bf16,fp32] [--threads 1] [--out FOLDER] [--anyway]

The floor of a part is the longer of two times: to read its weights (of attention: its cache) once, as fast as a plain
read, and to do the operations of its matrices, as fast as the packed linear layer does them from the cache; where a
part of this very run was faster, as fast as that. Weights are random and come from memory, as they do in a model.
Prints a Markdown table; writes it and a picture to docs/figures.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from audio_vae import PROMPT_S, matrix_of, peak_gflops, work
from conditions import FIGURES, command_line, conditions, counted, refuse_if_busy
from linear import COPIES_BYTES, SHAPES
from timing import min_ms, multiply_gop_s, read_gb_s
from voxcpm_floors import Machine, Part, beside_the_best, draw, lines

from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.audio_vae import AudioVAE, random_tensors
from intone.server.engines.voxcpm.config import StackConfig, VoxCPMConfig
from intone.server.engines.voxcpm.flow import build_time_table
from intone.server.engines.voxcpm.local_dit import LocalDiT
from intone.server.engines.voxcpm.local_encoder import LocalEncoder
from intone.server.engines.voxcpm.native_stack import NativeFlow, NativeStack, native_backend
from intone.server.engines.voxcpm.native_vae import NativeAudioVAE
from intone.server.engines.voxcpm.transformer import Stack
from intone.server.engines.weights import Weights, declared_shapes
from intone.server.ops import ensure_built

ROWS = (1, 2, 18, 144)
"""A step, a step of two units, LocDiT with guidance, a prompt."""

PROMPT = ROWS[-1]
NEAR, FAR = 16, 2064
"""Positions in a cache: attention's own time is the difference of a step between them."""

RUNS = 12
WEIGHT_BYTES = {"int8": 1, "bf16": 2, "fp32": 4}
CACHE_BYTES = 4  # of a number
VAE = "fp32 convolutions"
STEPS, GUIDANCE = 10, 2.0


def runs_of(rows: int) -> int:
    """Fewer where a call takes long."""
    return RUNS if rows <= 36 else RUNS // 3


def linears(kind: str, machine: Machine) -> Iterator[Part]:
    """The four shapes of a layer of 1.5, each with so many copies that no cache holds them."""
    make = ensure_built().Linear
    for name, outputs, inputs in SHAPES:
        weight, copies = torch.randn(outputs, inputs), []
        while sum(layer.weight_bytes for layer in copies) < COPIES_BYTES:
            copies.append(make(weight, type=kind, gated=name == "gate_up"))
        for rows in ROWS:
            x = torch.randn(rows, inputs)
            took_ms = min_ms(lambda x=x, own=copies: [layer(x) for layer in own], runs_of(rows)) / len(copies)
            work = (outputs * inputs * WEIGHT_BYTES[kind], 2 * rows * outputs * inputs)
            yield Part(f"{name} {outputs}×{inputs}", kind, rows, took_ms, *work, machine)


def language_models(kind: str, config: VoxCPMConfig, machine: Machine) -> Iterator[Part]:
    """Steps, a prompt of the base model, and attention to what it has read."""
    for name, stack in (("base LM", config.base), ("residual LM", config.residual)):
        native = NativeStack(stack, random_weights(partial(Stack, stack, positions=1)), FAR + 64, packed=kind)
        weights = weights_bytes(stack, kind)
        for rows in (1, 2):
            took_ms = step_ms(native, rows, NEAR)
            yield Part(f"{name}, a step", kind, rows, took_ms, weights, operations(stack, rows, rows), machine)
        if stack is not config.base:
            continue
        x = torch.randn(PROMPT, stack.hidden)
        took_ms = min_ms(lambda own=native, x=x: own.prefill(x, own.new_cache(PROMPT)), runs_of(PROMPT))
        yield Part(f"{name}, a prompt", kind, PROMPT, took_ms, weights, operations(stack, PROMPT, PROMPT), machine)
        read = 2 * (FAR - NEAR) * stack.layers * stack.kv_heads * stack.head_dim * CACHE_BYTES
        done = 4 * (FAR - NEAR) * stack.layers * stack.heads * stack.head_dim
        took_ms = step_ms(native, 1, FAR) - step_ms(native, 1, NEAR)
        yield Part(f"{name}, attention to {FAR - NEAR}", "fp32", 1, took_ms, read, done, machine)


def step_ms(native: NativeStack, rows: int, length: int) -> float:
    """A step of so many units that have read `length` positions each, and a few more with every run."""
    caches = [native.new_cache(length + RUNS + 1) for _ in range(rows)]
    for cache in caches:
        native.prefill(torch.randn(length, native.config.hidden), cache, length - 1)
    x = torch.randn(rows, native.config.hidden)
    return min_ms(lambda: native.step(x, caches), RUNS)


def local_parts(kind: str, config: VoxCPMConfig, machine: Machine) -> Iterator[Part]:
    """LocEnc for a patch and for a recording; LocDiT's whole solution for one unit and for two."""
    frames, latent, stack = config.patch_frames, config.latent_dim, config.local_encoder
    encoder = LocalEncoder(config, random_weights(partial(LocalEncoder, config)), native_backend(kind))
    for patches in (1, round(PROMPT_S * 6.25)):
        rows, x = patches * (frames + 1), torch.randn(patches, frames, latent)
        took_ms = min_ms(lambda x=x: encoder(x), runs_of(rows))
        work = (weights_bytes(stack, kind), operations(stack, rows, patches))
        yield Part(f"LocEnc, {counted(patches, 'patch')}", kind, rows, took_ms, *work, machine)
    dit, stack = LocalDiT(config, random_weights(partial(LocalDiT, config)), native_backend(kind)), config.local_dit
    flow, table = NativeFlow(dit), build_time_table(dit, STEPS, config.mean_mode)
    count = len(table.lengths)
    for units in (1, 2):
        base, residual = torch.randn(2, units, config.base.hidden)
        condition = dit.condition(base, residual, torch.randn(units, frames, latent))
        given = (torch.randn(units, frames, latent), condition, torch.full((units,), GUIDANCE), table)
        rows = 2 * units * (condition.lm.shape[1] + int(dit.separate_condition) + 2 * frames)
        took_ms = min_ms(lambda given=given: flow.solve(*given), runs_of(rows))
        work = (count * weights_bytes(stack, kind), count * operations(stack, rows, 2 * units * frames))
        yield Part(f"LocDiT, {count} evaluations", kind, rows, took_ms, *work, machine)


def audio_vae(config: VoxCPMConfig, machine: Machine) -> Iterator[Part]:
    """The decoder for a patch, the encoder for a recording."""
    tensors = random_tensors(config.vae, torch.Generator().manual_seed(0))
    native, plain = NativeAudioVAE(config.vae, Weights(tensors)), AudioVAE(config.vae, Weights(tensors))
    state, patch = native.initial_state(), torch.randn(config.latent_dim, config.patch_frames)
    samples = config.vae.sample_rate_hz * PROMPT_S // native.hop_in_samples * native.hop_in_samples
    voice = 0.1 * torch.randn(1, samples)
    for name, chain, rows, runs, call in (
        ("VAE decoder, a patch", plain.decoder, config.patch_frames, 30, lambda: native.decode_each([patch], [state])),
        (f"VAE encoder, {PROMPT_S} s", plain.encoder, samples, 4, lambda: native.encode(voice)),
    ):
        size = sum(matrix_of(stage).nbytes for stage in chain)
        yield Part(name, VAE, rows, min_ms(call, runs), size, round(work(chain, rows)), machine)


def random_weights(read: Callable[[Weights], object]) -> Weights:
    """What `read` asks for, one tensor for all names of a shape: packing copies it for each layer."""
    shapes = declared_shapes(read)
    made = {
        shape: torch.ones(shape) if len(shape) == 1 else torch.randn(shape) / shape[-1] ** 0.5
        for shape in set(shapes.values())
    }
    tensors = {name: made[shape] for name, shape in shapes.items()}
    return Weights(tensors)


def weights_bytes(stack: StackConfig, kind: str) -> int:
    """Of all layers' matrices."""
    return stack.layers * sum(matrices(stack)) * WEIGHT_BYTES[kind]


def operations(stack: StackConfig, rows: int, kept: int) -> int:
    """Of the matrices, for so many rows; `kept` of them are wanted, and the last layer needs no more than their keys
    and values of the others."""
    of_every_row, of_kept_rows = matrices(stack)
    return 2 * ((stack.layers - 1) * rows * (of_every_row + of_kept_rows) + rows * of_every_row + kept * of_kept_rows)


def matrices(stack: StackConfig) -> tuple[int, int]:
    """Weights of a layer: for keys and values, and all others."""
    queries, keys = stack.heads * stack.head_dim, stack.kv_heads * stack.head_dim
    return 2 * stack.hidden * keys, 2 * stack.hidden * queries + 3 * stack.hidden * stack.feed_forward


def measure(size: str, kinds: list[str], machine: Machine) -> Iterator[Part]:
    """All parts, one type of weights after the other."""
    config = sizes.config_of(size)
    for kind in kinds:
        yield from linears(kind, machine)
        yield from language_models(kind, config, machine)
        yield from local_parts(kind, config, machine)
    yield from audio_vae(config, machine)


def main() -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--size", choices=sizes.size_names(), default="1.5", help="of the stacks; default: %(default)s")
    parser.add_argument("--types", default="int8,bf16,fp32", help="of weights; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of torch, and so of ours; default: %(default)s")
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder; default: docs/figures")
    asked = parser.parse_args()
    busy = refuse_if_busy(asked.anyway)
    torch.set_num_threads(asked.threads)
    kinds = asked.types.split(",")
    with torch.inference_mode():
        peaks = {kind: multiply_gop_s(kind) for kind in {*kinds, "fp32"}} | {VAE: peak_gflops(asked.threads, 30)}
        parts = beside_the_best(list(measure(asked.size, kinds, Machine(read_gb_s(), peaks))))
    rates = ", ".join(f"{kind} {parts[0].machine.gop_s[kind]:.0f}" for kind in [*kinds, VAE])
    told = (
        f"At best {parts[0].machine.read_gb_s:.1f} GB/s were read; 10⁹ operations a second, at best: {rates}. "
        f"VoxCPM {asked.size}, random weights, {STEPS} steps, guidance {GUIDANCE:g}, "
        f"{counted(asked.threads, 'thread')}, least of {RUNS} or, where it takes long, {RUNS // 3} runs. "
        f"{conditions(busy)}"
    )
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "voxcpm_ops.md"
    path.write_text("\n".join([f"# The parts of VoxCPM {asked.size}", "", *lines(parts), "", told, ""]), "utf8")
    title = f"VoxCPM {asked.size} on {counted(asked.threads, 'CPU thread')}, random weights"
    draw(parts, title, path.with_suffix(".png"))
    print(f"{path.read_text('utf8')}\n{path}\n{path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
