"""Packed weights kept in a file, so that the next start need not pack them again. Knows nothing of what they compute.

A file belongs to one state of one checkpoint, one precision, one kind of processor and one build of this package. What
is found in its place and does not fit is made again.
"""

import hashlib
import logging
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from intone.server.engines.voxcpm.weights import Checkpoint
from intone.server.engines.weights import Progress, Weights
from intone.server.ops import ensure_built
from intone.server.storage import atomic_write
from intone.server.storage.atomic_write import TEMPORARY_SUFFIX

logger = logging.getLogger(__name__)

Model = TypeVar("Model")
Built = TypeVar("Built", covariant=True)

SAMPLED_BYTES = 4096
"""Of each tensor, at its beginning, which is checked when a file is read."""

ABANDONED_S = 3600.0
"""Age from which what is being written is taken for the rest of a process that was killed."""


class PackedLayers:
    """The packed parts of a model by name: taken from where they were kept, or packed now and remembered."""

    def __init__(self, kept: Weights | None = None) -> None:
        """`kept` has the tensors of each part under its name; without it all parts are packed."""
        self._kept = kept
        self._made: dict[str, Any] = {}

    def part(self, name: str, take: Callable[[dict[str, Tensor]], Any], pack: Callable[[], Any]) -> Any:
        """The part of this name: what `take` makes of the tensors that were kept of it, else what `pack` makes.

        Either has a method `packed`, which gives those tensors.
        """
        if self._kept is None:
            made = self._made[name] = pack()
            return made
        tensors = self._kept.scope(name)
        taken = take(tensors.all())
        tensors.release()  # `taken` has copied them
        return taken

    def tensors(self) -> dict[str, Tensor]:
        """All that was packed, by name of part and tensor. Not copies."""
        parts = {name: part.packed() for name, part in self._made.items()}
        return {f"{name}.{inner}": tensor for name, part in parts.items() for inner, tensor in part.items()}


class Build(Protocol[Built]):
    """Makes a model whose packed parts come from `layers`."""

    def __call__(self, *, progress: Progress | None, layers: PackedLayers) -> Built:
        """Tell `progress` on the way."""


@dataclass(frozen=True, slots=True)
class PackedCache:
    """Where the packed form of a checkpoint is kept.

    Attributes:
        folder: of the files; it need not exist.
        place: what the file is for, whatever state that is in; 16 hex digits.
        key: everything that decides its bytes; 32 hex digits.
    """

    folder: Path
    place: str
    key: str

    @classmethod
    def of(cls, folder: Path, checkpoint: Checkpoint, packed: str) -> "PackedCache | None":
        """For a checkpoint packed as `packed`; None for one that was made in memory."""
        if not checkpoint.files:
            return None
        place = _hash([packed, ensure_built().best_isa(), *(os.fspath(path.resolve()) for path in checkpoint.files)])
        key = _hash([place, checkpoint.fingerprint, *_states(checkpoint.files), *_makers()])
        return cls(folder, place[:16], key[:32])

    @property
    def path(self) -> Path:
        """The file, there or not."""
        return self.folder / f"{self.place}-{self.key}.safetensors"

    def read(self) -> dict[str, Tensor] | None:
        """The tensors, mapped; None where there is no file or, with a warning, where it cannot be used."""
        from safetensors import SafetensorError, safe_open  # not needed to speak with a model that is built in memory

        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                written: Mapping[str, str] = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (OSError, SafetensorError) as error:
            logger.warning("cannot read packed weights from %s, which is made again: %s", self.path, error)
            return None
        if written.get("key") != self.key or written.get("digest") != _digest(tensors):
            logger.warning("%s is not what its name says, and is made again", self.path)
            return None
        return tensors

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors, in place of what was kept for another state; a warning where that cannot be done."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write.replacing(self.path, fsync=True) as temporary:
                save_file(dict(tensors), temporary, {"key": self.key, "digest": _digest(tensors)})
            self._sweep()
        except (OSError, SafetensorError) as error:
            logger.warning("packed weights are not kept, and are packed again at the next start: %s", error)

    def _sweep(self) -> None:
        """Remove what was kept for other states of the same checkpoint, and what was never finished."""
        for path in self.folder.glob(f"{self.place}-*"):
            abandoned = path.suffix == TEMPORARY_SUFFIX and time.time() - path.stat().st_mtime > ABANDONED_S
            if abandoned or (path.suffix != TEMPORARY_SUFFIX and path != self.path):
                path.unlink(missing_ok=True)


def through_cache(build: Build[Model], cache: PackedCache | None, progress: Progress | None = None) -> Model:
    """What `build` makes, from packed weights that were kept, else packed now and kept. It is the same to the bit."""
    began = time.perf_counter()
    kept = cache.read() if cache else None
    if cache and kept is not None:
        model = _taken(build, kept, cache, progress)
        if model is not None:
            logger.info("took packed weights from %s in %.1f s", cache.path, time.perf_counter() - began)
            return model
    logger.info("packing the weights%s", ", which the next start need not" if cache else "")
    layers = PackedLayers()
    model = build(progress=progress, layers=layers)
    packed = time.perf_counter()
    logger.info("packed the weights in %.1f s", packed - began)
    if cache:
        tensors = layers.tensors()
        cache.write(tensors)
        megabytes = sum(tensor.nbytes for tensor in tensors.values()) / 1e6
        logger.info("kept %.0f MB as %s in %.1f s", megabytes, cache.path, time.perf_counter() - packed)
    return model


def _taken(
    build: Build[Model], kept: Mapping[str, Tensor], cache: PackedCache, progress: Progress | None
) -> Model | None:
    """None where the tensors, whole as they are, are not those of the model."""
    weights = Weights(kept, mapped=True)
    try:
        model = build(progress=None, layers=PackedLayers(weights))
    except (RuntimeError, KeyError) as error:
        logger.warning("%s does not fit, and is made again: %s", cache.path, error)
        return None
    if progress:
        progress(1.0)
    return model


def _hash(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        piece = part.encode() if isinstance(part, str) else part
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()


def _states(files: Iterable[Path]) -> Iterator[str | bytes]:
    """What changes when a file is written again."""
    for path in files:
        stat = path.stat()
        yield f"{path.name} {stat.st_size} {stat.st_mtime_ns}"
        if path.suffix == ".safetensors":
            with path.open("rb") as file:
                yield file.read(min(stat.st_size, int.from_bytes(file.read(8), "little")))
        elif path.suffix == ".json":
            yield path.read_bytes()


def _makers() -> Iterator[str | bytes]:
    """What packs: this package, compiled or not, torch, which folds the VAE, and the processor."""
    engines = Path(__file__).parents[1]
    for path in sorted([*engines.glob("*.py"), *engines.glob("voxcpm/*.py"), *engines.parent.glob("nn/*.py")]):
        yield path.read_bytes()
    yield Path(ensure_built().__file__ or "").read_bytes()
    yield from (torch.__version__, torch.backends.cpu.get_cpu_capability(), platform.machine())


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and the beginning of every tensor."""
    return _hash(part for name in sorted(tensors) for part in _sample(name, tensors[name]))


def _sample(name: str, tensor: Tensor) -> Iterator[str | bytes]:
    yield f"{name} {tensor.dtype} {list(tensor.shape)}"
    yield tensor.flatten()[: SAMPLED_BYTES // tensor.element_size()].numpy().tobytes()
