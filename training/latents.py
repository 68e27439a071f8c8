"""Fourth stage: all speech as latent patches, once, for the language models to learn from. Knows nothing of text.

The encoder is scaled so that each latent number, its own noise included, has deviation 1, which is what the flow starts
from: a number that says nothing stays near 0, and costs the flow nothing. The decoder takes the scale back. From here
on the encoder stays as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from intone.server.engines.voxcpm.config import VoxCPMConfig
from training.loop import load_state
from training.model_sizes import patch_samples
from training.shards import LABEL_SAMPLES, SILENCE, Speech, read_speech
from training.vae import AudioVAE

VAE_FILE = "vae.safetensors"
MEASURED_SENTENCES = 512
BATCH = {"cpu": 2, "cuda": 32}
"""Sentences encoded together: few enough on a CPU that its cache holds what passes between layers."""
SHARD_SENTENCES = 1024


@dataclass(frozen=True, slots=True)
class Latents:
    """Speech as patches, n sentences and N patches in all, on one device.

    Attributes:
        patches: `[N, P, D]`, float16.
        labels: `[N, slots]`, uint8: the sound in each 20 ms of a patch.
        starts: `[n + 1]`, int64, on the CPU: sentence i is `patches[starts[i] : starts[i + 1]]`.
        numbers: `[n]`, int64, on the CPU, of the sentences in their list.
    """

    patches: Tensor
    labels: Tensor
    starts: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        """Sentences."""
        return self.numbers.shape[0]

    def to(self, device: torch.device) -> "Latents":
        """With patches and labels there."""
        return Latents(self.patches.to(device), self.labels.to(device), self.starts, self.numbers)


def encode_all(out: Path, config: VoxCPMConfig, device: torch.device) -> None:
    """Write `out/latents`: the scaled VAE, then shards of both lists; what exists is kept.

    Raises:
        FileNotFoundError: a stage before this one has not run.
    """
    folder = out / "latents"
    vae = AudioVAE(config.vae).to(device)
    speech = {name: read_speech(out / "speech" / name) for name in ("held_out", "train")}
    if (folder / VAE_FILE).exists():
        vae.load_state_dict(load_file(folder / VAE_FILE))
    else:
        vae.load_state_dict(load_state(out / "vae")["trainee"]["average"])
        vae.scale_latents(1 / deviations(vae, speech["train"], patch_samples(config)))
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in vae.state_dict().items()}, folder / VAE_FILE)
    for name, sentences in speech.items():
        (folder / name).mkdir(exist_ok=True)
        for start in tqdm(range(0, len(sentences), SHARD_SENTENCES), desc=f"latents, {name}", unit="shard"):
            path = folder / name / f"{start // SHARD_SENTENCES:03d}.safetensors"
            if not path.exists():
                _write_shard(path, vae, sentences, range(start, min(start + SHARD_SENTENCES, len(sentences))), config)


def read_latents(folder: Path) -> Latents:
    """All shards of one list.

    Raises:
        FileNotFoundError: there are none.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no latents; run the stage `latents` first")
    parts = [load_file(path) for path in paths]
    counts = torch.cat([part["counts"] for part in parts])
    return Latents(
        patches=torch.cat([part["patches"] for part in parts]),
        labels=torch.cat([part["labels"] for part in parts]),
        starts=torch.cat((torch.zeros(1, dtype=torch.int64), counts.cumsum(0))),
        numbers=torch.cat([part["numbers"] for part in parts]),
    )


@torch.no_grad()
def deviations(vae: AudioVAE, speech: Speech, patch: int) -> Tensor:
    """Root mean square `[D]` of each latent number over some sentences, drawn and not its mean, on the VAE's device."""
    count = min(len(speech), MEASURED_SENTENCES)
    squares = [means.square() + variances for _, means, variances in encoded(vae, speech, range(count), patch)]
    return torch.cat(squares).mean(0).sqrt()


@torch.no_grad()
def encoded(vae: AudioVAE, speech: Speech, indices: range, patch: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Sentence, means and variances of its latents `[frames, D]`, whole patches, the longest sentences first.

    The encoder sees no future, so shorter sentences of a batch are padded and cut without harm.
    """
    device = next(vae.parameters()).device
    lengths = speech.starts.diff()
    order = sorted(indices, key=lambda index: -int(lengths[index]))
    batch = BATCH[device.type]
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        counts = [-(-int(lengths[row]) // patch) for row in rows]
        audio = torch.zeros(len(rows), max(counts) * patch)
        for at, row in enumerate(rows):
            audio[at, : int(lengths[row])] = speech.sentence(row)[0]
        means, log_variances = (part.mT for part in vae.encoder(audio.to(device)))  # [B, frames, D]
        hop = audio.shape[1] // means.shape[1]
        for at, row in enumerate(rows):
            frames = counts[at] * patch // hop
            yield row, means[at, :frames], log_variances[at, :frames].exp()


def _write_shard(path: Path, vae: AudioVAE, speech: Speech, indices: range, config: VoxCPMConfig) -> None:
    patch = patch_samples(config)
    found = {index: means for index, means, _ in encoded(vae, speech, indices, patch)}
    shape = (-1, config.patch_frames, config.latent_dim)
    patches = [found[index].reshape(shape).half().cpu() for index in indices]
    labels = [_labels(speech.sentence(index)[1], len(patches[at]), patch) for at, index in enumerate(indices)]
    content = {
        "patches": torch.cat(patches),
        "labels": torch.cat(labels),
        "counts": torch.tensor([len(one) for one in patches]),
        "numbers": speech.numbers[indices.start : indices.stop].clone(),
    }
    partial = path.with_suffix(".partial")
    save_file(content, partial)
    partial.rename(path)


def _labels(labels: Tensor, patches: int, patch: int) -> Tensor:
    """Labels of one sentence `[patches, slots]`, silence after its end."""
    slots = patch // LABEL_SAMPLES
    padded = torch.full((patches * slots,), SILENCE, dtype=torch.uint8)
    padded[: len(labels)] = labels
    return padded.view(patches, slots)
