"""``mdmctl mdmcert.download``: a push certificate request signed by the service of that name."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.mdmctl.mdmcert import check_subject, make_request
from micromdm_py.cli.mdmctl.output import read_input, write_output
from micromdm_py.cli.mdmctl.signing import load_certificate_file, load_key, new_key, pem_key
from micromdm_py.errors import MalformedRequest, StartupError, in_words
from micromdm_py.protocol.certificates import load_certificate
from micromdm_py.protocol.enveloped import decrypt

__all__ = ["download"]

SERVICE_URL = "https://mdmcert.download/api/v1/signrequest"
SERVICE_KEY = "f847aea2ba06b41264d587b229e2712c89b1490a1208b7ff1aafab5bb40d47bc"
"""What the service knows MicroMDM's users by; it is public."""
PREFIX = "mdmcert.download"


@click.command("mdmcert.download", cls=GoCommand)
@go_option("new", False, "make keys and a request, and send the request to the service")
@go_option("decrypt", "", "the file that the service has sent by mail")
@go_option("email", "", "email address that is registered with the service")
@go_option("country", "US", "two letter country code of the subject")
@go_option("cn", "mdm-push", "common name of the subject")
@go_option("pki-cert", f"{PREFIX}.pki.crt", "file for the certificate that the service encrypts to")
@go_option("pki-private-key", f"{PREFIX}.pki.key", "file for its key")
@go_option("pki-password", "", "password of that key", secret=True)
@go_option("push-csr", f"{PREFIX}.push.csr", "file for the push request")
@go_option("push-req", f"{PREFIX}.push.req", "file for the signed request, to upload at identity.apple.com")
@go_option("push-private-key", f"{PREFIX}.push.key", "file for the key of the push certificate")
@go_option("push-password", "", "password of that key", secret=True)
@go_option("service-url", SERVICE_URL, "URL of the service")
def download(**given: str) -> int:
    """Have a push certificate request signed by mdmcert.download."""
    if bool(given["new"]) == bool(given["decrypt"]):
        raise StartupError("bad input: must use either -new or -decrypt")
    if given["new"]:
        _ask(given)
    else:
        _decrypt(given)
    return 0


def _ask(given: dict[str, str]) -> None:
    check_subject(given["cn"], given["country"], given["email"])
    for name in ("pki_cert", "pki_private_key", "push_csr", "push_private_key"):
        if Path(given[name]).exists():
            raise StartupError(f"file already exists: {given[name]}")
    exchange, push = new_key(), new_key()
    certificate = _self_signed(exchange).public_bytes(Encoding.PEM)
    request = make_request(push, given["email"], given["country"], given["cn"]).public_bytes(Encoding.PEM)
    write_output(given["pki_cert"], certificate)
    write_output(given["pki_private_key"], pem_key(exchange, given["pki_password"]), secret=True)
    write_output(given["push_private_key"], pem_key(push, given["push_password"]), secret=True)
    write_output(given["push_csr"], request)
    document = {
        "csr": base64.b64encode(request).decode(),
        "email": given["email"],
        "key": SERVICE_KEY,
        "encrypt": base64.b64encode(certificate).decode(),
    }
    _send(given["service_url"], document)
    click.echo(
        "Request successfully sent to mdmcert.download. Your CSR should now\n"
        "be signed. Check your email for next steps. Then use the -decrypt option\n"
        "to extract the CSR request which will then be uploaded to Apple."
    )


def _send(url: str, document: dict[str, str]) -> None:
    try:
        headers = {"User-Agent": "micromdm/certhelper"}
        answer = httpx.post(url, json=document, headers=headers, timeout=60).raise_for_status()
        told = answer.json()
    except (httpx.HTTPError, ValueError) as fault:
        raise StartupError(f"{url}: {in_words(fault)}") from fault
    if told.get("result") != "success":
        raise StartupError(f"the service refused: {told.get('result')} ({told.get('reason')})")


def _self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PREFIX)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=10))
        .not_valid_after(now + timedelta(days=365))
        .sign(key, hashes.SHA256())
    )


def _decrypt(given: dict[str, str]) -> None:
    if Path(given["push_req"]).exists():
        raise StartupError(f"file already exists: {given['push_req']}")
    try:
        encrypted = binascii.unhexlify(b"".join(read_input(given["decrypt"]).split()))
    except ValueError as fault:
        raise StartupError(f"{given['decrypt']}: is not hexadecimal") from fault
    certificate = load_certificate_file(given["pki_cert"])
    key = load_key(given["pki_private_key"], given["pki_password"])
    try:
        opened = decrypt(encrypted, key, load_certificate(certificate.public_bytes(Encoding.DER)))
    except MalformedRequest as fault:
        raise StartupError(f"{given['decrypt']}: {fault}") from fault
    write_output(given["push_req"], opened.content)
    click.echo(
        "Successfully able to decrypt the MDM Push Certificate request! Please upload\n"
        f"the file '{given['push_req']}' to Apple by visiting https://identity.apple.com\n"
        "Once your Push Certificate is signed by Apple you can download it\n"
        "and import it with the mdmctl mdmcert upload command"
    )
