from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki import authority, profiles
from pki.authority import NotOurs
from pki.errors import BadKeyFile
from pki.keys import generate, raw_public
from pki.node_keys import (
    BadRequest,
    create_keys,
    create_log_key,
    create_more_keys,
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


# --- a node that asks again ---


def test_the_same_keys_keep_their_certificates_and_the_entry_stays(office, keys):
    first = office.admit(ask(keys))
    (entry,) = office.entries()
    create_more_keys(keys, "ecc")
    second = office.admit(write_request(keys, "EE", ["ee.example"]))
    assert (second.tls, second.sign, second.encrypt) == (first.tls, first.sign, first.encrypt)
    assert office.entries() == (
        entry.model_copy(
            update={
                "signing": (first.sign, second.more["sign-ecc"]),
                "encryption": (first.encrypt, second.more["encrypt-ecc"]),
            }
        ),
    )
    assert office.admit(write_request(keys, "EE", ["ee.example"])) == second


def test_what_is_asked_for_anew_is_said_and_suites_are_added(office, keys):
    office.admit(ask(keys))
    office.put(office.entries()[0].model_copy(update={"features": ("x",)}))
    office.admit(
        write_request(
            keys, "EE", ["ee.example"], name={"et": "Eesti Vabariik"}, federation="https://new.example:8443",
            suites=("t", "s"), collections=("reports",),
        )
    )  # fmt: skip
    (entry,) = office.entries()
    assert (entry.name, entry.federation) == ({"et": "Eesti Vabariik"}, "https://new.example:8443")
    assert (entry.suites, entry.features, set(entry.logs)) == (("s", "t"), ("x",), {"authorities", "reports"})


def test_replaced_and_vanished_signing_certificates_are_retired_newest_first(office, keys, tmp_path):
    create_more_keys(keys, "ecc")
    first = office.admit(ask(keys))
    create_keys(tmp_path / "second")
    second = office.admit(ask(tmp_path / "second"))
    create_keys(tmp_path / "third")
    third = office.admit(ask(tmp_path / "third"))
    (entry,) = office.entries()
    assert entry.signing == (third.sign,)
    assert set(entry.retired) == {first.sign, first.more["sign-ecc"], second.sign}
    starts = [x509.load_pem_x509_certificate(text.encode()).not_valid_before_utc for text in entry.retired]
    assert starts == sorted(starts, reverse=True)
    office.admit(ask(tmp_path / "second"))
    (entry,) = office.entries()
    assert entry.signing == (second.sign,)
    assert set(entry.retired) == {first.sign, first.more["sign-ecc"], third.sign}
    assert len(entry.retired) == 3


def test_other_hosts_need_another_tls_certificate_and_no_other(office, keys):
    first = office.admit(ask(keys))
    second = office.admit(write_request(keys, "EE", ["ee.example", "192.0.2.1"]))
    assert second.tls != first.tls
    assert (second.sign, second.encrypt) == (first.sign, first.encrypt)
    tls = x509.load_pem_x509_certificate(second.tls.encode())
    assert profiles.hosts_of(tls) == ("ee.example", "192.0.2.1")
    assert office.admit(write_request(keys, "EE", ["192.0.2.1", "ee.example"])) == second


@pytest.mark.parametrize(("used", "kept"), [(0.6, True), (0.7, False), (1.1, False)])
def test_a_certificate_near_its_end_is_renewed(office, keys, monkeypatch, used, kept):
    class Then(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - used * profiles.VALID["sign"]

    monkeypatch.setattr(authority, "datetime", Then)
    first = office.admit(ask(keys))
    monkeypatch.undo()
    second = office.admit(ask(keys))
    assert (second.sign == first.sign) is kept
    assert office.entries()[0].retired == (() if kept else (first.sign,))
    assert x509.load_pem_x509_certificate(second.sign.encode()).not_valid_after_utc > datetime.now(UTC) + timedelta(300)


def test_a_revoked_certificate_is_not_given_again(office, keys):
    first = office.admit(ask(keys))
    office.authority.revoke(x509.load_pem_x509_certificate(first.sign.encode()).serial_number)
    second = office.admit(ask(keys))
    assert (second.sign != first.sign, second.encrypt) == (True, first.encrypt)
    assert office.entries()[0].retired == (first.sign,)


def test_further_keys_are_made_once_and_what_is_missing_is_made_up(keys):
    create_more_keys(keys, "ecc")
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    create_more_keys(keys, "ecc")
    assert {path.name: path.read_bytes() for path in keys.iterdir()} == before
    (keys / "sign-ecc.pub").unlink()
    (keys / "encrypt-ecc.key").unlink()
    create_more_keys(keys, "ecc")
    assert (keys / "sign-ecc.pub").read_bytes() == before["sign-ecc.pub"]
    assert (keys / "encrypt-ecc.pub").read_bytes() != before["encrypt-ecc.pub"]
    assert set(ask(keys).more) == {"sign-ecc", "encrypt-ecc"}


def test_further_keys_have_the_passphrase_of_the_others(tmp_path):
    create_keys(tmp_path / "keys", b"secret")
    with pytest.raises(BadKeyFile, match="passphrase"):
        create_more_keys(tmp_path / "keys", "rsa")
    assert not list((tmp_path / "keys").glob("*-rsa.*"))


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("sign-rsa", lambda: rsa.generate_private_key(65537, 2048)),
        ("encrypt-rsa", lambda: rsa.generate_private_key(65537, 4104)),
        ("sign-rsa", lambda: generate("sign-ecc")),
        ("sign-ecc", lambda: ec.generate_private_key(ec.SECP256K1())),
        ("encrypt-ecc", lambda: ec.generate_private_key(ec.SECP224R1())),
        ("sign-ecc", lambda: generate("sign-rsa")),
    ],
)
def test_a_key_no_suite_can_use_is_not_certified(office, keys, kind, make):
    asked = x509.CertificateSigningRequestBuilder().subject_name(profiles.name("EE", "EE"))
    text = authority.pem(asked.sign(make(), hashes.SHA256())).decode()
    with pytest.raises(BadRequest, match="neither on P-256"):
        office.admit(ask(keys).model_copy(update={"more": {kind: text}}))
    assert office.authority.issued("EE") == ()
