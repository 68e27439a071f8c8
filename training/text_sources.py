"""Where English text comes from that may be trained on. Knows nothing of speech.

Jane Austen's novels are in the public domain (Debian's `r-cran-janeaustenr` carries them); WordNet's usage examples are
under its licence, which asks for its notice (Debian's `wordnet-base`). Both are fetched and unpacked, not installed.
"""

import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("r-cran-janeaustenr", "wordnet-base")
NOVEL_WORDS = 50_000  # shorter values of the R database are no novels
LONGEST_LINE_BYTES = 400

R_STRING = 9  # type in the low byte of an item's flags
_WHITE_SPACE = re.compile(r"\s+")
_SENTENCE_END = re.compile(r"""(?<=[.!?])["'_]*\s+""")


def fetch(folder: Path) -> None:
    """Unpack both Debian packages into `folder`, unless they are there.

    Raises:
        OSError, subprocess.CalledProcessError: no apt, or no network.
    """
    if novels_file(folder).is_file() and any(wordnet_files(folder)):
        return
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=folder, check=True)
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)


def novels_file(folder: Path) -> Path:
    """R's database of the novels."""
    return folder / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"


def wordnet_files(folder: Path) -> Iterator[Path]:
    """WordNet's definitions, one file for each part of speech."""
    return iter(sorted((folder / "usr/share/wordnet").glob("data.*")))


def novel_sentences(database: bytes) -> Iterator[str]:
    """Sentences of the novels, as they stand there, out of R's lazy-load database."""
    for value in _values(database):
        text = _WHITE_SPACE.sub(" ", " ".join(_strings(value)))
        if text.count(" ") > NOVEL_WORDS:
            yield from _SENTENCE_END.split(text)


def usage_examples(definitions: str) -> Iterator[str]:
    """The quoted examples of one WordNet file."""
    for line in definitions.splitlines():
        if "|" in line:
            yield from re.findall(r'"([^"]+)"', line.split("|", 1)[1])


def _values(database: bytes) -> Iterator[bytes]:
    """The serialised values of a lazy-load database: for each four bytes of length, then a zlib stream."""
    rest = database
    while len(rest) > 4:
        stream = zlib.decompressobj()
        yield stream.decompress(rest[4:])
        rest = stream.unused_data


def _strings(value: bytes) -> Iterator[str]:
    """The elements of a serialised character vector: big-endian flags and length, then the bytes."""
    at = 0
    while at + 8 <= len(value):
        flags, length = struct.unpack_from(">II", value, at)
        if flags & 0xFF == R_STRING and flags >> 20 == 0 and length < LONGEST_LINE_BYTES:
            yield value[at + 8 : at + 8 + length].decode("utf-8", errors="replace")
            at += 8 + length
        else:
            at += 1
