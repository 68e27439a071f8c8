"""Saves packed weights to a file, so that the next start does not pack them again.

A file is valid for one state of one checkpoint, one precision, one instruction set and one build of this package. An
invalid file is replaced, and so are a file that another user can have written and a damaged one: all of it is verified
before it is used.
"""

import contextlib
import hashlib
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from intone.server.engines.weights import LoadProgress, Weights
from intone.server.ops import ensure_built
from intone.server.storage import atomic_write, own_file
from intone.server.storage.atomic_write import TEMPORARY_SUFFIX

logger = logging.getLogger(__name__)

LOWEST_PRIORITY = 19

_writers: list[threading.Thread] = []

Model = TypeVar("Model")
Built = TypeVar("Built", covariant=True)


class Packable(Protocol):
    """A native part of a model, such as `DecoderLayer` or `ConvChain`."""

    def packed(self) -> dict[str, Tensor]:
        """Its packed tensors. Not copies."""


Part = TypeVar("Part", bound=Packable)

Each = Callable[[Callable[[str, Tensor], str], Iterable[str], Iterable[Tensor]], Iterator[str]]
"""`map`, or that of an executor. An executor takes no work while the interpreter ends, when a writer may still run."""


class PackedLayers:
    """The packed parts of a model by name, loaded from cached tensors or packed and recorded."""

    def __init__(self, cached: Weights | None = None) -> None:
        """`cached` has the tensors of each part under its name; without it all parts are packed."""
        self._cached = cached
        self._packed: dict[str, Packable] = {}

    def part(self, name: str, load: Callable[[dict[str, Tensor]], Part], pack: Callable[[], Part]) -> Part:
        """The part of this name: `load` of its cached tensors, or `pack()`."""
        if self._cached is None:
            packed = self._packed[name] = pack()
            return packed
        tensors = self._cached.scope(name)
        loaded = load(tensors.all())
        tensors.release()  # `load` has copied them
        return loaded

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that were packed, by name of part and tensor. Not copies."""
        parts = {name: part.packed() for name, part in self._packed.items()}
        return {f"{name}.{inner}": tensor for name, part in parts.items() for inner, tensor in part.items()}


class Build(Protocol[Built]):
    """Builds a model whose packed parts come from `layers`."""

    def __call__(self, *, progress: LoadProgress | None, layers: PackedLayers) -> Built:
        """Call `progress` while building."""


@dataclass(frozen=True, slots=True)
class PackedCache:
    """The cache file of a checkpoint.

    Attributes:
        folder: of cache files; it need not exist.
        slot: identifies the checkpoint's path and the precision, in any state; 16 hex digits.
        key: identifies everything that the file's contents depend on; 32 hex digits.
    """

    folder: Path
    slot: str
    key: str

    @classmethod
    def of(
        cls, folder: Path | None, engine: str, files: Sequence[Path], fingerprint: str, packed: str | None
    ) -> "PackedCache | None":
        """For the checkpoint of an engine in `files`, with packed weights of type `packed`.

        None where there is nothing to keep: no folder, no packed weights, or a checkpoint made in memory.
        """
        if folder is None or packed is None or not files:
            return None
        slot = _hash([packed, ensure_built().best_isa(), *(os.fspath(path.resolve()) for path in files)])
        key = _hash([slot, fingerprint, *_states(files), *_packer_versions(engine)])
        return cls(folder, slot[:16], key[:32])

    @property
    def path(self) -> Path:
        """The file, which need not exist."""
        return self.folder / f"{self.slot}-{self.key}.safetensors"

    def read(self) -> dict[str, Tensor] | None:
        """The tensors, memory-mapped; None without a file or, with a warning, if it cannot be used."""
        from safetensors import SafetensorError, safe_open  # not needed for models built in memory

        try:
            with own_file.opened(self.path) as path, safe_open(path, framework="pt") as file:
                written: Mapping[str, str] = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError) as error:
            logger.warning("cannot read packed weights from %s, packing again: %s", self.path, error)
            return None
        with ThreadPoolExecutor() as threads:  # hashing needs no GIL
            digest = _digest(tensors, threads.map)
        if written.get("key") != self.key or written.get("digest") != digest:
            logger.warning("%s does not match its key, packing again", self.path)
            return None
        return tensors

    def write(self, tensors: Mapping[str, Tensor]) -> bool:
        """Save the tensors, replacing files of other states; whether they could be written, with a warning if not."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with atomic_write.replacing(self.path, fsync=True) as temporary:
                save_file(dict(tensors), temporary, {"key": self.key, "digest": _digest(tensors)})
            self._sweep()
        except (OSError, SafetensorError) as error:
            logger.warning("cannot save packed weights, which are packed again at the next start: %s", error)
            return False
        return True

    def _sweep(self) -> None:
        """Remove the files of other states of the same checkpoint, and abandoned unfinished ones."""
        atomic_write.sweep(self.folder)
        for path in self.folder.glob(f"{self.slot}-*"):
            if path.suffix != TEMPORARY_SUFFIX and path != self.path:
                path.unlink(missing_ok=True)


def build_with_cache(build: Build[Model], cache: PackedCache | None, progress: LoadProgress | None = None) -> Model:
    """The model that `build` makes, with packed weights from the cache, or packed now. Bit-identical.

    Weights that were packed are saved on a thread: a start does not wait for it.
    """
    started = time.perf_counter()
    cached = cache.read() if cache else None
    if cache and cached is not None:
        model = _from_cache(build, cached, cache, progress)
        if model is not None:
            logger.info("loaded packed weights from %s in %.1f s", cache.path, time.perf_counter() - started)
            return model
    logger.info("packing the weights%s", ", once for this and later starts" if cache else "")
    layers = PackedLayers()
    model = build(progress=progress, layers=layers)
    logger.info("packed the weights in %.1f s", time.perf_counter() - started)
    if cache:
        writer = threading.Thread(target=_save, args=(layers, cache), name="packed weights")
        _writers.append(writer)
        writer.start()
    return model


def finish_writing() -> None:
    """Wait until the packed weights of all models that were built in this process are saved."""
    while _writers:
        _writers.pop().join()


def _save(layers: PackedLayers, cache: PackedCache) -> None:
    """Write the file while the model is already in use, at the lowest priority."""
    with contextlib.suppress(AttributeError, OSError):  # the priority of a thread is Linux's own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
    started, tensors = time.perf_counter(), layers.tensors()
    if cache.write(tensors):
        megabytes = sum(tensor.nbytes for tensor in tensors.values()) / 1e6
        logger.info("saved %.0f MB as %s in %.1f s", megabytes, cache.path, time.perf_counter() - started)


def _from_cache(
    build: Build[Model], cached: Mapping[str, Tensor], cache: PackedCache, progress: LoadProgress | None
) -> Model | None:
    """The model; None, with a warning, if the tensors do not match it."""
    weights = Weights(cached, mapped=True)
    try:
        model = build(progress=None, layers=PackedLayers(weights))
    except (RuntimeError, KeyError) as error:
        logger.warning("%s does not match the model, packing again: %s", cache.path, error)
        return None
    if progress:
        progress(1.0)
    return model


def _hash(parts: Iterable[str | bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        piece = part.encode() if isinstance(part, str) else part
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest()


def _states(files: Iterable[Path]) -> Iterator[str | bytes]:
    """What identifies the state of files: sizes, times, headers of safetensors and contents of JSON."""
    for path in files:
        stat = path.stat()
        yield f"{path.name} {stat.st_size} {stat.st_mtime_ns}"
        if path.suffix == ".safetensors":
            with path.open("rb") as file:
                yield file.read(min(stat.st_size, int.from_bytes(file.read(8), "little")))
        elif path.suffix == ".json":
            yield path.read_bytes()


def _packer_versions(engine: str) -> Iterator[str | bytes]:
    """What the packed form depends on: the sources of the engine, its extension, torch and the processor."""
    engines = Path(__file__).parent
    sources = [*engines.glob("*.py"), *(engines / engine).rglob("*.py"), *engines.parent.glob("nn/*.py")]
    for path in sorted(sources):
        yield path.read_bytes()
    yield Path(ensure_built().__file__).read_bytes()
    yield from (torch.__version__, torch.backends.cpu.get_cpu_capability(), platform.machine())


def _digest(tensors: Mapping[str, Tensor], each: Each = map) -> str:
    """A hash of names, types, shapes and values of all tensors; a gigabyte takes a second of one core."""
    names = sorted(tensors)
    return _hash(each(_tensor_digest, names, (tensors[name] for name in names)))


def _tensor_digest(name: str, tensor: Tensor) -> str:
    values = tensor.contiguous().flatten().view(torch.uint8)
    return _hash([f"{name} {tensor.dtype} {list(tensor.shape)}", values.numpy().data])
