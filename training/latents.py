"""Third stage: all speech as latent patches, for the VAE and the language models to learn from. Knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from intone.server.engines.voxcpm.config import VoxCPMConfig
from training.analysis import PITCH_NUMBERS, Basis, latents_of, spectra
from training.model_sizes import patch_samples
from training.shards import LABEL_SAMPLES, POINT_SAMPLES, UNIT_SAMPLES, Speech, read_speech

BASIS_FILE = "basis.safetensors"
SAID_FILE = "said.safetensors"
MEASURED_SENTENCES = 1024
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


def write_all(out: Path, basis_file: Path, config: VoxCPMConfig) -> None:
    """Write `out/latents`: shards of both lists; what exists is kept, and so is the basis of spectra, if it exists.

    A shard that was the last when there was less speech is written again.

    Raises:
        FileNotFoundError: the stage before this one has not run.
    """
    assert patch_samples(config) == UNIT_SAMPLES, "sentences are whole patches"
    folder = out / "latents"
    speech = {name: read_speech(out / "speech" / name) for name in ("held_out", "train")}
    basis = _basis(basis_file, speech["train"], config.latent_dim - PITCH_NUMBERS)
    for name, sentences in speech.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for start in tqdm(range(0, len(sentences), SHARD_SENTENCES), desc=f"latents, {name}", unit="shard"):
            path = folder / name / f"{start // SHARD_SENTENCES:03d}.safetensors"
            indices = range(start, min(start + SHARD_SENTENCES, len(sentences)))
            if not _holds(path, sentences.numbers[indices.start : indices.stop]):
                _write_shard(path, sentences, indices, basis, config)


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


def read_said(out: Path) -> Tensor | None:
    """All frames `[F, D]`, float16, of the stage `say`; None where nothing was said yet."""
    path = out / SAID_FILE
    return load_file(path)["frames"] if path.exists() else None


def joined(parts: Sequence[Latents]) -> Latents:
    """Those of several languages in one; `numbers` are then no longer of one list."""
    counts = torch.cat([part.starts.diff() for part in parts])
    return Latents(
        patches=torch.cat([part.patches for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        starts=torch.cat((torch.zeros(1, dtype=torch.int64), counts.cumsum(0))),
        numbers=torch.cat([part.numbers for part in parts]),
    )


def _basis(path: Path, speech: Speech, numbers: int) -> Basis:
    if not path.exists():
        count = min(len(speech), MEASURED_SENTENCES)
        found = torch.cat([spectra(speech.sentence(index)[0]) for index in tqdm(range(count), desc="spectra")])
        basis = Basis.of(found, numbers)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"mean": basis.mean, "directions": basis.directions.contiguous()}, path)
    content = load_file(path)
    return Basis(content["mean"], content["directions"])


def _holds(path: Path, numbers: Tensor) -> bool:
    """Whether there is a shard, of these sentences."""
    if not path.exists():
        return False
    with safe_open(path, "pt") as shard:
        return torch.equal(shard.get_tensor("numbers"), numbers)


def _write_shard(path: Path, speech: Speech, indices: range, basis: Basis, config: VoxCPMConfig) -> None:
    starts = [*speech.starts[indices.start : indices.stop].tolist(), int(speech.starts[indices.stop])]
    first, last = starts[0], starts[-1]
    patches = [
        latents_of(
            speech.audio[start:end].float() / 32768, speech.pitch[start // POINT_SAMPLES : end // POINT_SAMPLES], basis
        )
        for start, end in zip(starts, starts[1:], strict=False)
    ]
    labels = speech.labels[first // LABEL_SAMPLES : last // LABEL_SAMPLES]
    content = {
        "patches": torch.cat(patches).view(-1, config.patch_frames, config.latent_dim).half(),
        "labels": labels.view(-1, UNIT_SAMPLES // LABEL_SAMPLES).clone(),
        "counts": torch.tensor(starts).diff() // UNIT_SAMPLES,
        "numbers": speech.numbers[indices.start : indices.stop].clone(),
    }
    partial = path.with_suffix(".partial")
    save_file(content, partial)
    partial.rename(path)
