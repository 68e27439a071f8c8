"""What the parts of IndexTTS take on this CPU, beside the least that the machine would need for them.

    python tests/bench/indextts_ops.py [--size 2.5] [--types int8,bf16,fp32] [--threads 2] [--out FOLDER] [--anyway]

The linear layers of the flow, packed and in torch; one step of whole solves: of a sentence, and of a chunk of a stream;
and the vocoder. Beside the native solver and the native vocoder stands the same in torch. The floor of a part is the
longer of two times: to read its weights once, as fast as a plain read, and to do the operations of its matrices and of
attention, as fast as the packed linear layer does them from the cache; in the flow, attention and the layers at the
ends are fp32 with any weights; of the native vocoder those operations count that it does, half as many as torch's.
Weights are random. Prints a Markdown table; writes it and a picture to docs/figures.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from conditions import FIGURES, command_line, conditions, counted, module_of_tests, refuse_if_busy
from indextts_vocoder import vocoders
from timing import min_ms, multiply_gop_s, read_gb_s
from torch.nn import functional
from voxcpm_floors import Machine, Part, beside_the_best, draw, lines

from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config import DiTConfig, WaveNetConfig
from intone.server.engines.indextts.checkpoint.config_files import config_of
from intone.server.engines.indextts.checkpoint.random_weights import S2MEL
from intone.server.engines.indextts.s2mel.cfm import solve, time_table
from intone.server.engines.indextts.s2mel.dit import DiT
from intone.server.engines.indextts.s2mel.native_flow import NativeFlow
from intone.server.ops import ensure_built

WEIGHT_BYTES = {"int8": 1, "bf16": 2, "fp32": 4}
SOLVES = {"a sentence": (430, 240), "a chunk": (559, 190)}
"""Known frames, of which 430 are five seconds of the voice, and new ones: 2.8 s, and 2.2 s of a stream."""

VOCODER_FRAMES = 96  # 1.1 s

RUNS, STEPS, GUIDANCE = 2, 1, 0.7


def flow_work(dit: DiT, known: int, new: int) -> tuple[int, int]:
    """Operations of one step with guidance: of the packed layers, and of attention and the layers at the ends."""
    width, bands, frames = dit.hidden, dit.mel_bands, known + new
    rows = frames - max(0, known - dit.context_frames)  # that the last layer's result is wanted of
    packed, other = 0, new * bands * width + 2 * rows * width * (width + bands) + new * width * bands
    for layer in dit.layers:
        wanted = rows if layer is dit.layers[-1] else frames
        packed += frames * (3 + (2 if layer.skip else 0)) * width**2
        packed += wanted * (layer.out.weight.numel() + layer.gate_up.weight.numel() + layer.down.weight.numel())
        other += 2 * wanted * frames * width
    context = dit.context_frames
    for each in dit.wavenet.layers:
        context -= (each.conv.shape[2] - 1) // 2 * each.dilation
        packed += (new + min(known, context)) * (each.conv.numel() + each.out[0].numel())
    return 2 * 2 * packed, 2 * 2 * other


def weights_of(dit: DiT) -> int:
    """Numbers that a step reads."""
    found = sum(each.conv.numel() + each.out[0].numel() for each in dit.wavenet.layers)
    for layer in dit.layers:
        parts = (layer.queries, layer.keys_values, layer.out, layer.gate_up, layer.down, layer.skip)
        found += sum(part.weight.numel() for part in parts if part is not None)
    return found


def field(config: DiTConfig, wavenet: WaveNetConfig) -> DiT:
    """With random weights."""
    tiny = module_of_tests("support.indextts_tiny")
    return DiT(config, wavenet, tiny.weights(tiny.untrained(partial(DiT, config, wavenet), 0, S2MEL)))


def linears(kinds: list[str], dit: DiT, machine: Machine) -> Iterator[Part]:
    """The shapes of the flow, for a block of rows of the native solver and for all rows of a sentence at once."""
    layer, conv = dit.layers[-1], dit.wavenet.layers[0].conv
    shapes = {"gate_up": layer.gate_up.weight, "down": layer.down.weight, "out": layer.out.weight}
    shapes["conv"] = conv.transpose(1, 2).flatten(1)
    for name, weight in shapes.items():
        outputs, inputs = weight.shape
        for rows in (96, 2 * sum(SOLVES["a sentence"])):
            x = torch.randn(rows, inputs)
            for kind in (*kinds, "torch fp32"):
                if kind == "torch fp32":
                    took_ms = min_ms(partial(functional.linear, x, weight), RUNS)
                else:
                    took_ms = min_ms(partial(ensure_built().Linear(weight, type=kind), x), RUNS)
                size = weight.numel() * WEIGHT_BYTES.get(kind, 4)
                yield Part(f"{name} {outputs}×{inputs}", kind, rows, took_ms, size, 2 * rows * weight.numel(), machine)


def flows(kinds: list[str], dit: DiT, machine: Machine) -> Iterator[Part]:
    """A step of each solve, native and in torch."""
    table = time_table(dit.inputs, STEPS, torch.device("cpu"))
    natives = {kind: NativeFlow(dit, kind) for kind in kinds}
    for name, (known, new) in SOLVES.items():
        prompt, content = torch.randn(1, known, dit.mel_bands), torch.randn(1, known + new, dit.hidden)
        condition = dit.inputs.condition(prompt, content, torch.zeros(1, dit.inputs.style_dim), guided=True)
        noise = torch.randn(1, new, dit.mel_bands)
        for kind in (*kinds, "torch fp32"):
            run = partial(solve, dit) if kind == "torch fp32" else natives[kind].solve
            took_ms = min_ms(partial(run, noise, condition, GUIDANCE, table), RUNS) / STEPS
            packed, other = flow_work(dit, known, new)
            rate = {key: machine.gop_s.get(key, machine.gop_s["fp32"]) for key in (kind, "fp32")}
            mixed = f"flow, {kind}"
            machine.gop_s[mixed] = (packed + other) / (packed / rate[kind] + other / rate["fp32"])
            size = weights_of(dit) * WEIGHT_BYTES.get(kind, 4)
            label = f"flow, a step of {name}, {known} + {new}"
            yield Part(label, mixed, 2 * (known + new), took_ms, size, packed + other, machine)


def main() -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--size", choices=sizes.size_names(), default="2.5", help="default: %(default)s")
    parser.add_argument("--types", default="int8,bf16,fp32", help="of weights; default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="of torch, and so of ours; default: %(default)s")
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder; default: docs/figures")
    asked = parser.parse_args()
    busy = refuse_if_busy(asked.anyway)
    torch.set_num_threads(asked.threads)
    kinds, config = asked.types.split(","), config_of(*sizes.documents(asked.size))
    with torch.inference_mode():
        peaks = {kind: multiply_gop_s(kind) for kind in {*kinds, "fp32"}}
        machine = Machine(read_gb_s(), peaks | {"torch fp32": peaks["fp32"]})
        dit = field(config.dit, config.wavenet)
        vocoder = vocoders(config.vocoder, VOCODER_FRAMES, machine)
        parts = beside_the_best([*linears(kinds, dit, machine), *flows(kinds, dit, machine), *vocoder])
    rates = ", ".join(f"{kind} {parts[0].machine.gop_s[kind]:.0f}" for kind in {*kinds, "fp32"})
    told = (
        f"At best {parts[0].machine.read_gb_s:.1f} GB/s were read; 10⁹ operations a second, at best: {rates}. "
        f"IndexTTS {asked.size}, random weights, guidance {GUIDANCE:g}, {counted(asked.threads, 'thread')}, "
        f"least of {RUNS} runs. {conditions(busy)}"
    )
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "indextts_ops.md"
    path.write_text("\n".join([f"# The parts of IndexTTS {asked.size}", "", *lines(parts), "", told, ""]), "utf8")
    draw(
        parts,
        f"IndexTTS {asked.size} on {counted(asked.threads, 'CPU thread')}, random weights",
        path.with_suffix(".png"),
    )
    print(f"{path.read_text('utf8')}\n{path}\n{path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
