"""Fetching: names and checksums are the record's own, and nothing unverified gets its name. The record is a server here."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.errors import InputError
from resonaut.processors import fetch
from resonaut.processors.download import DATASETS, ZENODO, list_files

CONTENT = {
    "chan2a_background.csv": b"1;ttbar;1;70000;0.1;m+,50000,40000,0.7,2\n" * 4000,
    "chan2a_signal.csv.gz": b"\x1f\x8b not unpacked on its way",
    "chan3_background.csv": b"",
}


class Zenodo:
    """A record and its files on this machine; counts what was asked for and breaks where it is told to."""

    def __init__(self) -> None:
        self.content = dict(CONTENT)
        self.asked: list[str] = []
        self.cut: set[str] = set()  # files whose connection breaks half-way
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
        name = path.split("/")[2] if path.count("/") == 3 else None
        if path == str(DATASETS["darkmachines"].record):
            record = self.default_record() if self.record is None else self.record
            body = record if isinstance(record, bytes) else json.dumps(record).encode()
        elif name in self.content:
            body = self.content[name]
        else:
            request.send_error(404, "Not Found")
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            request.send_header("Content-Encoding", "gzip")  # which a client would then undo
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if name in self.cut else body)

    @property
    def fetched(self) -> list[str]:
        return sorted(path.split("/")[2] for path in self.asked if path.count("/") == 3)


@pytest.fixture
def zenodo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zenodo]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
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


def test_a_connection_that_breaks_leaves_nothing(zenodo: Zenodo, tmp_path: Path) -> None:
    zenodo.cut = {"chan2a_background.csv"}
    with pytest.raises(InputError, match=r"cannot fetch http.*chan2a_background.csv/content .*copy them"):
        fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)
    assert folder_names(tmp_path) == []
    zenodo.cut = set()
    assert len(fetch("darkmachines", tmp_path, progress=False, base_url=zenodo.base)) == 3


def test_a_wrong_checksum_leaves_what_was_there(zenodo: Zenodo, tmp_path: Path) -> None:
    zenodo.content["chan2a_background.csv"] = b"something else\n"
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
    wrong = CliRunner().invoke(main, [*options, "--out", str(out), "--only", "nothing"])
    assert wrong.exit_code == 1
    assert "no file of 'darkmachines' fits 'nothing'" in wrong.output
