"""Content at rest: sealed under keys that can be forgotten, files under names nobody chose."""

from __future__ import annotations

import os
import stat

import pytest

from node.local_store.files import CHUNK, FileStore, FileTooLarge
from node.local_store.vault import BadStorageKey, DoesNotOpen, Vault, new_key, seal, unseal


def test_what_was_sealed_opens_with_its_key_and_context_only():
    key = new_key()
    sealed = seal(key, b"content", "part:1")
    assert unseal(key, sealed, "part:1") == b"content"
    for spoiled in (sealed[:-1], sealed[:5], b"", bytes([sealed[0] ^ 1]) + sealed[1:]):
        with pytest.raises(DoesNotOpen):
            unseal(key, spoiled, "part:1")
    with pytest.raises(DoesNotOpen):
        unseal(key, sealed, "part:2")
    with pytest.raises(DoesNotOpen):
        unseal(new_key(), sealed, "part:1")


def test_the_storage_key_is_made_once_and_is_the_owners_alone(tmp_path):
    path = tmp_path / "storage.key"
    with pytest.raises(BadStorageKey):
        Vault.open(path)
    wrapped = Vault.open(path, create=True).wrap(b"k" * 32, "case:1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Vault.open(path, create=True).unwrap(wrapped, "case:1") == b"k" * 32
    path.write_bytes(b"something else")
    with pytest.raises(BadStorageKey):
        Vault.open(path)


def test_a_passphrase_locks_it(tmp_path):
    path = tmp_path / "storage.key"
    wrapped = Vault.open(path, passphrase=b"secret words", create=True).wrap(b"k" * 32, "case:1")
    assert Vault.open(path, passphrase=b"secret words").unwrap(wrapped, "case:1") == b"k" * 32
    for wrong in (None, b"other words"):
        with pytest.raises(BadStorageKey):
            Vault.open(path, passphrase=wrong)


async def stream(data, size=7000):
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 200_001])
async def test_files_come_back_as_they_were(tmp_path, size):
    store = FileStore(tmp_path / "files")
    data = os.urandom(size)
    streamed, whole = await store.write(stream(data)), store.write_bytes(data)
    assert streamed.sha256 == whole.sha256
    assert streamed.stored != whole.stored
    for file in (streamed, whole):
        assert store.read_bytes(file.stored, file.key) == data
        path = tmp_path / "files" / file.stored
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert size < 16 or data not in path.read_bytes()


@pytest.mark.parametrize("spoil", ["cut", "flip", "swap", "extend"])
async def test_a_file_changed_on_disk_does_not_open(tmp_path, spoil):
    store = FileStore(tmp_path / "files")
    file = store.write_bytes(os.urandom(3 * CHUNK))
    path = tmp_path / "files" / file.stored
    raw, block = path.read_bytes(), CHUNK + 16
    changed = {
        "cut": raw[: 2 * block],
        "flip": raw[:-1] + bytes([raw[-1] ^ 1]),
        "swap": raw[block : 2 * block] + raw[:block] + raw[2 * block :],
        "extend": raw + raw[:block],
    }[spoil]
    path.write_bytes(changed)
    with pytest.raises(DoesNotOpen):
        store.read_bytes(file.stored, file.key)


async def test_too_large_a_file_leaves_nothing(tmp_path):
    store = FileStore(tmp_path / "files")
    with pytest.raises(FileTooLarge):
        await store.write(stream(b"x" * 20_000), limit=10_000)
    assert list((tmp_path / "files").iterdir()) == []


def test_only_generated_names_are_paths(tmp_path):
    store = FileStore(tmp_path / "files")
    (tmp_path / "secret").write_bytes(b"secret")
    for name in ("../secret", "/etc/passwd", "", ".", "a.b"):
        with pytest.raises(ValueError, match="generated"):
            store.read_bytes(name, new_key())
