"""A stand-in for the Hugging Face hub, on the loopback: repositories from folders, for tests without a network.

It speaks as much of the hub's HTTP interface as downloads need: the tree of a repository at a revision, and its files
with their commit, hash and size, in ranges.
"""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""The commit of every repository's main branch."""


@dataclass
class StandInHub:
    """A running stand-in.

    Attributes:
        url: for HF_ENDPOINT.
        requests: methods and paths of the requests so far.
        sent: bytes of files sent so far.
        cut_after: ends the connection after so many bytes of each file; None sends all.
    """

    url: str = ""
    requests: list[str] = field(default_factory=list)
    sent: int = 0
    cut_after: int | None = None

    def downloads(self, name: str) -> int:
        """How often a file was asked for."""
        return sum(line.startswith("GET") and line.endswith(f"/{name}") for line in self.requests)


@contextlib.contextmanager
def standin_hub(repositories: Mapping[str, Path], gated: tuple[str, ...] = ()) -> Iterator[StandInHub]:
    """Serve folders as repositories `owner/name` until the context ends; those in `gated` are refused."""
    server = _Server(repositories, gated)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, repositories: Mapping[str, Path], gated: tuple[str, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories, self.gated = repositories, gated
        self.hub = StandInHub(f"http://127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *arguments: object) -> None:
        """Silent."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.hub.requests.append(f"{self.command} {path}")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?(?:/.*)?", path):
            self._describe(found[1], found[2] or "revision", found[3] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(found[1], found[2], found[3])
        else:
            self._fail(404, "EntryNotFound")

    def _describe(self, repository: str, what: str, revision: str) -> None:
        folder = self._folder(repository, revision)
        if folder is None:
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if what == "tree":
            answer: object = [
                {"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size, "oid": _hash(path)}
                for path in files
            ]
        else:
            names = [{"rfilename": str(path.relative_to(folder)), "size": path.stat().st_size} for path in files]
            answer = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": names, "private": False}
        self._send(json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _file(self, repository: str, revision: str, name: str) -> None:
        folder = self._folder(repository, revision)
        if folder is None:
            return
        path = folder / name
        if not path.is_file():
            self._fail(404, "EntryNotFound")
            return
        content = path.read_bytes()
        first = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(first[1]) if first else 0
        headers = {
            "ETag": f'"{_hash(path)}"',
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(len(content)),
            "Accept-Ranges": "bytes",
        }
        if first:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(content[start:], headers, 206 if first else 200, self.server.hub.cut_after)

    def _folder(self, repository: str, revision: str) -> Path | None:
        if repository in self.server.gated:
            self._fail(403, "GatedRepo")
        elif repository not in self.server.repositories:
            self._fail(401, "RepoNotFound")
        elif revision not in ("main", COMMIT):
            self._fail(404, "RevisionNotFound")
        else:
            return self.server.repositories[repository]
        return None

    def _fail(self, status: int, code: str) -> None:
        self._send(b"{}", {"X-Error-Code": code, "X-Error-Message": code}, status)

    def _send(self, content: bytes, headers: Mapping[str, str], status: int = 200, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        part = content if cut is None else content[:cut]
        self.wfile.write(part)
        if status in (200, 206) and "ETag" in headers:
            self.server.hub.sent += len(part)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
