"""The least time that parts of the models need on a machine: bytes over bandwidth, or operations over its peak."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from gpu_common import synchronize
from timing import min_ms

COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 26}
SIDE = {"cuda": 8192, "cpu": 512}


@dataclass(frozen=True)
class Ceilings:
    """What a machine reaches: a copy, counting bytes read and written, and bfloat16 products."""

    gb_s: float
    tflop_s: float
    weight_bytes: int = 2

    @classmethod
    def measured(cls, device: str) -> "Ceilings":
        """Of this machine, now."""
        source = torch.ones(COPY_BYTES[device], dtype=torch.uint8).to(device)
        target = torch.empty_like(source)
        side = SIDE[device]
        a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))

        def copy() -> None:
            target.copy_(source)
            synchronize(device)

        def multiply() -> None:
            a.mm(b)
            synchronize(device)

        return cls(2 * len(source) / min_ms(copy, 10) / 1e6, 2 * side**3 / min_ms(multiply, 5) / 1e9)

    def int8(self) -> "Ceilings":
        """With weights of one byte."""
        return replace(self, weight_bytes=1)

    def shown(self) -> dict[str, float]:
        """For a report."""
        return {"copy GB/s": self.gb_s, "bf16 TFLOP/s": self.tflop_s}

    def floor_ms(self, weights: float, rows: float) -> float:
        """Matrices of so many weights, read once and multiplied by so many rows."""
        return max(weights * self.weight_bytes / self.gb_s / 1e6, 2 * weights * rows / self.tflop_s / 1e9)


def voxcpm_patch(config: Any, streams: int, steps: int, ceilings: Ceilings) -> dict[str, float]:
    """Milliseconds for a patch of all streams, by stage, without the VAE; guidance doubles the flow's rows."""
    tokens = config.patch_frames + 1
    flow_rows = 2 * streams * (2 * config.patch_frames + (3 if config.version == 2 else 1))
    lm = sum(ceilings.floor_ms(_stack(stack), streams) for stack in (config.base, config.residual))
    encoder = ceilings.floor_ms(_stack(config.local_encoder), streams * tokens)
    flow = (steps - 1) * ceilings.floor_ms(_stack(config.local_dit), flow_rows)
    return {"lm ms": lm + encoder, "diffusion ms": flow, "sum ms": lm + encoder + flow}


def _stack(stack: Any) -> int:
    """Weights of the matrices of a transformer stack."""
    heads = (2 * stack.heads + 2 * stack.kv_heads) * stack.head_dim
    return int(stack.layers * stack.hidden * (heads + 3 * stack.feed_forward))


def gpt_code(config: Any, ceilings: Ceilings, streams: int = 1) -> float:
    """Milliseconds for a code: blocks and head of IndexTTS's language model."""
    return ceilings.floor_ms(12 * config.gpt.layers * config.gpt.dim**2 + config.gpt.codes * config.gpt.dim, streams)


def solve_step(config: Any, frames: int, ceilings: Ceilings) -> float:
    """Milliseconds for a step of the flow over so many frames, with guidance: its operations at the machine's peak."""
    dit, wavenet = config.dit, config.wavenet
    per_frame = dit.depth * (4 * dit.hidden**2 + 3 * dit.hidden * dit.feed_forward) + dit.depth // 2 * 2 * dit.hidden**2
    per_frame += wavenet.layers * (wavenet.kernel + 1) * 2 * wavenet.hidden**2 + 2 * dit.depth * frames * dit.hidden
    return float(2 * 2 * per_frame * frames / ceilings.tflop_s / 1e9)
