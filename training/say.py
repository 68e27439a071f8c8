"""Between `lm` and more of `vae`: what the language models make of sentences, for the decoder to make sound of too.

Their latents are not quite the given ones: where a patch joins the next, or a voice is rough, a decoder that has heard
nothing else makes it worse. No recording belongs to them, so only the jury hears what becomes of them.
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
    """Write `out/said.safetensors`: the first `sentences` of every language's corpus, said anew; returns its frames.

    Raises:
        FileNotFoundError: there are no latents of any language.
        CheckpointError: the folder is no checkpoint.
    """
    engine = VoxCPMEngine.from_folder(checkpoint, threads=1)
    texts = [text for name in languages_of(out) for text in Corpus.load(out / name / "corpus").train[:sentences]]
    said = [latents_of(engine, text, seed) for seed, text in enumerate(tqdm(texts, desc="say", unit="sentence"))]
    frames = torch.cat(said).flatten(0, 1).half()
    partial = out / f"{SAID_FILE}.partial"
    save_file({"frames": frames}, partial)
    partial.rename(out / SAID_FILE)
    return len(frames)


def latents_of(engine: VoxCPMEngine, text: str, seed: int) -> Tensor:
    """The patches `[n, P, D]` that become the sound of a sentence."""
    unit = engine.start(SpeakRequest(text=text, seed=seed))
    found: list[Tensor] = []
    while not unit.done:
        engine.step([unit])
        if unit.generation is not None and len(found) < unit.made:
            found.append(unit.generation.patch)
    return torch.stack(found).float().cpu()
