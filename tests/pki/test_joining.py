from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki.authority import NotOurs
from pki.errors import BadKeyFile
from pki.keys import raw_public
from pki.node_keys import (
    BadRequest,
    create_keys,
    create_log_key,
    install,
    load_node_keys,
    read_certificates,
    read_request,
    write_node_keys,
    write_request,
)
from pki.state import NoSuchNode, StateOffice


@pytest.fixture
def office(tmp_path) -> StateOffice:
    return StateOffice.create(tmp_path / "EE", "EE")


@pytest.fixture
def keys(tmp_path):
    create_keys(tmp_path / "keys")
    return tmp_path / "keys"


def ask(keys, node="EE"):
    return write_request(
        keys, node, ["ee.example"], name={"et": "Eesti"}, federation="https://ee.example:8443",
        suites=("s",), collections=("authorities",),
    )  # fmt: skip


def test_a_node_asks_its_state_certifies_the_node_installs(office, keys):
    request = read_request(ask(keys).model_dump_json().encode())
    certificates = read_certificates(office.admit(request).model_dump_json().encode())
    install(keys, certificates)
    loaded = load_node_keys(keys)
    (entry,) = office.entries()
    assert (entry.node, entry.federation, entry.name) == ("EE", "https://ee.example:8443", {"et": "Eesti"})
    assert entry.signing == ((keys / "sign.crt").read_text(),)
    assert entry.logs["authorities"].host == "EE"
    assert base64.b64decode(entry.logs["authorities"].public_key) == raw_public(loaded.log_signer.public_key)


def test_the_keys_work_together(office, keys):
    install(keys, office.admit(ask(keys)))
    loaded = load_node_keys(keys)
    loaded.signer.public_key.verify(loaded.signer.sign(b"x"), b"x")
    assert loaded.signer.certificate.public_key() == loaded.signer.public_key
    other = X25519PrivateKey.generate()
    (decrypter,) = loaded.decrypters
    assert decrypter.exchange(other.public_key()) == other.exchange(decrypter.certificate.public_key())


def test_nothing_private_is_in_the_request(keys):
    text = ask(keys).model_dump_json()
    for name in ("tls", "sign", "encrypt", "log"):
        body = "".join((keys / f"{name}.key").read_text().splitlines()[1:-1])
        assert body not in text.replace("\\n", "")
    assert "PRIVATE" not in text


def test_an_encryption_key_needs_the_signing_keys_word(office, keys):
    stolen = base64.b64encode(raw_public(X25519PrivateKey.generate().public_key())).decode()
    with pytest.raises(BadRequest, match="does not vouch"):
        office.admit(ask(keys).model_copy(update={"encrypt": stolen}))
    assert office.entries() == ()


def test_the_word_is_for_one_node(office, keys):
    with pytest.raises(BadRequest, match="does not vouch"):
        office.admit(ask(keys).model_copy(update={"node": "EE-2"}))


@pytest.mark.parametrize("field", ["tls", "sign"])
def test_a_request_with_keys_exchanged_is_refused(office, keys, field):
    request = ask(keys)
    other = {"tls": request.sign, "sign": request.tls}[field]
    with pytest.raises(BadRequest):
        office.admit(request.model_copy(update={field: other}))


@pytest.mark.parametrize("field", ["tls", "sign"])
def test_anothers_key_in_a_request_is_refused(office, keys, tmp_path, field):
    """The key is exchanged in the request, the signature is still the first key's."""
    create_keys(tmp_path / "others")
    theirs = x509.load_pem_x509_csr(getattr(ask(tmp_path / "others"), field).encode()).public_key()
    request = ask(keys)
    csr = x509.load_pem_x509_csr(getattr(request, field).encode())
    spki = [key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in (csr.public_key(), theirs)]
    forged = csr.public_bytes(Encoding.DER).replace(*spki)
    text = x509.load_der_x509_csr(forged).public_bytes(Encoding.PEM).decode()
    with pytest.raises(BadRequest):
        office.admit(request.model_copy(update={field: text}))


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b"x" * 100_000])
def test_bytes_that_are_no_request(data):
    with pytest.raises(BadRequest):
        read_request(data)
    with pytest.raises(BadRequest):
        read_certificates(data)


def test_another_states_office_does_not_admit(tmp_path, keys):
    france = StateOffice.create(tmp_path / "FR", "FR")
    with pytest.raises(NotOurs):
        france.admit(ask(keys))


def test_certificates_of_another_node_are_not_installed(office, keys, tmp_path):
    create_keys(tmp_path / "others")
    certificates = office.admit(ask(tmp_path / "others"))
    with pytest.raises(BadKeyFile, match="not for the key"):
        install(keys, certificates)
    assert not list(keys.glob("*.crt"))


def test_an_unanswered_request_is_said_so(keys):
    with pytest.raises(BadKeyFile, match="has not answered"):
        load_node_keys(keys)


def test_a_certificate_beside_the_wrong_key_is_noticed(office, tmp_path):
    write_node_keys(tmp_path / "a", "EE", office.authority, ["127.0.0.1"])
    write_node_keys(tmp_path / "b", "EE", office.authority, ["127.0.0.1"])
    (tmp_path / "a" / "sign.crt").write_bytes((tmp_path / "b" / "sign.crt").read_bytes())
    with pytest.raises(BadKeyFile, match="not the certificate of the key"):
        load_node_keys(tmp_path / "a")


def test_keys_with_a_passphrase(office, tmp_path):
    write_node_keys(tmp_path / "keys", "EE", office.authority, ["127.0.0.1"], b"secret")
    assert load_node_keys(tmp_path / "keys", b"secret").passphrase == b"secret"
    with pytest.raises(BadKeyFile, match="passphrase"):
        load_node_keys(tmp_path / "keys")
    assert all(b"ENCRYPTED" in path.read_bytes() for path in (tmp_path / "keys").glob("*.key"))


def test_retired_decryption_keys_still_decrypt_and_the_current_one_comes_first(office, tmp_path):
    keys, new = tmp_path / "keys", tmp_path / "new"
    write_node_keys(keys, "EE", office.authority, ["127.0.0.1"])
    write_node_keys(new, "EE", office.authority, ["127.0.0.1"])
    for end in ("key", "crt"):
        (keys / f"encrypt.{end}").rename(keys / f"encrypt-0badcafe.{end}")
        (new / f"encrypt.{end}").rename(keys / f"encrypt.{end}")
    first, second = load_node_keys(keys).decrypters
    assert first.certificate != second.certificate
    assert first.certificate.public_bytes is not None
    assert load_node_keys(keys).decrypters[0].certificate.serial_number == first.certificate.serial_number


def test_a_host_signs_logs_of_states_without_a_node(office, tmp_path):
    keys = tmp_path / "keys"
    write_node_keys(keys, "EE", office.authority, ["127.0.0.1"])
    public = create_log_key(keys, "MT")
    assert load_node_keys(keys).hosted_logs["MT"].public_key == public


def test_a_removed_node_is_revoked_and_no_longer_spoken_of(office, keys):
    install(keys, office.admit(ask(keys)))
    serials = {each.serial_number for each in office.authority.issued("EE")}
    office.remove("EE")
    assert office.entries() == ()
    assert len(serials) == 3
    assert {each.serial_number for each in office.authority.crl()} == serials
    with pytest.raises(NoSuchNode):
        office.remove("EE")
