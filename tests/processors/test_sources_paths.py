"""Names of files: globs, lists, filesets as coffea writes them, and files that are named twice."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from resonaut.errors import InputError
from resonaut.processors import DijetProcessor, NamedFile, fileset_of, named_files, run_processor, write_particle_tree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/1.root", "a/2.root", "b/3.root", "b/notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def paths(files: tuple[NamedFile, ...], folder: Path) -> list[str]:
    return [str(Path(file.path).relative_to(folder)) if "://" not in file.path else file.path for file in files]


def test_paths_and_globs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths(named_files(["a/*.root", folder / "b" / "3.root"], folder), folder) == [
        "a/1.root",
        "a/2.root",
        "b/3.root",
    ]
    assert paths(named_files(["**/*.root"], folder), folder) == ["a/1.root", "a/2.root", "b/3.root"]
    monkeypatch.chdir(folder / "a")
    assert paths(named_files(["1.root", "../b/3.root"]), folder) == ["a/1.root", "b/3.root"]
    (folder / "a" / "[odd].root").write_bytes(b"")
    assert paths(named_files(["[odd].root"]), folder) == ["a/[odd].root"]  # a file that is there is no pattern


def test_lists_with_comments_relative_to_themselves(folder: Path) -> None:
    (folder / "a" / "files.txt").write_text("# of 2018\n1.root  # first\n\n../b/*.root\nroot://host//store/x.root#y\n")
    (folder / "all.list").write_text("a/files.txt\na/2.root\n")
    (folder / "odd").write_text("a/1.root\n")
    first = ["a/1.root", "b/3.root", "root://host//store/x.root#y"]
    for name in ("@a/files.txt", "a/files.txt"):
        assert paths(named_files([name], folder), folder) == first
    assert paths(named_files(["all.list"], folder), folder) == [*first, "a/2.root"]
    assert paths(named_files(["@odd"], folder), folder) == ["a/1.root"]
    assert named_files(["@a/files.txt"], folder)[0].origin.endswith("files.txt, line 2")


FORMS: dict[str, Any] = {
    "coffea": {"qcd": {"files": {"a/1.root": "Events", "a/2.root": "Events"}, "metadata": {"weight": 2.0}}, "zp": {"files": {"b/3.root": "Events"}}},
    "preprocessed": {
        "qcd": {
            "files": {
                "a/1.root": {"object_path": "Events", "steps": [[0, 5], [5, 9]], "num_entries": 9, "uuid": "x"},
                "a/2.root": {"object_path": "Events", "steps": None, "num_entries": None, "uuid": None},
            },
            "metadata": {"weight": 2.0},
            "form": None,
        },
        "zp": {"files": {"b/3.root": {"object_path": "Events"}}},
    },
    "lists": {"qcd": {"files": ["a/1.root", "a/2.root"], "treename": "Events", "metadata": {"weight": 2.0}}, "zp": {"b/3.root": "Events"}},
    "globs": {"qcd": {"files": {"a/*.root": "Events"}, "metadata": {"weight": 2.0}}, "zp": {"files": "b/3.root", "treename": "Events"}},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_filesets_of_coffea(folder: Path, form: str, packed: bool) -> None:
    text = json.dumps(FORMS[form]).encode()
    name = "fileset.json.gz" if packed else "fileset.json"
    (folder / name).write_bytes(gzip.compress(text) if packed else text)
    found = fileset_of(named_files([folder / name]))
    assert found == {
        "qcd": {"files": {str(folder / "a" / f"{i}.root"): "Events" for i in (1, 2)}, "metadata": {"weight": 2.0}},
        "zp": {"files": {str(folder / "b" / "3.root"): "Events"}, "metadata": {}},
    }


def test_a_plain_list_in_json_and_a_source_for_all(folder: Path) -> None:
    (folder / "files.json").write_text(json.dumps(["a/1.root", "https://host/x.root"]))
    found = fileset_of(named_files(["files.json", "b/3.root"], folder), {"columns": {"weight": "w"}})
    assert list(found) == ["events"]
    assert list(found["events"]["files"]) == [str(folder / "a/1.root"), "https://host/x.root", str(folder / "b/3.root")]
    assert found["events"]["source"] == {"columns": {"weight": "w"}}


def test_metadata_of_a_fileset_go_to_its_events(tmp_path: Path, toy_particles: Any) -> None:
    write_particle_tree(tmp_path / "one.root", toy_particles[:8])
    write_particle_tree(tmp_path / "two.root", toy_particles[8:])
    content = {"sig": {"files": {"one.root": "Events"}, "metadata": {"weight": 0.25}}, "bkg": {"files": ["two.root"]}}
    (tmp_path / "fileset.json").write_text(json.dumps(content))
    result = run_processor(fileset_of(named_files([tmp_path / "fileset.json"])), DijetProcessor())
    assert {name: part["cutflow"]["all"] for name, part in result.output.items()} == {"sig": 8, "bkg": 12}
    assert sorted(set(result.table()["weight"].tolist())) == [0.25, 1.0]


def test_a_file_that_is_named_twice(folder: Path) -> None:
    (folder / "link.root").symlink_to(folder / "a" / "1.root")
    (folder / "list.txt").write_text("a/1.root\n")
    for names in (
        ["a/*.root", "a/1.root"],
        ["a/1.root", "link.root"],
        ["list.txt", "a/*.root"],
        ["@list.txt", "@list.txt"],
    ):
        with pytest.raises(InputError, match=r"1.root is named twice.*by .* and .*count twice"):
            named_files(names, folder)
    with pytest.raises(InputError, match="named twice"):
        named_files(["root://h//a.root", "root://h//a.root"])


def test_names_that_cannot_be_used(folder: Path) -> None:
    (folder / "bad.json").write_text("{")
    (folder / "empty.json").write_text("{}")
    (folder / "number.json").write_text('{"qcd": {"files": 3}}')
    (folder / "tree.json").write_text('{"qcd": {"files": {"a/1.root": 3}}}')
    (folder / "part.json").write_text(
        '{"qcd": {"files": {"a/1.root": {"object_path": "E", "steps": [[0, 5]], "num_entries": 9}}}}'
    )
    (folder / "key.json").write_text('{"qcd": {"files": ["a/1.root"], "metdata": {"weight": 0.5}}}')
    (folder / "meta.json").write_text('{"qcd": {"files": ["a/1.root"], "metadata": [0.5]}}')
    (folder / "loop.txt").write_text("loop.txt\n")
    (folder / "empty.txt").write_text("# nothing\n")
    (folder / "miss.txt").write_text("a/1.root\na/9.root\n")
    (folder / "binary.txt").write_bytes(b"\xff\xfe\x00root")
    for name, match in {
        "a": "is a folder; name its files",
        "c/*.root": r"'c/\*.root' matches no file",
        "bad.json": "cannot be read as a fileset",
        "empty.json": "expected",
        "number.json": "dataset 'qcd' has 3",
        "tree.json": "expected a path and the name of a tree",
        "key.json": "unknown key of dataset 'qcd' 'metdata': did you mean 'metadata'",
        "meta.json": r"metadata of dataset 'qcd' are \[0.5\], expected",
        "?": r"'\?' matches no file",  # folders alone
        "part.json": "steps that leave out events",
        "loop.txt": "names itself",
        "empty.txt": "no files are named",
        "miss.txt": r"miss.txt, line 2: 'a/9.root' matches no file",
        "binary.txt": "cannot be read as a list of files",
    }.items():
        with pytest.raises(InputError, match=match):
            named_files([name], folder)


def test_one_dataset_in_two_filesets_must_say_the_same(folder: Path) -> None:
    for name, file, weight in (("x", "a/1.root", 1.0), ("y", "a/2.root", 2.0)):
        (folder / f"{name}.json").write_text(json.dumps({"qcd": {"files": [file], "metadata": {"weight": weight}}}))
    with pytest.raises(InputError, match="dataset 'qcd' is in two filesets"):
        fileset_of(named_files(["x.json", "y.json"], folder))
