"""Reading a bundle before it is published: whole, ours, and what it says it is."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import ConfigError, HearthError, ImageError, SignatureError
from appliance.release import ReleaseFacts
from imagebuild.bundlefile import hash_tree, read_bundle
from unit.bundles import BLOCK, BundleParts, make_bundle
from unit.signing import Root, Signer, make_root

FACTS = ReleaseFacts(version="1.2", boards=("rpi4",), minimum="1.0", synapse="1.163.0",
                     synapse_schema=92, synapse_compatible=90)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return make_root(tmp_path_factory.mktemp("keys") / "root")


@pytest.fixture(scope="module")
def signer(root: Root) -> Signer:
    return root.release("release")


def read(raw: bytes, root: Root, tmp_path: Path) -> ReleaseFacts:
    path = tmp_path / "hearth.raucb"
    path.write_bytes(raw)
    return read_bundle(path, root.keyring).facts


def test_its_facts_come_out(root: Root, signer: Signer, tmp_path: Path) -> None:
    assert read(BundleParts(FACTS).render(signer), root, tmp_path) == FACTS


# What `veritysetup format --no-superblock --salt 000102...1f` of cryptsetup 2.6.1 says of these:
# the root hash, and SHA-256 of the tree's file.
@pytest.mark.parametrize(
    ("blocks", "root_hash", "tree_hash"),
    [
        (2, "bd780675f50010ed023fd1f07e98f029a6aaf25a8f6ee33ec94b4b4e847e4b2e",
         "f59c27db6867e0bda95158c8f3d513af681a012aee694bcb1cfb36c5f316dbb5"),
        (129, "6093a2333523050b628581510028976d3d3e9c62458642a83727e6df641397a4",
         "98464b513ea866c3fced081f070047d47e884c9e8a804062cb53dae84eebc35b"),
    ],
)  # fmt: skip
def test_trees_as_veritysetup_makes_them(blocks: int, root_hash: str, tree_hash: str) -> None:
    payload = b"".join(bytes([number % 251]) * BLOCK for number in range(blocks))
    found, tree = hash_tree(io.BytesIO(payload), blocks, bytes(range(32)))
    assert (found.hex(), hashlib.sha256(tree).hexdigest()) == (root_hash, tree_hash)


@pytest.mark.parametrize("blocks", [1, 2, 128, 129, 128 * 128 + 1])
def test_trees_of_every_height(root: Root, signer: Signer, tmp_path: Path, blocks: int) -> None:
    payload = b"".join(bytes([number % 251]) * BLOCK for number in range(blocks))
    parts = BundleParts(FACTS, payload=payload)
    assert hash_tree(io.BytesIO(payload), blocks, parts.salt) == parts.tree()
    assert read(parts.render(signer), root, tmp_path) == FACTS


def test_one_changed_bit_is_found_wherever_it_is(
    root: Root, signer: Signer, tmp_path: Path
) -> None:
    raw = BundleParts(FACTS).render(signer)
    step = len(raw) // 16
    for at in [*range(0, len(raw), step), len(raw) - 8, len(raw) - 1]:
        changed = bytearray(raw)
        changed[at] ^= 1
        with pytest.raises(HearthError):
            read(bytes(changed), root, tmp_path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, BLOCK, 200 * BLOCK, -1])
def test_a_part_of_it_is_refused(root: Root, signer: Signer, tmp_path: Path, size: int) -> None:
    raw = BundleParts(FACTS).render(signer)
    with pytest.raises(HearthError):
        read(raw[:size], root, tmp_path)


def test_something_before_or_within_is_refused(root: Root, signer: Signer, tmp_path: Path) -> None:
    raw = BundleParts(FACTS).render(signer)
    for changed in (b"x" + raw, bytes(BLOCK) + raw):
        with pytest.raises(ImageError):
            read(changed, root, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda parts: parts.bundle.update(format="plain"), "verity"),
        (lambda parts: parts.bundle.update({"verity-size": "0"}), "damaged|as long"),
        (lambda parts: parts.bundle.update({"verity-size": "-4096"}), "as long"),
        (lambda parts: parts.bundle.update({"verity-size": "x"}), "hash tree"),
        (lambda parts: parts.bundle.update({"verity-hash": "zz"}), "hash tree"),
        (lambda parts: parts.bundle.update({"verity-hash": "00" * 32}), "damaged"),
        (lambda parts: parts.update.update(version="1.3"), "both 1.2 and 1.3"),
        (lambda parts: parts.update.update(compatible="other"), "hearth-arm64 and other"),
    ],
)
def test_a_signed_manifest_that_does_not_fit(
    root: Root, signer: Signer, tmp_path: Path, change: Callable[[BundleParts], None], said: str
) -> None:
    parts = BundleParts(FACTS)
    change(parts)
    with pytest.raises(ImageError, match=said):
        read(parts.render(signer), root, tmp_path)


def test_another_rauc_bundle_is_not_ours(root: Root, signer: Signer, tmp_path: Path) -> None:
    class Foreign(BundleParts):
        def manifest(self) -> bytes:
            return super().manifest().replace(b"[meta.hearth]", b"[meta.other]")

    with pytest.raises(ImageError, match="which release"):
        read(Foreign(FACTS).render(signer), root, tmp_path)


def test_a_fact_that_is_none(root: Root, signer: Signer, tmp_path: Path) -> None:
    class Wrong(BundleParts):
        def manifest(self) -> bytes:
            return super().manifest().replace(b"postgresql=17", b"postgresql=new")

    with pytest.raises(ConfigError, match="does not say"):
        read(Wrong(FACTS).render(signer), root, tmp_path)


def test_strangers_and_revoked_keys(root: Root, tmp_path: Path) -> None:
    stranger = make_root(tmp_path / "stranger", "Another root")
    path = make_bundle(tmp_path, "1.2", stranger.release("release"))
    with pytest.raises(SignatureError, match="stranger"):
        read_bundle(path, root.keyring)
    signer = root.release("stolen")
    path = make_bundle(tmp_path, "1.2", signer)
    keyring = tmp_path / "keyring.pem"
    keyring.write_bytes(root.certificate.read_bytes() + root.revoke(signer))
    with pytest.raises(SignatureError, match="revoked"):
        read_bundle(path, keyring)
