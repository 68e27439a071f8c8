"""Sources of freely usable English text.

Jane Austen's novels are in the public domain (Debian package `r-cran-janeaustenr`). WordNet's usage examples are under
the WordNet license, which requires its notice (Debian package `wordnet-base`). Both are downloaded and unpacked, not
installed.
"""

import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("r-cran-janeaustenr", "wordnet-base")
MIN_NOVEL_WORDS = 50_000
"""Shorter values of the R database are not novels."""
MAX_LINE_BYTES = 400

R_STRING = 9  # CHARSXP, in the low byte of an item's flags
_WHITE_SPACE = re.compile(r"\s+")
_SENTENCE_END = re.compile(r"""(?<=[.!?])["'_]*\s+""")


def fetch(folder: Path) -> None:
    """Download and unpack both Debian packages into `folder`, unless that is done.

    Raises:
        OSError: there is no apt-get or dpkg.
        subprocess.CalledProcessError: the download failed.
    """
    if novels_file(folder).is_file() and any(wordnet_files(folder)):
        return
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=folder, check=True)
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)


def novels_file(folder: Path) -> Path:
    """The R lazy-load database of the novels."""
    return folder / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"


def wordnet_files(folder: Path) -> Iterator[Path]:
    """WordNet's data files, one per part of speech."""
    return iter(sorted((folder / "usr/share/wordnet").glob("data.*")))


def novel_sentences(database: bytes) -> Iterator[str]:
    """Raw sentences of the novels in an R lazy-load database."""
    for value in _values(database):
        text = _WHITE_SPACE.sub(" ", " ".join(_strings(value)))
        if text.count(" ") > MIN_NOVEL_WORDS:
            yield from _SENTENCE_END.split(text)


def usage_examples(definitions: str) -> Iterator[str]:
    """The quoted usage examples of one WordNet data file."""
    for line in definitions.splitlines():
        if "|" in line:
            yield from re.findall(r'"([^"]+)"', line.split("|", 1)[1])


def _values(database: bytes) -> Iterator[bytes]:
    """The serialized values of a lazy-load database, each a length of four bytes and a zlib stream."""
    rest = database
    while len(rest) > 4:
        stream = zlib.decompressobj()
        yield stream.decompress(rest[4:])
        rest = stream.unused_data


def _strings(value: bytes) -> Iterator[str]:
    """The elements of a serialized character vector, each big-endian flags and length, then the bytes."""
    offset = 0
    while offset + 8 <= len(value):
        flags, length = struct.unpack_from(">II", value, offset)
        if flags & 0xFF == R_STRING and flags >> 20 == 0 and length < MAX_LINE_BYTES:
            yield value[offset + 8 : offset + 8 + length].decode("utf-8", errors="replace")
            offset += 8 + length
        else:
            offset += 1
