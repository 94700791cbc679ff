"""Files on servers, read over the loopback: HTTP with ranges, and as much of the XRootD protocol as reading a file takes.

The XRootD server here answers the real client (fsspec-xrootd on the XRootD bindings), as it would a storage element.
"""

from __future__ import annotations

import http.server
import re
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from resonaut.errors import InputError, MissingDependencyError
from resonaut.processors import DijetProcessor, recognise, run_processor, source, write_particle_tree
from resonaut.processors.sources import remote


class _Ranges(http.server.BaseHTTPRequestHandler):
    """GET and HEAD of files below `server.folder`, whole or in one range."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._send(body=False)

    def do_GET(self) -> None:
        self._send(body=True)

    def _send(self, *, body: bool) -> None:
        path = self.server.folder / self.path.lstrip("/")  # type: ignore[attr-defined]
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = 0, len(content) - 1
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or last), last)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        else:
            self.send_response(200)
        part = content[first : last + 1]
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.server.sent.append(len(part))  # type: ignore[attr-defined]
            self.wfile.write(part)


OK, ERROR = 0, 4003
NOT_FOUND, UNSUPPORTED = 3011, 3013


class _XRootD(socketserver.StreamRequestHandler):
    """Handshake, protocol, login, open, stat, read, vector read, close and locate of the XRootD protocol 5."""

    def handle(self) -> None:
        if len(self.rfile.read(20)) < 20:
            return
        self.wfile.write(struct.pack(">2sHIII", b"\0\0", OK, 8, 0x500, 1))
        self.files: dict[bytes, bytes] = {}
        while len(head := self.rfile.read(24)) == 24:
            stream, request, body, length = struct.unpack(">2sH16sI", head)
            status, answer = self._answer(request, body, self.rfile.read(length))
            self.wfile.write(struct.pack(">2sHI", stream, status, len(answer)) + answer)

    def _answer(self, request: int, body: bytes, data: bytes) -> tuple[int, bytes]:
        answers = {
            3001: self._query, 3003: self._done, 3006: self._protocol, 3007: self._login, 3010: self._open, 3011: self._done,
            3013: self._read, 3017: self._stat, 3023: self._done, 3025: self._read_many, 3027: self._locate,
        }  # fmt: skip
        answer = answers.get(request)
        self.server.requests.append(request)  # type: ignore[attr-defined]
        if answer is None:
            return ERROR, struct.pack(">I", UNSUPPORTED) + b"not served here\0"
        return answer(body, data)

    def _content(self, data: bytes) -> bytes | None:
        path = self.server.folder / data.decode().split("?")[0].lstrip("/")  # type: ignore[attr-defined]
        return path.read_bytes() if path.is_file() else None

    def _done(self, _body: bytes, _data: bytes) -> tuple[int, bytes]:
        return OK, b""

    def _protocol(self, _body: bytes, _data: bytes) -> tuple[int, bytes]:
        return OK, struct.pack(">II", 0x500, 1)

    def _login(self, _body: bytes, _data: bytes) -> tuple[int, bytes]:
        return OK, b"\1" * 16

    def _query(self, _body: bytes, data: bytes) -> tuple[int, bytes]:
        limits = {b"readv_ior_max": b"2097136", b"readv_iov_max": b"1024"}
        return OK, b"".join(limits.get(name, name) + b"\n" for name in data.rstrip(b"\0").split())

    def _open(self, _body: bytes, data: bytes) -> tuple[int, bytes]:
        content = self._content(data)
        if content is None:
            return ERROR, struct.pack(">I", NOT_FOUND) + b"no such file\0"
        handle = struct.pack(">I", len(self.files))
        self.files[handle] = content
        return OK, handle + struct.pack(">I4s", 0, b"") + f"1 {len(content)} 16 0".encode() + b"\0"

    def _stat(self, body: bytes, data: bytes) -> tuple[int, bytes]:
        content = self._content(data) if data else self.files.get(body[12:16])
        if content is None:
            return ERROR, struct.pack(">I", NOT_FOUND) + b"no such file\0"
        return OK, f"1 {len(content)} 16 0".encode() + b"\0"

    def _read(self, body: bytes, _data: bytes) -> tuple[int, bytes]:
        handle, offset, length = struct.unpack(">4sQI", body)
        return OK, self.files[handle][offset : offset + length]

    def _read_many(self, _body: bytes, data: bytes) -> tuple[int, bytes]:
        parts = []
        for place in range(0, len(data), 16):
            handle, length, offset = struct.unpack(">4sIQ", data[place : place + 16])
            parts.append(data[place : place + 16] + self.files[handle][offset : offset + length])
        return OK, b"".join(parts)

    def _locate(self, _body: bytes, _data: bytes) -> tuple[int, bytes]:
        host, port = self.server.server_address[:2]  # type: ignore[misc]
        return OK, f"Sr[::{host}]:{port}".encode() + b"\0"


@contextmanager
def _serving(handler: Any, folder: Path) -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.folder, server.sent, server.requests = folder, [], []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()


@contextmanager
def serve_http(folder: Path) -> Iterator[Any]:
    """A server of the files of a folder; `url` is where, `sent` the bytes of each answer."""
    with _serving(_Ranges, folder) as server:
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield server


@contextmanager
def serve_xrootd(folder: Path) -> Iterator[Any]:
    """The same by XRootD; `requests` has the numbers of the requests."""
    with _serving(_XRootD, folder) as server:
        server.url = f"root://127.0.0.1:{server.server_address[1]}/"
        yield server


@pytest.fixture(params=["http", "root"])
def served(request: pytest.FixtureRequest, tmp_path: Path, toy_particles: Any) -> Iterator[Any]:
    """A server with events of particles and a column that is large and not of use."""
    if request.param == "root":
        pytest.importorskip("fsspec_xrootd", reason="reading root:// needs the extra xrootd")
    else:
        pytest.importorskip("aiohttp", reason="reading http:// needs the extra http")
    (tmp_path / "store").mkdir()
    rng = np.random.default_rng(1)
    write_particle_tree(tmp_path / "store" / "events.root", toy_particles, weight=rng.uniform(0, 1, len(toy_particles)))
    with (serve_http if request.param == "http" else serve_xrootd)(tmp_path / "store") as server:
        server.where = tmp_path / "store"
        yield server


def test_events_from_a_server_are_those_of_the_file(served: Any) -> None:
    url, local = f"{served.url}/events.root", str(served.where / "events.root")
    assert recognise(url) == "particles-root"
    reader = source("particles-root")
    assert reader.n_events(url) == 20
    mine, theirs = reader.read(url, 3, 17), reader.read(local, 3, 17)
    assert ak.array_equal(mine.PFCand.pt, theirs.PFCand.pt)
    one, two = (run_processor({"a": [path]}, DijetProcessor(), chunksize=8) for path in (url, local))
    assert one.ledger.read == two.ledger.read == 20
    for name, column in two.table().items():
        np.testing.assert_array_equal(one.table()[name], column)


def test_layouts_without_a_schema_of_coffea_from_a_server(reference_data: Path) -> None:
    pytest.importorskip("fsspec_xrootd")
    with serve_xrootd(reference_data / "root") as server:
        url = f"{server.url}/treemaker.root"
        assert recognise(url) == "treemaker"
        pt = source("treemaker").read(url, 2, 8).FatJet.pt.to_list()
    with uproot.open(reference_data / "root" / "treemaker.root") as file:
        truth = file["PreSelection/JetsAK8/JetsAK8.fCoordinates.fPt"].array()[2:8]
    for found, stored in zip(pt, truth, strict=True):
        assert found == stored.to_list()


def test_a_file_that_the_server_does_not_have(served: Any) -> None:
    with pytest.raises(InputError, match=r"absent\.root: cannot be read from its server"):
        recognise(f"{served.url}/absent.root")


@pytest.mark.parametrize("kind", ["http", "root"])
def test_a_server_that_is_not_there_is_said_at_once(kind: str) -> None:
    pytest.importorskip({"http": "aiohttp", "root": "fsspec_xrootd"}[kind])
    with socketserver.TCPServer(("127.0.0.1", 0), _Ranges) as closed:
        port = closed.server_address[1]  # free again when the block ends
    with pytest.raises(InputError, match=rf"127.0.0.1:{port} does not take connections.*check the address"):
        recognise(f"{kind}://127.0.0.1:{port}//events.root")


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to a full backlog hang as those to a dead host do."""
    pytest.importorskip("aiohttp")
    import socket

    monkeypatch.setattr(remote, "CONNECT", 0.3)
    with socket.socket() as silent, socket.socket() as filler, socket.socket() as more:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for each in (filler, more):
            each.setblocking(False)
            each.connect_ex(silent.getsockname())
        with pytest.raises(InputError, match=r"does not take connections \(timed out\)"):
            recognise(f"http://127.0.0.1:{silent.getsockname()[1]}/events.root")


def test_urls_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="got a URL of kind 'gsiftp', expected one of http"):
        recognise("gsiftp://host/events.root")
    monkeypatch.setattr(remote, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'resonaut\[xrootd\]'"):
        recognise("root://host//events.root")
    with pytest.raises(MissingDependencyError, match=r"pip install 'resonaut\[http\]'"):
        recognise("https://host/events.root")


def test_only_what_is_used_comes_over_the_network(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    rng = np.random.default_rng(2)
    columns = {
        f"FatJet_{x}": ak.from_regular(rng.uniform(1, 2, (20_000, 2)))
        for x in ("pt", "eta", "phi", "mass", *(f"spare{i}" for i in range(8)))
    }
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Events", dict.fromkeys(columns, "var * float64"), counter_name=lambda _: "nFatJet")
        file["Events"].extend(columns)
    size = (tmp_path / "a.root").stat().st_size
    with serve_http(tmp_path) as server:
        events = source("nanoaod").read(f"{server.url}/a.root", 0, 20_000)
        assert ak.sum(events.FatJet.pt) > 0
        assert sum(server.sent) < 0.4 * size
