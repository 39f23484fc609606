"""Layers: keys that see every change, and directories that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuild.cache import KEPT_GENERATIONS, ensure_layer, hash_files, hash_inputs


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_text("a")
    (root / "sub/b").write_text("b")
    (root / "link").symlink_to("a")
    return root


def key(tree: Path) -> str:
    return hash_files([tree], base=tree)


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: (tree / "sub/b").write_text("B"),
    "name": lambda tree: (tree / "a").rename(tree / "A"),
    "mode": lambda tree: (tree / "a").chmod(0o755),
    "target of a link": lambda tree: ((tree / "link").unlink(), (tree / "link").symlink_to("b")),
    "new file": lambda tree: (tree / "c").write_text(""),
    "file gone": lambda tree: (tree / "a").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_changes_the_key(tree: Path, change: str) -> None:
    before = key(tree)
    CHANGES[change](tree)
    assert key(tree) != before


def test_what_does_not_matter_does_not_change_the_key(tree: Path) -> None:
    before = key(tree)
    os.utime(tree / "a", (1, 1))
    (tree / "sub/__pycache__").mkdir()
    (tree / "sub/__pycache__/b.pyc").write_text("x")
    assert key(tree) == before


def test_the_place_of_the_checkout_does_not_change_the_key(tree: Path, tmp_path: Path) -> None:
    before = key(tree)
    moved = tree.rename(tmp_path / "elsewhere")
    assert key(moved) == before


def test_order_of_inputs_matters_and_of_keys_does_not() -> None:
    assert hash_inputs("a", "b") != hash_inputs("b", "a")
    assert hash_inputs({"a": 1, "b": 2}) == hash_inputs({"b": 2, "a": 1})
    assert hash_inputs(["ab"]) != hash_inputs(["a", "b"])


def make_file(target: Path) -> None:
    (target / "file").write_text("content")


def test_a_layer_is_made_once(tmp_path: Path) -> None:
    made = []

    def make(target: Path) -> None:
        made.append(target)
        make_file(target)

    first = ensure_layer(tmp_path, "layer", "k" * 64, make, title="Making")
    again = ensure_layer(tmp_path, "layer", "k" * 64, make, title="Making")
    assert first == again
    assert (first / "file").read_text() == "content"
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_a_failing_stage_leaves_no_layer_and_the_next_run_goes_on(tmp_path: Path) -> None:
    def fail(target: Path) -> None:
        (target / "half").write_text("half")
        message = "power cut"
        raise OSError(message)

    with pytest.raises(OSError, match="power cut"):
        ensure_layer(tmp_path, "layer", "k" * 64, fail, title="Making")
    assert not list(tmp_path.iterdir())
    layer = ensure_layer(tmp_path, "layer", "k" * 64, make_file, title="Making")
    assert [path.name for path in layer.iterdir()] == ["file"]


def test_old_layers_are_pruned_and_others_are_not(tmp_path: Path) -> None:
    other = ensure_layer(tmp_path, "other", "z" * 64, make_file, title="Making")
    layers = []
    for number in range(KEPT_GENERATIONS + 2):
        layers.append(ensure_layer(tmp_path, "layer", str(number) * 64, make_file, title="Making"))
        os.utime(layers[-1], (number, number))
    assert [layer.exists() for layer in layers] == [False, False, True, True]
    assert other.exists()


def test_a_new_layer_is_never_the_one_that_is_pruned(tmp_path: Path) -> None:
    """Unpacking an archive sets the date of the directory itself to an old one."""

    def make_old(target: Path) -> None:
        make_file(target)
        os.utime(target, (0, 0))

    for number in range(KEPT_GENERATIONS):
        ensure_layer(tmp_path, "layer", str(number) * 64, make_file, title="Making")
    newest = ensure_layer(tmp_path, "layer", "f" * 64, make_old, title="Making")
    assert newest.exists()


def test_a_layer_in_use_is_younger_than_one_that_is_not(tmp_path: Path) -> None:
    for number in range(KEPT_GENERATIONS):
        path = ensure_layer(tmp_path, "layer", str(number) * 64, make_file, title="Making")
        os.utime(path, (number, number))
    used = ensure_layer(tmp_path, "layer", "0" * 64, make_file, title="Making")
    ensure_layer(tmp_path, "layer", "f" * 64, make_file, title="Making")
    assert used.exists()
