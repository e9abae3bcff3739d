from __future__ import annotations

import stat

import pytest

from pki.errors import BadKeyFile
from pki.keys import generate, load_private, save_private

KINDS = ["tls", "sign", "encrypt", "log", "ca"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_key_comes_back_from_its_file(tmp_path, kind, passphrase):
    key = generate(kind)
    save_private(tmp_path / "a.key", key, passphrase)
    again = load_private(tmp_path / "a.key", kind, passphrase)
    assert again.public_key() == key.public_key()


def test_only_its_owner_can_read_it(tmp_path):
    save_private(tmp_path / "a.key", generate("sign"))
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path):
    save_private(tmp_path / "a.key", generate("sign"))
    before = (tmp_path / "a.key").read_bytes()
    with pytest.raises(FileExistsError):
        save_private(tmp_path / "a.key", generate("sign"))
    assert (tmp_path / "a.key").read_bytes() == before


def test_with_a_passphrase_the_file_holds_no_open_key(tmp_path):
    save_private(tmp_path / "a.key", generate("sign"), b"secret")
    assert b"ENCRYPTED" in (tmp_path / "a.key").read_bytes()


@pytest.mark.parametrize("tried", [None, b"wrong"])
def test_a_wrong_passphrase_is_said_so(tmp_path, tried):
    save_private(tmp_path / "a.key", generate("sign"), b"secret")
    with pytest.raises(BadKeyFile, match="passphrase is wrong or missing"):
        load_private(tmp_path / "a.key", "sign", tried)


def test_a_key_that_others_can_read_is_refused(tmp_path):
    save_private(tmp_path / "a.key", generate("sign"))
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        load_private(tmp_path / "a.key", "sign")


def test_a_key_of_another_kind_is_refused(tmp_path):
    save_private(tmp_path / "a.key", generate("encrypt"))
    with pytest.raises(BadKeyFile, match="another kind"):
        load_private(tmp_path / "a.key", "sign")


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(BadKeyFile, match=r"a\.key cannot be read"):
        load_private(tmp_path / "a.key", "sign")
