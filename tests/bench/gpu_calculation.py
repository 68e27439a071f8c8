"""What both engines should take on GPUs that are not here, by calculation: nothing is measured.

    python tests/bench/gpu_calculation.py [--voxcpm 1.5] [--indextts 2.5]

A part takes as long as its kernels need one after the other: LAUNCH_US for each kernel of its graph, and beside that
the longer of reading its weights once and of its operations, both at a share of the data sheet. The kernels are counted
by running the programs that a GPU would capture on tensors without values. `gpu.py` prints the same for the machine it
runs on, beside what it measures.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from conditions import module_of_tests
from gpu_floors import Ceilings, gpt_code, solve_step, voxcpm_patch
from torch.utils._python_dispatch import TorchDispatchMode

LAUNCH_US = 2.2
"""From the start of a small kernel of a graph to the start of the next one."""

BANDWIDTH_SHARE, PEAK_SHARE = 0.8, 0.5
GPUS = {"H200": (4300.0, 990.0), "RTX 4090": (1008.0, 165.0)}
"""GB/s, and dense bfloat16 TFLOP/s with sums in float32; H200's bandwidth as a copy on one reaches it."""

TF32_SHARE = 0.5
"""Of the bfloat16 peak; the flow and the vocoder of IndexTTS compute in TF32."""

FRAMES, FIRST_FRAMES, STEPS, CODES, FIRST_CODES = 620, 478, 25, 55, 14
"""Of IndexTTS: a whole sentence of 2.2 s after a voice of 5 s, the first chunk after a voice of 5 s, and codes."""


class _Counter(TorchDispatchMode):
    """Counts operations that are kernels: all but views and allocations."""

    FREE = (
        "view",
        "expand",
        "empty",
        "slice",
        "select",
        "transpose",
        "alias",
        "split",
        "unbind",
        "permute",
        "detach",
        "lift",
    )

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.split("::")[1].strip("_")
        views = [given.alias_info for given in func._schema.returns if given.alias_info is not None]
        if all(view.is_write for view in views) and not name.startswith(self.FREE):
            self.count += 1
        return func(*args, **(kwargs or {}))


def counted(run: Callable[[], object]) -> int:
    """Kernels of a program."""
    with _Counter() as counter:
        run()
    return counter.count


def voxcpm_kernels(size: str) -> dict[str, int]:
    """Kernels of a patch of one unit, by stage, and of a prompt of 64 positions."""
    from intone.server.engines.voxcpm import audio_vae, sizes
    from intone.server.engines.voxcpm.model import VoxCPM
    from intone.server.engines.voxcpm.slot_model import SlotModel
    from intone.server.engines.voxcpm.weights import Checkpoint, tensor_shapes

    fake = module_of_tests("support.fake_cuda")
    config = sizes.config_of(size)
    shapes, vae_shapes = tensor_shapes(config), audio_vae.tensor_shapes(config.vae)
    with fake.fake_cuda():
        checkpoint = Checkpoint(config, fake.on_cuda(shapes), fake.on_cuda(vae_shapes), "fake")
        model = VoxCPM(checkpoint, torch.bfloat16, fake.CUDA, on_slots=True)
        slots = SlotModel(model, 1, 1 + config.max_length // 64, capture=False)
        batch, prompt = slots._batch(1), slots._prefill_buffers(1, 64)
        return {
            "prefill": counted(lambda: slots._prefill(prompt)),
            "lm": counted(lambda: slots._advance(batch)),
            "diffusion": counted(lambda: slots._make(batch, config.steps - 1)),
            "vae": counted(lambda: slots._decode(batch)),
        }


def indextts_kernels(size: str) -> dict[str, int]:
    """Kernels of a code of one unit, and of a step of the flow."""
    from intone.server.engines.indextts.checkpoint import sizes
    from intone.server.engines.indextts.checkpoint.config_files import config_of
    from intone.server.engines.indextts.checkpoint.weights import part_shapes
    from intone.server.engines.indextts.gpt.slot_gpt import SlotGPT
    from intone.server.engines.indextts.s2mel.acoustic import AcousticModel
    from intone.server.engines.indextts.s2mel.cfm import TimeTable
    from intone.server.engines.indextts.s2mel.flow_programs import _Schedule
    from intone.server.engines.weights import Weights

    fake = module_of_tests("support.fake_cuda")
    config = config_of(*sizes.documents(size))
    shapes = part_shapes(config)
    with fake.fake_cuda():
        parts = {name: Weights(fake.on_cuda(shapes[name]), device=fake.CUDA) for name in ("gpt", "s2mel", "codec")}
        gpt = SlotGPT(config, parts["gpt"], torch.float16, 1, 80, capture=False)
        acoustic = AcousticModel(config, parts["s2mel"], parts["codec"], packed=None)
        flow = acoustic.use_programs(capture=False)
        modulations = acoustic._inputs.modulations(torch.empty(2, device=fake.CUDA))
        flow._schedule = _Schedule.build(TimeTable((0.5, 0.5), tuple(modulations)), fake.CUDA)
        buffers, _ = flow._program(640, 192, guided=True)
        batch = gpt._batch(1)
        return {"code": counted(lambda: gpt._step(batch, 1)), "flow step": counted(lambda: flow._step(buffers))}


def main() -> int:
    """Count, calculate and print."""
    from intone.server.engines.indextts.checkpoint import sizes as indextts_sizes
    from intone.server.engines.indextts.checkpoint.config_files import config_of
    from intone.server.engines.voxcpm import sizes

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxcpm", default="1.5")
    parser.add_argument("--indextts", default="2.5")
    given = parser.parse_args()
    kernels = voxcpm_kernels(given.voxcpm) | indextts_kernels(given.indextts)
    print("kernels:", ", ".join(f"{name} {count}" for name, count in kernels.items()))
    launch_ms = {name: count * LAUNCH_US / 1000 for name, count in kernels.items()}
    voxcpm, index = sizes.config_of(given.voxcpm), config_of(*indextts_sizes.documents(given.indextts))
    print("\n| | weights | GPU | patch ms | prefill + first patch ms | code ms | first chunk ms | whole 2.2 s, ms |")
    print("|---|---|---|---|---|---|---|---|")
    for gpu, (gb_s, tflop_s) in GPUS.items():
        for name, weight_bytes in (("bf16 / fp16", 2), ("int8", 1)):
            at = Ceilings(gb_s * BANDWIDTH_SHARE, tflop_s * PEAK_SHARE, weight_bytes)
            flow_at = Ceilings(at.gb_s, at.tflop_s * TF32_SHARE)
            patch = voxcpm_patch(voxcpm, 1, voxcpm.steps, at)
            patch_ms = patch["sum ms"] + launch_ms["lm"] + launch_ms["diffusion"] + launch_ms["vae"]
            first_ms = patch["sum ms"] + launch_ms["prefill"] + launch_ms["diffusion"] + launch_ms["vae"]
            code_ms = gpt_code(index, at) + launch_ms["code"]
            totals = [
                codes * code_ms + STEPS * max(solve_step(index, frames, flow_at), launch_ms["flow step"])
                for codes, frames in ((FIRST_CODES, FIRST_FRAMES), (CODES, FRAMES))
            ]
            print(
                f"| {given.voxcpm}, {given.indextts} | {name} | {gpu} | {patch_ms:.1f} | {first_ms:.1f} | "
                f"{code_ms:.2f} | {totals[0]:.0f} | {totals[1]:.0f} |"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
