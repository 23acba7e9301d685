"""Certificates of this machine, signed by authorities of the tests."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates for localhost and 127.0.0.1; its own is `certificate`, PEM."""

    def __init__(self):
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), _named("authority")
        self.certificate = self._sign(self._name, self._key.public_key(), is_authority=True)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """A private key and its certificate, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
        return pem, self._sign(_named(name), key.public_key(), is_authority=False)

    def _sign(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey, is_authority: bool) -> bytes:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(public_key)
                .serial_number(x509.random_serial_number()).not_valid_before(now - _DAY).not_valid_after(now + _DAY)
                .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
                .add_extension(x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
                .sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
