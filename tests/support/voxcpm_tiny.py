"""Small VoxCPM models with random weights that compute in milliseconds, and checkpoints of them on disk."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from intone.server.domain import Recording, Samples, SpeakRequest, Step
from intone.server.engines.voxcpm import audio_vae, sizes
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.state import VoxCPMState
from intone.server.engines.voxcpm.weights import Checkpoint

VOCABULARY = 300
FACTORS = (1.0, 1.1, 1.3, 1.7, 2.2, 3.1, 4.0, 5.0, 6.5, 8.0, 9.0, 9.5)


def tiny_document(version: int) -> dict[str, Any]:
    """The `config.json` of a complete small model; in version 2 the heads are wider than hidden / heads."""
    head = 24 if version == 2 else 16
    wide = {"kv_channels": head} if version == 2 else {}
    factors = list(FACTORS[: head // 2])
    local = {"hidden_dim": 48 if version == 2 else 64, "ffn_dim": 96, "num_heads": 4, "num_layers": 2, **wide}
    return {
        "architecture": "voxcpm2" if version == 2 else "voxcpm",
        "lm_config": {
            **sizes.document("nano")["lm_config"],
            "hidden_size": 64,
            "intermediate_size": 128,
            "max_position_embeddings": 256,
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "rope_scaling": {
                "type": "longrope",
                "long_factor": factors,
                "short_factor": factors,
                "original_max_position_embeddings": 128,
            },
            "vocab_size": VOCABULARY,
            **wide,
        },
        "patch_size": 4,
        "feat_dim": 8,
        "residual_lm_num_layers": 2,
        "residual_lm_no_rope": True,
        "scalar_quantization_latent_dim": 16,
        "scalar_quantization_scale": 9,
        "encoder_config": local,
        "dit_config": {**local, "num_layers": 3, "cfm_config": {"solver": "euler"}},
        "audio_vae_config": {
            "encoder_dim": 8,
            "encoder_rates": [2, 3],
            "latent_dim": 8,
            "decoder_dim": 32,
            "decoder_rates": [3, 2],
            "sample_rate": 150,
            **({"out_sample_rate": 150} if version == 2 else {}),
        },
        "max_length": 200,
        "device": "cpu",
        "dtype": "float32",
    }


def tiny_checkpoint(version: int, seed: int = 0) -> Checkpoint:
    """Random tensors without neutral ones: norms are not all ones, the stop head is not zero."""
    config = VoxCPMConfig.from_json(tiny_document(version))
    generator = torch.Generator().manual_seed(seed)
    tensors = sizes.random_tensors(config, seed)
    for name, tensor in tensors.items():
        if name.endswith("norm.weight"):
            tensors[name] = 1 + 0.2 * torch.randn(tensor.shape, generator=generator)
        elif name == "stop_head.weight":
            tensors[name] = torch.randn(tensor.shape, generator=generator)
    return Checkpoint(config, tensors, audio_vae.random_tensors(config.vae, generator), f"tiny-{version}-{seed}")


def random_checkpoint(size: str, folder: Path, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    """Write an untrained model in the published layout; returns `folder`.

    The published models are bfloat16, except the VAE.
    """
    content = sizes.in_memory(size, seed, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(sizes.document(size), indent=1), encoding="utf-8")
    save_file(content.model, folder / "model.safetensors")
    torch.save({"state_dict": content.vae}, folder / "audiovae.pth")
    sizes.byte_level().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"unk_token": sizes.RESERVED[0]}), encoding="utf-8")
    return folder


def tiny_model(checkpoint: Checkpoint) -> VoxCPM:
    """The model under test."""
    return VoxCPM(checkpoint, torch.float32, torch.device("cpu"))


def tiny_engine(version: int, seed: int = 0) -> VoxCPMEngine:
    """The model as an engine; tokens are bytes."""
    checkpoint = tiny_checkpoint(version, seed)
    return VoxCPMEngine(tiny_model(checkpoint), sizes.byte_tokenizer(), "tiny", checkpoint.fingerprint)


def finish(engine: VoxCPMEngine, state: VoxCPMState) -> list[Step]:
    """All steps of a unit."""
    steps: list[Step] = []
    while not steps or not steps[-1].done:
        steps += engine.step([state])
    return steps


def finish_together(engine: VoxCPMEngine, requests: Sequence[SpeakRequest]) -> list[list[Step]]:
    """All steps of several units that join the batch one after the other, in changing order."""
    states = [engine.start(request) for request in requests]
    together: list[list[Step]] = [[] for _ in requests]
    turn = 0
    while any(not state.done for state in states):
        live = [row for row in range(min(len(requests), 1 + turn // 2)) if not states[row].done]
        live = live[::-1] if turn % 2 else live
        for row, step in zip(live, engine.step([states[row] for row in live]) if live else [], strict=True):
            together[row].append(step)
        turn += 1
    return together


def joined(steps: Sequence[Step]) -> Samples:
    """Their audio."""
    return np.concatenate([step.pcm for step in steps if step.pcm is not None])


def recording(engine: VoxCPMEngine, seconds: float, transcript: str = "Some words.") -> Recording:
    """Noise at the engine's input rate."""
    rate_hz = engine.model.config.vae.sample_rate_hz
    noise = np.random.default_rng(1).standard_normal(int(seconds * rate_hz)).astype(np.float32)
    return Recording(0.1 * noise, rate_hz, transcript)


def patch_samples(engine: VoxCPMEngine) -> int:
    """Samples in a patch."""
    return engine.model.vae.hop_out_samples * engine.model.config.patch_frames
