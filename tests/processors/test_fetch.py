"""Fetching: names and checksums are the record's own, and nothing unverified gets its name. The record is a server here."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.errors import InputError
from resonaut.processors import fetch, transfer
from resonaut.processors.download import ARCHIVES, DATASETS, ZENODO, list_files
from resonaut.processors.unpack import unpack

CONTENT = {
    "chan2a_background.csv": b"1;ttbar;1;70000;0.1;m+,50000,40000,0.7,2\n" * 4000,
    "chan2a_signal.csv.gz": b"\x1f\x8b not unpacked on its way",
    "chan3_background.csv": b"1;njets;1\n",
}


class Zenodo:
    """A record and its files on this machine; counts what was asked for and breaks where it is told to."""

    def __init__(self) -> None:
        self.content = dict(CONTENT)
        self.asked: list[str] = []
        self.ranges: list[str] = []  # of the requests for files
        self.sent = 0  # bytes of files
        self.cuts: dict[str, int] = {}  # connections of a file that break half-way
        self.refusals: dict[str, int] = {}  # answers 503 of a file
        self.knows_ranges = True
        self.record: Any = None
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}/api/records"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def default_record(self) -> dict[str, Any]:
        folder = f"{self.base}/{DATASETS['darkmachines'].record}/files"
        files = [
            {
                "key": name,
                "size": len(data),
                "checksum": f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}",
                "links": {"self": f"{folder}/{name}/content"},
            }
            for name, data in CONTENT.items()
        ]
        return {"id": DATASETS["darkmachines"].record, "files": files[::-1]}

    def answer(self, request: Any) -> None:
        path = request.path.removeprefix("/api/records/")
        self.asked.append(path)
        name = path.split("/")[2] if path.count("/") == 3 else path.rsplit("/", 1)[-1]
        if path.isdecimal():
            record = self.default_record() if self.record is None else self.record
            self.send(request, 200, record if isinstance(record, bytes) else json.dumps(record).encode())
        elif name not in self.content:
            request.send_error(404, "Not Found")
        elif self.refusals.get(name, 0):
            self.refusals[name] -= 1
            request.send_error(503, "Busy")
        else:
            self.send_file(request, name)

    def send_file(self, request: Any, name: str) -> None:
        body, wanted = self.content[name], request.headers.get("Range", "")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.knows_ranges else 0
        if start and start >= len(body):
            request.send_error(416, "Range Not Satisfiable")
            return
        half = start + (len(body) - start) // 2 if self.cuts.get(name, 0) > 0 else None
        self.cuts[name] = self.cuts.get(name, 0) - 1
        self.sent += len(body[start:half])
        extra = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        self.send(request, 206 if start else 200, body[start:], extra, len(body[start:half]))

    def send(
        self, request: Any, status: int, body: bytes, extra: dict[str, str] | None = None, bytes_sent: int | None = None
    ) -> None:
        request.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(extra or {})}.items():
            request.send_header(key, value)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            request.send_header("Content-Encoding", "gzip")  # which a client would then undo
        request.end_headers()
        request.wfile.write(body[:bytes_sent])

    @property
    def fetched(self) -> list[str]:
        return sorted(path.split("/")[2] for path in self.asked if path.count("/") == 3)


@pytest.fixture
def zenodo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zenodo]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "WAIT", 0.001)
    made = Zenodo()
    yield made
    made.server.shutdown()
    made.server.server_close()


def folder_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_record_is_the_one_that_the_paper_names() -> None:
    assert DATASETS["darkmachines"].record == 3961917
    assert DATASETS["darkmachines"].doi == "10.5281/zenodo.3961917"
    assert ZENODO == "https://zenodo.org/api/records"
    assert all(dataset.archive in ARCHIVES for dataset in DATASETS.values())
    for dataset in DATASETS.values():
        assert dataset.archive == "cern" or dataset.doi == f"10.5281/zenodo.{dataset.record}"


def test_files_are_listed_as_the_record_has_them(zenodo: Zenodo) -> None:
    files = list_files("darkmachines", base_url=zenodo.base + "/")
    assert [file.name for file in files] == sorted(CONTENT)
    assert [file.size for file in files] == [len(CONTENT[name]) for name in sorted(CONTENT)]
    assert zenodo.fetched == []


@pytest.mark.parametrize("progress", [False, True])
def test_all_files_come_and_a_second_time_none(zenodo: Zenodo, tmp_path: Path, progress: bool) -> None:
    folder = tmp_path / "new" / "folder"
    paths = fetch("darkmachines", folder, progress=progress, base_url=zenodo.base)
    assert paths == [folder / name for name in sorted(CONTENT)]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert zenodo.fetched == sorted(CONTENT)
    assert fetch("darkmachines", folder, progress=progress, base_url=zenodo.base) == paths
    assert zenodo.fetched == sorted(CONTENT)


def test_only_what_fits_a_pattern(zenodo: Zenodo, tmp_path: Path) -> None:
    assert [p.name for p in fetch("darkmachines", tmp_path, "chan3*", progress=False, base_url=zenodo.base)] == [
        "chan3_background.csv"
    ]
    assert folder_names(tmp_path) == zenodo.fetched == ["chan3_background.csv"]
    with pytest.raises(
        InputError, match=r"no file of 'darkmachines' fits 'chan9\*'; there are chan2a_background.csv, "
    ):
        fetch("darkmachines", tmp_path, "chan9*", progress=False, base_url=zenodo.base)


def test_a_file_that_is_not_the_record_s_is_fetched_anew(zenodo: Zenodo, tmp_path: Path) -> None:
    fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)
    (tmp_path / "chan2a_background.csv").write_bytes(CONTENT["chan2a_background.csv"][:-1])
    zenodo.asked.clear()
    fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)
    assert zenodo.fetched == ["chan2a_background.csv"]
    assert (tmp_path / "chan2a_background.csv").read_bytes() == CONTENT["chan2a_background.csv"]


BIG = "chan2a_background.csv"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_continued(zenodo: Zenodo, tmp_path: Path, ranges: bool) -> None:
    zenodo.knows_ranges, zenodo.cuts = ranges, {BIG: 2}
    fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENT
    whole, all_bytes = len(CONTENT[BIG]), sum(len(data) for data in CONTENT.values())
    begun = [int(wanted.removeprefix("bytes=").removesuffix("-")) for wanted in zenodo.ranges if wanted]
    assert begun == ([whole // 2, whole // 2 + (whole - whole // 2) // 2] if ranges else [whole // 2, whole // 2])
    assert (zenodo.sent == all_bytes) == ranges  # no byte twice, where the server can


def test_a_connection_that_breaks_for_good_is_continued_by_the_next_call(zenodo: Zenodo, tmp_path: Path) -> None:
    zenodo.cuts = {BIG: 10_000}
    with pytest.raises(InputError, match=r"cannot fetch http.*chan2a_background.csv/content .*goes on from there"):
        fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)
    assert folder_names(tmp_path) == [f".{BIG}.part"]  # nothing has its name that is not whole
    kept = (tmp_path / f".{BIG}.part").stat().st_size
    assert kept > 0.9 * len(CONTENT[BIG])
    zenodo.cuts, zenodo.sent = {}, 0
    assert len(fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)) == 3
    assert folder_names(tmp_path) == sorted(CONTENT)
    assert zenodo.sent == sum(len(data) for data in CONTENT.values()) - kept


def test_a_server_that_is_busy_is_asked_again(zenodo: Zenodo, tmp_path: Path) -> None:
    zenodo.refusals = {BIG: transfer.TRIES - 1}
    assert len(fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)) == 3
    (tmp_path / BIG).unlink()
    zenodo.refusals = {BIG: transfer.TRIES}
    with pytest.raises(InputError, match="HTTP 503"):
        fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)


@pytest.mark.parametrize("beginning", [b"of another file", CONTENT[BIG] + b"too long"])
def test_a_beginning_that_is_not_of_this_file_is_thrown_away(zenodo: Zenodo, tmp_path: Path, beginning: bytes) -> None:
    (tmp_path / f".{BIG}.part").write_bytes(beginning)
    fetch("darkmachines", tmp_path, BIG, progress=False, base_url=zenodo.base)
    assert (tmp_path / BIG).read_bytes() == CONTENT[BIG]
    assert folder_names(tmp_path) == [BIG]


def test_two_processes_never_write_the_same_file(zenodo: Zenodo, tmp_path: Path) -> None:
    """What one of them appends late would go into a file that the other has verified and named."""
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / f".{BIG}.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is fetching this file"):
            fetch("darkmachines", tmp_path, BIG, progress=False, base_url=zenodo.base)
    assert zenodo.fetched == []
    fetch("darkmachines", tmp_path, BIG, progress=False, base_url=zenodo.base)
    assert folder_names(tmp_path) == [BIG]


def test_a_wrong_checksum_leaves_what_was_there(zenodo: Zenodo, tmp_path: Path) -> None:
    zenodo.content["chan2a_background.csv"] = b"x" * len(CONTENT["chan2a_background.csv"])
    (tmp_path / "chan2a_background.csv").write_bytes(b"older")
    with pytest.raises(InputError, match="not the file of the record, nothing is kept"):
        fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)
    assert folder_names(tmp_path) == ["chan2a_background.csv"]
    assert (tmp_path / "chan2a_background.csv").read_bytes() == b"older"


def test_a_file_that_the_server_lacks(zenodo: Zenodo, tmp_path: Path) -> None:
    del zenodo.content["chan3_background.csv"]
    with pytest.raises(InputError, match=r"cannot fetch .*chan3_background.csv/content .*404"):
        fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)
    assert folder_names(tmp_path) == ["chan2a_background.csv", "chan2a_signal.csv.gz"]


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    closed = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = closed.server_address[1]
    closed.server_close()
    with pytest.raises(
        InputError, match=r"cannot fetch .*refused.*Without a network, fetch the files on another machine"
    ):
        fetch("darkmachines", tmp_path / "new", progress=False, base_url=f"http://127.0.0.1:{port}")
    assert not (tmp_path / "new").exists()


def broken(key: str, value: Any) -> Any:
    def change(record: dict[str, Any]) -> dict[str, Any]:
        entry = record["files"][0]
        entry.pop(key) if value is None else entry.update({key: value})
        return record

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: b"<html>Sign in</html>", "the answer is not JSON"),
        (lambda _: [], "the record lists no files"),
        (lambda _: {"files": []}, "the record lists no files"),
        (broken("key", "../escaped.csv"), "called '../escaped.csv', expected a plain name"),
        (broken("key", "..\\escaped.csv"), "expected a plain name"),
        (broken("key", ".."), "expected a plain name"),
        (broken("key", None), "has no 'key'"),
        (broken("checksum", ""), "cannot be verified"),
        (broken("checksum", None), "has no 'checksum'"),
        (broken("checksum", "md5:12"), "cannot be verified"),
        (broken("size", "many"), "the size of .* is 'many'"),
        (broken("links", {"self": "file:///etc/hostname"}), "expected https://"),
    ],
)
def test_a_record_that_makes_no_sense(zenodo: Zenodo, tmp_path: Path, change: Any, message: str) -> None:
    zenodo.record = change(zenodo.default_record())
    with pytest.raises(InputError, match=message):
        fetch("darkmachines", tmp_path / "inner", progress=False, base_url=zenodo.base)
    assert folder_names(tmp_path) == []


def test_names_and_folders_that_make_no_sense(zenodo: Zenodo, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown data set 'darkmachine': did you mean 'darkmachines'"):
        fetch("darkmachine", tmp_path, progress=False, base_url=zenodo.base)
    with pytest.raises(InputError, match="expected an address that begins with https://"):
        fetch("darkmachines", tmp_path, progress=False, base_url="file:///tmp")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="it is a file, expected a folder"):
        fetch("darkmachines", tmp_path / "file", progress=False, base_url=zenodo.base)


def test_the_command(zenodo: Zenodo, tmp_path: Path) -> None:
    out = tmp_path / "data"
    options = ["fetch", "darkmachines", "--url", zenodo.base]
    listed = CliRunner().invoke(main, [*options, "--list", "--only", "*2a*"])
    assert listed.exit_code == 0, listed.output
    digest = hashlib.md5(CONTENT["chan2a_background.csv"], usedforsecurity=False).hexdigest()
    assert f"chan2a_background.csv  0.2 MB  md5:{digest}" in listed.output
    assert "2 files" in listed.output
    assert zenodo.fetched == []
    done = CliRunner().invoke(main, [*options, "--out", str(out), "--only", "*2a*", "--no-progress"])
    assert done.exit_code == 0, done.output
    assert "2 files" in done.output
    assert folder_names(out) == ["chan2a_background.csv", "chan2a_signal.csv.gz"]
    assert CliRunner().invoke(main, options).exit_code == 2
    assert CliRunner().invoke(main, ["fetch"]).exit_code == 2
    names = CliRunner().invoke(main, ["fetch", "--list"])
    assert all(name in names.output and dataset.doi in names.output for name, dataset in DATASETS.items())
    wrong = CliRunner().invoke(main, [*options, "--out", str(out), "--only", "nothing"])
    assert wrong.exit_code == 1
    assert "no file of 'darkmachines' fits 'nothing'" in wrong.output


def test_the_cern_portal(zenodo: Zenodo, tmp_path: Path) -> None:
    """Its records list XRootD addresses and Adler-32 checksums, in one of two places."""
    content = {"one.root": b"root" * 1000, "two.root": b"toor" * 999}
    zenodo.content = content
    entries = [
        {
            "uri": f"root://eospublic.cern.ch//eos/opendata/cms/{name}",
            "size": len(data),
            "checksum": f"adler32:{zlib.adler32(data):08x}",
        }
        for name, data in content.items()
    ]
    zenodo.record = {"metadata": {"files": entries[:1], "_file_indices": [{"files": entries}]}}
    assert [file.name for file in list_files("cms-dimuon", base_url=zenodo.base)] == sorted(content)
    fetch("cms-dimuon", tmp_path, progress=False, base_url=zenodo.base)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content
    zenodo.record = {"metadata": {"_file_indices": [{"files": [{"uri": "root://x//a", "size": 1}]}]}}
    with pytest.raises(InputError, match="has no 'checksum'"):
        list_files("cms-dimuon", base_url=zenodo.base)


def zipped(names: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return memory.getvalue()


def tarred(names: dict[str, bytes], link: str | None = None) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        for name, data in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        if link:
            entry = tarfile.TarInfo("link")
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry)
    return memory.getvalue()


INSIDE = {"a.csv": b"1", "folder/b.csv": b"2"}


@pytest.mark.parametrize(("name", "data"), [("data.zip", zipped(INSIDE)), ("data.tar.gz", tarred(INSIDE))])
def test_archives_are_unpacked(zenodo: Zenodo, tmp_path: Path, name: str, data: bytes) -> None:
    zenodo.content = {name: data, "plain.csv.gz": b"kept as it is"}
    record = zenodo.default_record()
    for entry, (key, content) in zip(record["files"], zenodo.content.items(), strict=False):
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        folder = f"{zenodo.base}/{record['id']}/files"
        entry.update(key=key, size=len(content), checksum=f"md5:{digest}", links={"self": f"{folder}/{key}/content"})
    zenodo.record = {"files": record["files"][:2]}
    for _ in range(2):
        paths = fetch("darkmachines", tmp_path, unpack=True, progress=False, base_url=zenodo.base)
        assert paths == [tmp_path / "data", tmp_path / "plain.csv.gz"]
        for inner, content in INSIDE.items():
            assert (tmp_path / "data" / inner).read_bytes() == content


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bad.zip", zipped({"fine.csv": b"1", "../escaped.csv": b"2"})),
        ("bad.zip", zipped({"/tmp/escaped.csv": b"2"})),
        ("bad.zip", zipped({"..\\escaped.csv": b"2"})),
        ("bad.zip", b"no archive"),
        ("bad.tar.gz", tarred({"fine.csv": b"1", "../escaped.csv": b"2"})),
        ("bad.tar.gz", tarred({}, link="/etc/hostname")),
        ("bad.tar.gz", tarred(INSIDE)[:60]),
        ("bad.csv", b"1"),
    ],
    ids=range(8),
)
def test_archives_that_would_escape_or_are_broken(tmp_path: Path, name: str, data: bytes) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / name).write_bytes(data)
    with pytest.raises(InputError, match=r"bad\.(zip|tar\.gz|csv)"):
        unpack(folder / name)
    assert folder_names(folder) == [name]
    assert folder_names(tmp_path) == ["inner"]
