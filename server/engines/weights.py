"""Checkpoint files: reading them, checking names and shapes strictly, and handing tensors to the modules of a model.

A module declares each tensor once, where it reads it: `weights.tensor("q_proj.weight", (rows, hidden))`. The strict
check and random weights take their names and shapes from the same statements, through `declared_shapes`.
"""

import copy
import ctypes
import hashlib
import mmap
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from intone.server.engines.int8_checkpoint import dequantized
from intone.server.engines.meta_shapes import MetaShapes
from intone.server.errors import CheckpointError

LoadProgress = Callable[[float], None]
"""Called with the part of a model that has been loaded, 0 to 1, never less than before."""

Shape = tuple[int, ...]

Shapes = Mapping[str, Shape]
"""What a file must hold: name → shape."""

CPU = torch.device("cpu")

SHOWN = 5
"""Faults listed in a message; the rest is counted."""

TRIM_ELEMENTS = 4 << 20
"""Elements handed out between two calls of `malloc_trim`."""

SAMPLED_BYTES = 4096
SAMPLES = 64


def find_file(folder: Path, names: Sequence[str], engine: str) -> Path:
    """The first of `names` that is a file in `folder`.

    Raises:
        CheckpointError: there is none.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        engine, f"{folder}: found no {' or '.join(names)}: is it the folder of a checkpoint, and complete?"
    )


def read_tensors(path: Path, engine: str) -> dict[str, Tensor]:
    """All tensors of a `.safetensors` file or of a pickled state dict (bare or under "state_dict"), on the CPU.

    Memory-mapped where the format allows it: pages are read when a tensor is first used. Only tensors are unpickled.
    Tensors stored as int8 are returned in float32, in memory of their own (see `int8_checkpoint.py`).

    Raises:
        CheckpointError: the file cannot be read, or an int8 tensor and its scale do not match.
    """
    try:
        found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(engine, f"cannot read {path}: {error}") from error
    for name, tensor in found.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(engine, f"{path}: {name}: found {type(tensor).__name__}, expected a tensor")
    return dequantized(found, path, engine)


def check_tensors(found: Mapping[str, Tensor], expected: Shapes, path: Path, engine: str) -> None:
    """Check that the names and shapes are exactly the expected ones.

    Raises:
        CheckpointError: lists the first faults with key, found and expected, and counts the rest.
    """
    faults = [f"{key}: missing, expected {list(shape)}" for key, shape in expected.items() if key not in found]
    faults += [f"{key}: found {list(found[key].shape)}, expected nothing" for key in found if key not in expected]
    faults += [
        f"{key}: found {list(found[key].shape)}, expected {list(shape)}"
        for key, shape in expected.items()
        if key in found and tuple(found[key].shape) != tuple(shape)
    ]
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise CheckpointError(engine, f"{path}: {'; '.join(faults[:SHOWN])}{more}")


def fingerprint(parts: Sequence[Path | bytes]) -> str:
    """A hash of names, sizes and evenly spaced samples of files, and of whole byte strings; 32 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        for piece in _samples(part) if isinstance(part, Path) else (len(part).to_bytes(8, "little"), part):
            digest.update(piece)
    return digest.hexdigest()[:32]


class Weights:
    """The tensors of a checkpoint, handed out by name and shape in the dtype and on the device of the model.

    What a module reads is also its declaration: `declared_shapes` runs the same code against a recorder and returns
    the names and shapes that it asks for. So constructors must also work on meta tensors, which have no values.

    Args:
        tensors: full name → tensor.
        dtype: of floating-point tensors.
        progress: called after each tensor with the part of all elements that has been handed out.
        mapped: tensors that are views of mapped files are never written to, and each one's pages are given back
            (MADV_DONTNEED) after copying. Tensors in memory of their own are not affected.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        dtype: torch.dtype = torch.float32,
        device: torch.device = CPU,
        progress: LoadProgress | None = None,
        *,
        mapped: bool = False,
    ) -> None:
        self._tensors, self._dtype, self._device, self._prefix = tensors, dtype, device, ""
        self._files = _mapped_files() if mapped else []
        self._keep_bf16 = False
        self._meter = _Meter(sum(tensor.numel() for tensor in tensors.values()), progress)
        self.release()  # opening a file reads the beginning of every tensor

    def scope(self, prefix: str) -> "Weights":
        """The tensors whose names begin with `prefix` and a dot."""
        inner = copy.copy(self)  # shares tensors and meter
        inner._prefix = f"{self._prefix}{prefix}."
        return inner

    def keeping_bf16(self) -> "Weights":
        """The same, but bfloat16 tensors are handed out as views; the caller calls `release` when done with them."""
        inner = copy.copy(self)
        inner._keep_bf16 = True
        return inner

    @property
    def prefix(self) -> str:
        """What all names begin with: empty, or ending in a dot."""
        return self._prefix

    def tensor(self, name: str, shape: Shape) -> Tensor:
        """The tensor `name`, which must have this shape, in the model's dtype."""
        tensor = self._converted(name)
        assert tuple(tensor.shape) == tuple(shape), f"{self._prefix}{name} is {list(tensor.shape)}, not {list(shape)}"
        return tensor

    def affine(self, name: str, shape: Shape) -> tuple[Tensor, Tensor]:
        """`name.weight` of this shape and `name.bias`, of the shape's first dimension."""
        return self.tensor(f"{name}.weight", shape), self.tensor(f"{name}.bias", shape[:1])

    def fused(self, shapes: Shapes) -> Tensor:
        """Tensors joined along their first dimension: several projections of one input as one."""
        return torch.cat([self.tensor(name, shape) for name, shape in shapes.items()])

    def stored(self, name: str, shape: Shape) -> Tensor:
        """As `tensor`, in the dtype of the file: what is read row by row stays mapped, and no copy of it is made."""
        assert tuple(self._tensors[self._prefix + name].shape) == tuple(shape)
        return self._as_stored(name)

    def unused(self, name: str, shape: Shape) -> None:
        """Declare a tensor that a file must have although nothing here computes with it."""

    def all(self) -> dict[str, Tensor]:
        """Every tensor under the prefix, by the rest of its name, in the dtype of the file."""
        names = [name for name in self._tensors if name.startswith(self._prefix)]
        return {name.removeprefix(self._prefix): self._as_stored(name.removeprefix(self._prefix)) for name in names}

    def release(self) -> None:
        """Give back the mapped pages of every tensor under the prefix, once all have been copied or packed."""
        if self._files:
            for name, tensor in self._tensors.items():
                if name.startswith(self._prefix):
                    _drop_pages(tensor, self._files)
            _trim()

    def _converted(self, name: str) -> Tensor:
        tensor = self._tensors[self._prefix + name]
        self._meter.add(tensor.numel())
        as_is = not tensor.is_floating_point() or (self._keep_bf16 and tensor.dtype == torch.bfloat16)
        given = tensor.to(device=self._device, dtype=tensor.dtype if as_is else self._dtype)
        if self._files and given.data_ptr() != tensor.data_ptr():
            _drop_pages(tensor, self._files)
            if self._meter.passed(TRIM_ELEMENTS):
                _trim()
        return given

    def _as_stored(self, name: str) -> Tensor:
        tensor = self._tensors[self._prefix + name]
        self._meter.add(tensor.numel())
        return tensor.to(self._device)


def declared_shapes(read: Callable[[Weights], object]) -> dict[str, Shape]:
    """Every tensor that `read`, a constructor or reader of weights, asks for: full name → shape, in order of asking.

    `read` gets meta tensors: it computes nothing and takes no memory.
    """
    recorder = _Recorder()
    with MetaShapes():  # type: ignore[no-untyped-call]
        read(recorder)
    return recorder.shapes


class _Recorder(Weights):
    """Records names and shapes; hands out meta tensors."""

    def __init__(self) -> None:
        super().__init__({}, torch.float32, torch.device("meta"))
        self.shapes: dict[str, Shape] = {}

    def tensor(self, name: str, shape: Shape) -> Tensor:
        self.unused(name, shape)
        return torch.empty(shape, dtype=self._dtype, device=self._device)

    def stored(self, name: str, shape: Shape) -> Tensor:
        return self.tensor(name, shape)

    def unused(self, name: str, shape: Shape) -> None:
        declared = self.shapes.setdefault(self._prefix + name, tuple(shape))
        assert declared == tuple(shape), f"{self._prefix}{name} is declared as {list(declared)} and {list(shape)}"

    def release(self) -> None:
        """There is no file."""


class _Meter:
    """Counts elements for a progress bar."""

    def __init__(self, total: int, progress: LoadProgress | None) -> None:
        self._total, self._progress, self._done, self._marked = max(total, 1), progress, 0, 0

    def passed(self, elements: int) -> bool:
        """Whether this many elements have been handed out since the last time it returned True."""
        if self._done - self._marked < elements:
            return False
        self._marked = self._done
        return True

    def add(self, elements: int) -> None:
        self._done += elements
        if self._progress:
            self._progress(min(1.0, self._done / self._total))


def _mapped_files() -> list[tuple[int, int]]:
    """The address ranges [start, stop) at which files are mapped; empty on systems without /proc."""
    if not sys.platform.startswith("linux"):
        return []
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, _, _, _, inode, *_ = line.split()
        if inode != "0":
            first, end = (int(address, 16) for address in addresses.split("-"))
            found.append((first, end))
    return found


def _drop_pages(tensor: Tensor, files: Sequence[tuple[int, int]]) -> None:
    """MADV_DONTNEED the pages of a mapped file that a tensor lies in; on next use they are read from the file again.

    Without it a model counts twice while it is loaded: once as packed, once as the pages of its file. Only for mapped
    files: other memory would be zeroed.
    """
    first = tensor.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    end = -(-(tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE) * mmap.PAGESIZE
    if end > first and any(start <= first and end <= stop for start, stop in files):
        libc = ctypes.CDLL(None)
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_DONTNEED)


def _trim() -> None:
    """Return freed memory to the system: the allocator keeps the float32 copies that weights were packed from."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc
    if trim is not None:
        trim(0)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open  # not needed for models built in memory

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # files written before torch 1.6 cannot be mapped
        content = torch.load(path, map_location="cpu", weights_only=True)
    inner = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(inner, Mapping):
        raise ValueError(f"found {type(content).__name__}, expected a state dict")
    return dict(inner)


def _samples(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    yield path.name.encode() + size.to_bytes(8, "little")
    with path.open("rb") as file:
        for index in range(SAMPLES + 1):
            file.seek(max(0, size - SAMPLED_BYTES) * index // SAMPLES)
            yield file.read(SAMPLED_BYTES)
