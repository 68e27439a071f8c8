"""What int8 and bf16 do to VoxCPM's numbers: every stack beside float32, with the same inputs, patch after patch.

    python tests/bench/voxcpm_precision.py [--size 1.5] [--folder CHECKPOINT] [--patches 16] [--types int8,bf16]

The float32 model speaks; the other is told what it said (teacher forcing). "given" is one stack alone, fed with what
float32 fed it; "after all" is what comes out once the errors of the stacks before it have come in. Untrained weights
unless a folder is given: they show the error of the arithmetic, not what is heard of it. Prints Markdown.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from conditions import command, command_line, commit
from torch import Tensor

from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.lm import LMCondition
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.prompt import build_prompt
from intone.server.engines.voxcpm.state import Generation

TEXT = b"The ferry leaves at nine from pier four."
STEPS, GUIDANCE = 10, 2.0

Pairs = dict[str, list[tuple[Tensor, Tensor]]]
"""What float32 and the other precision gave, by the name of the part."""


def compared(exact: VoxCPM, other: VoxCPM, patches: int) -> Pairs:
    """Both through one utterance, in step; `other` hears what `exact` says."""
    found: Pairs = defaultdict(list)
    noise = torch.Generator().manual_seed(0)
    true, ours = (_read(model, patches) for model in (exact, other))
    given = _read(other, patches)  # whose inputs are float32's at every stack
    for _ in range(patches):
        _note(found, true.condition, ours.condition, "after all")
        start = torch.randn(1, exact.config.patch_frames, exact.config.latent_dim, generator=noise)
        previous = true.patch
        for model, unit in ((exact, true), (other, ours)):
            model.make_patches([unit], start, [GUIDANCE])
        given.condition, given.patch = true.condition, previous
        other.make_patches([given], start, [GUIDANCE])
        found["LocDiT, all evaluations, given"].append((true.patch, given.patch))
        found["a patch of latents, after all"].append((true.patch, ours.patch))
        ours.patch = true.patch
        heard, alike = (model.encoder(true.patch.unsqueeze(0)) for model in (exact, other))
        found["LocEnc, given"].append((heard, alike))
        given.condition = other.lm.step(heard, [given.caches]).split()[0]
        for model, unit in ((exact, true), (other, ours)):
            model.advance([unit])
        _note(found, true.condition, given.condition, "given")
    return found


def _read(model: VoxCPM, patches: int) -> Generation:
    prompt = build_prompt([*TEXT], model.empty_audio)
    return model.prefill(prompt, len(prompt) + patches + 1, STEPS)


def _note(found: Pairs, true: LMCondition, other: LMCondition, how: str) -> None:
    found[f"base LM, {how}"].append((true.base, other.base))
    found[f"residual LM after it, {how}"].append((true.residual, other.residual))


def lines(kind: str, found: Pairs) -> Iterator[str]:
    """Rows of the table: ‖error‖ / ‖exact‖ over everything and in the worst patch, and the least cosine."""
    for name, pairs in sorted(found.items()):
        errors = [float((one - two).norm() / one.norm()) for one, two in pairs]
        cosines = [float(torch.cosine_similarity(one.flatten(), two.flatten(), dim=0)) for one, two in pairs]
        whole = sum(e**2 for e in errors) ** 0.5 / len(errors) ** 0.5
        yield f"| {kind} | {name} | {whole:.1e} | {max(errors):.1e} | {1 - min(cosines):.1e} |"


def main() -> int:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--size", default="1.5", choices=("nano", "0.5b", "1.5"))
    parser.add_argument("--folder", type=Path, help="a checkpoint instead of untrained weights of a size")
    parser.add_argument("--types", default="int8,bf16")
    parser.add_argument("--patches", type=int, default=16)
    given = parser.parse_args()

    def model(dtype: str) -> VoxCPM:
        engine = (
            VoxCPMEngine.from_folder(given.folder, dtype=dtype)
            if given.folder
            else VoxCPMEngine.random(given.size, dtype=dtype)
        )
        return engine.model

    weights = str(given.folder) if given.folder else f"VoxCPM {given.size}, random weights"
    print(
        f"{weights}, {STEPS} steps, guidance {GUIDANCE:g}, {given.patches} patches; commit {commit()}. `{command()}`\n"
    )
    print("| precision | part | relative error | worst patch | 1 − cosine, worst |\n|---|---|---:|---:|---:|")
    exact = model("fp32")
    with torch.inference_mode():
        for kind in given.types.split(","):
            print("\n".join(lines(kind, compared(exact, model(kind), given.patches))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
