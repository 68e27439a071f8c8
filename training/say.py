"""Stage `say`: generates latents with the language models, on which the stage `vae` then trains its decoder as well.

Generated latents differ slightly from those of real speech, for instance at patch boundaries. A decoder trained on real
latents only amplifies the differences. Generated latents have no reference audio, so the decoder's output for them
contributes to the adversarial loss only.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from intone.server.domain import SpeakRequest
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from training.corpus import Corpus
from training.languages import languages_of
from training.latents import SAID_FILE


def run(out: Path, checkpoint: Path, sentences: int) -> int:
    """Write `out/said.safetensors` with the first `sentences` of each language's corpus; returns the number of frames.

    Raises:
        FileNotFoundError: there are no latents of any language.
        CheckpointError: `checkpoint` cannot be read.
    """
    engine = VoxCPMEngine.from_folder(checkpoint, threads=1)
    texts = [text for name in languages_of(out) for text in Corpus.load(out / name / "corpus").train[:sentences]]
    generated = [latents_of(engine, text, seed) for seed, text in enumerate(tqdm(texts, desc="say", unit="sentence"))]
    frames = torch.cat(generated).flatten(0, 1).half()
    partial = out / f"{SAID_FILE}.partial"
    save_file({"frames": frames}, partial)
    partial.rename(out / SAID_FILE)
    return len(frames)


def latents_of(engine: VoxCPMEngine, text: str, seed: int) -> Tensor:
    """The generated patches of a sentence: `[n, P, D]`, float32."""
    unit = engine.start(SpeakRequest(text=text, seed=seed))
    patches: list[Tensor] = []
    while not unit.done:
        engine.step([unit])
        if unit.generation is not None and len(patches) < unit.made:
            patches.append(unit.generation.patch)
    return torch.stack(patches).float().cpu()
