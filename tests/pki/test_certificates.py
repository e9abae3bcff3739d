from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki import profiles
from pki.authority import NotOurs, StateAuthority, pem
from pki.errors import Untrusted
from pki.keys import generate
from pki.verification import verify_chain

NOW = datetime.now(UTC)


@pytest.fixture
def estonia(tmp_path) -> StateAuthority:
    return StateAuthority.create(tmp_path / "EE", "EE")


@pytest.fixture
def france(tmp_path) -> StateAuthority:
    return StateAuthority.create(tmp_path / "FR", "FR")


def issue(authority, purpose="tls", node=None, hosts=("127.0.0.1", "node.example")):
    return authority.issue(purpose, node or authority.state, generate(purpose).public_key(), hosts)


def check(certificate, authority, *, at=NOW, purpose=None):
    return verify_chain([certificate], [authority.certificate], [authority.crl()], at=at, purpose=purpose)


@pytest.mark.parametrize("purpose", ["tls", "sign", "encrypt"])
def test_a_certificate_names_its_node_and_leads_to_its_state(estonia, purpose):
    certificate = issue(estonia, purpose)
    identity = check(certificate, estonia, purpose=purpose)
    assert identity.node == "EE"
    assert not identity.crl_expired
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["imi:node:EE"]
    ours = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    theirs = estonia.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert ours == theirs


def test_a_tls_certificate_serves_both_directions_and_names_its_hosts(estonia):
    certificate = issue(estonia)
    usages = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node.example"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("issued", "wanted"),
    [
        ("sign", "tls"),
        ("encrypt", "tls"),
        ("tls", "sign"),
        ("encrypt", "sign"),
        ("tls", "encrypt"),
        ("sign", "encrypt"),
    ],
)
def test_a_certificate_is_good_for_its_purpose_only(estonia, issued, wanted):
    with pytest.raises(Untrusted, match="not issued for this purpose"):
        check(issue(estonia, issued), estonia, purpose=wanted)


def test_another_states_authority_vouches_for_nothing(estonia, france):
    with pytest.raises(Untrusted):
        check(issue(france), estonia)


def test_an_authority_certifies_its_own_nodes_only(estonia):
    with pytest.raises(NotOurs):
        issue(estonia, node="FR")


@pytest.mark.parametrize("code", ["", "ee", "EST", "E1", "../EE"])
def test_only_states_have_authorities_and_only_nodes_certificates(estonia, tmp_path, code):
    with pytest.raises(NotOurs):
        StateAuthority.create(tmp_path / "other", code)
    for node in (code, f"EE-{code}/x", "EE-"):
        with pytest.raises(NotOurs):
            issue(estonia, node=node or "-")


def test_a_state_certifies_all_its_nodes(tmp_path):
    germany = StateAuthority.create(tmp_path / "DE", "DE")
    assert check(issue(germany, node="DE-BY"), germany).node == "DE-BY"


def test_what_was_revoked_is_refused_and_the_rest_is_not(estonia):
    bad, good = issue(estonia), issue(estonia)
    estonia.revoke(bad.serial_number)
    with pytest.raises(Untrusted, match="revoked"):
        check(bad, estonia)
    assert check(good, estonia).node == "EE"
    estonia.revoke(good.serial_number)
    assert {each.serial_number for each in estonia.crl()} == {bad.serial_number, good.serial_number}


def test_an_expired_revocation_list_is_an_alarm_and_still_counts(estonia):
    later = NOW + timedelta(days=60)
    bad, good = issue(estonia), issue(estonia)
    estonia.revoke(bad.serial_number)
    assert check(good, estonia, at=later).crl_expired
    with pytest.raises(Untrusted, match="revoked"):
        check(bad, estonia, at=later)


def test_a_revocation_list_of_another_authority_does_not_count(estonia, tmp_path):
    false = StateAuthority.create(tmp_path / "false", "EE")
    certificate = issue(estonia)
    crl = false.revoke(certificate.serial_number)
    with pytest.raises(Untrusted):  # a list that claims the name but is not signed by it is no list: refused
        verify_chain([certificate], [estonia.certificate], [crl], at=NOW)


@pytest.mark.parametrize("at", [NOW - timedelta(days=2), NOW + timedelta(days=500)])
def test_outside_its_time_a_certificate_is_refused(estonia, at):
    with pytest.raises(Untrusted):
        check(issue(estonia), estonia, at=at)


def test_a_certificate_that_names_no_node_or_two_is_refused(estonia):
    for uris in ([], ["imi:node:EE", "imi:node:FR"]):
        key = Ed25519PrivateKey.generate()
        names = [x509.UniformResourceIdentifier(uri) for uri in uris] or [x509.DNSName("ee.example")]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(profiles.name("EE", "EE")).issuer_name(estonia.certificate.subject)
            .public_key(key.public_key()).serial_number(1)
            .not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(estonia._key, hashes.SHA256())
        )  # fmt: skip
        with pytest.raises(Untrusted, match="names no node"):
            check(certificate, estonia)


def test_openssl_agrees(estonia, tmp_path):
    (tmp_path / "tls.crt").write_bytes(pem(issue(estonia)))
    bad = issue(estonia)
    (tmp_path / "bad.crt").write_bytes(pem(bad))
    estonia.revoke(bad.serial_number)

    def openssl(name: str) -> subprocess.CompletedProcess[str]:
        folder = estonia.folder
        return subprocess.run(
            ["openssl", "verify", "-x509_strict", "-crl_check", "-CRLfile", folder / "crl.pem",
             "-CAfile", folder / "ca.crt", "-purpose", "sslclient", tmp_path / name],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert openssl("tls.crt").returncode == 0, openssl("tls.crt").stderr
    assert "certificate revoked" in openssl("bad.crt").stderr


def test_an_authority_opens_again_with_its_passphrase(tmp_path):
    StateAuthority.create(tmp_path / "EE", "EE", b"secret")
    again = StateAuthority.open(tmp_path / "EE", b"secret")
    assert again.state == "EE"
    assert check(issue(again), again).node == "EE"
