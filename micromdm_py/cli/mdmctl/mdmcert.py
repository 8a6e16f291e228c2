"""``mdmctl mdmcert``: the way to a push certificate, and its upload."""

import base64
from pathlib import Path

import click
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.mdmctl.api import connect
from micromdm_py.cli.mdmctl.output import read_input, write_output
from micromdm_py.cli.mdmctl.signing import load_certificate_file, load_key, load_pair, new_key, pem_key
from micromdm_py.errors import StartupError, in_words
from micromdm_py.protocol.plist import dumps_indented

__all__ = ["check_subject", "make_request", "mdmcert"]

FOLDER = "mdm-certificates"
INTERMEDIATE_URL = "https://www.apple.com/certificateauthority/AppleWWDRCAG3.cer"
ROOT_URL = "https://www.apple.com/appleca/AppleIncRootCertificate.cer"


@click.group()
def mdmcert() -> None:
    """Get a push certificate and upload it.

    vendor: a request for Apple's developer page, which gives an MDM vendor certificate. push: a request for
    the push certificate. vendor -sign: signs the latter with the vendor certificate, for identity.apple.com.
    upload: gives the server the push certificate with its key.
    """


def check_subject(cn: str, country: str, email: str) -> None:
    """Check what a request says of its subject. Raises: StartupError."""
    if not cn or not email or not country:
        raise StartupError("bad input: must provide -cn, -email and -country")
    if len(country) != 2:
        raise StartupError("bad input: -country must be a two letter country code")


def make_request(key: rsa.RSAPrivateKey, email: str, country: str, cn: str) -> x509.CertificateSigningRequest:
    """A certificate request as Apple's pages want it."""
    names = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, country.upper()),
        x509.NameAttribute(NameOID.COMMON_NAME, cn),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, email.lower()),
    ]
    try:
        return (
            x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
        )
    except ValueError as fault:
        raise StartupError(f"bad input: {fault}") from fault


def _create(subject: tuple[str, str, str], password: str, key_path: str, request_path: str) -> None:
    cn, country, email = subject
    check_subject(cn, country, email)
    if not password:
        raise StartupError("bad input: must provide -password, which protects the private key")
    if Path(key_path).exists():
        raise StartupError(f"file already exists: {key_path}")
    key = new_key()
    write_output(key_path, pem_key(key, password), secret=True)
    write_output(request_path, make_request(key, email, country, cn).public_bytes(Encoding.PEM))
    click.echo(f"wrote {key_path} and {request_path}", err=True)


@mdmcert.command("vendor", cls=GoCommand)
@go_option("sign", False, "sign a push request with the vendor certificate")
@go_option("email", "", "email address of the subject")
@go_option("country", "US", "two letter country code of the subject")
@go_option("cn", "micromdm-vendor", "common name of the subject")
@go_option("password", "", "password of the private key", secret=True)
@go_option("cert", f"{FOLDER}/mdm.cer", "the vendor certificate of Apple's developer page")
@go_option("push-csr", f"{FOLDER}/PushCertificateRequest.csr", "the push request, for -sign")
@go_option("private-key", f"{FOLDER}/VendorPrivateKey.key", "file of the vendor's key; made without -sign")
@go_option("out", f"{FOLDER}/VendorCertificateRequest.csr", "file for the vendor request")
def vendor(
    sign: bool,
    email: str,
    country: str,
    cn: str,
    password: str,
    cert: str,
    push_csr: str,
    private_key: str,
    out: str,
) -> int:
    """Make a request for a vendor certificate, or sign a push request with it."""
    if not sign:
        _create((cn, country, email), password, private_key, out)
        return 0
    key = load_key(private_key, password)
    try:
        request = x509.load_pem_x509_csr(read_input(push_csr))
    except ValueError as fault:
        raise StartupError(f"{push_csr}: not a certificate request in PEM") from fault
    der = request.public_bytes(Encoding.DER)
    chain = [load_certificate_file(cert), *(_fetch(url) for url in (INTERMEDIATE_URL, ROOT_URL))]
    signature = key.sign(der, padding.PKCS1v15(), hashes.SHA256())
    document = {
        "PushCertRequestCSR": base64.b64encode(der).decode(),
        "PushCertCertificateChain": "".join(one.public_bytes(Encoding.PEM).decode() for one in chain),
        "PushCertSignature": base64.b64encode(signature).decode(),
    }
    path = f"{FOLDER}/PushCertificateRequest.plist"
    write_output(path, base64.b64encode(dumps_indented(document)))
    click.echo(f"wrote {path}: upload it at https://identity.apple.com", err=True)
    return 0


def _fetch(url: str) -> x509.Certificate:
    """A certificate of Apple's. Raises: StartupError."""
    try:
        answer = httpx.get(url, follow_redirects=True, timeout=30).raise_for_status()
        return x509.load_der_x509_certificate(answer.content)
    except (httpx.HTTPError, ValueError) as fault:
        raise StartupError(f"{url}: {in_words(fault)}") from fault


@mdmcert.command("push", cls=GoCommand)
@go_option("email", "", "email address of the subject (required)")
@go_option("country", "US", "two letter country code of the subject")
@go_option("cn", "micromdm-user", "common name of the subject")
@go_option("password", "", "password of the private key (required)", secret=True)
@go_option("private-key", f"{FOLDER}/PushCertificatePrivateKey.key", "file for the new key")
@go_option("local-only", False, "no server configuration required; it never is")
@go_option("out", f"{FOLDER}/PushCertificateRequest.csr", "file for the request")
def push(
    email: str, country: str, cn: str, password: str, private_key: str, local_only: bool, out: str
) -> int:
    """Make a request for a push certificate."""
    _create((cn, country, email), password, private_key, out)
    return 0


@mdmcert.command("upload", cls=GoCommand)
@go_option("cert", "", "the push certificate, or .p12 file with its key (required)")
@go_option("private-key", f"{FOLDER}/PushCertificatePrivateKey.key", "file of the key")
@go_option("password", "", "password of the key or of the .p12 file", secret=True)
@go_option("force", False, "also when devices are enrolled with another topic")
def upload(cert: str, private_key: str, password: str, force: bool) -> int:
    """Give the server its push certificate."""
    if not cert:
        raise StartupError("bad input: must provide -cert")
    certificate, key = load_pair(cert, private_key, password)
    pair = {"cert": certificate.public_bytes(Encoding.PEM), "key": pem_key(key)}
    document = {name: base64.b64encode(data).decode() for name, data in pair.items()}
    with connect() as api:
        api.call("PUT", "/v1/config/certificate", document, query={"force": "true"} if force else None)
    return 0
