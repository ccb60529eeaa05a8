"""Webhooks on a real port of this machine: what is sent, what answers come to, and who is never reached."""

import base64
import hmac
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lognode.core.errors import CallerError, LognodeError, NodeFault
from lognode.core.limits import WEBHOOK_REDIRECTS_MAX
from lognode.engine.tasks.envelope import read_retry_after, read_secret, signed_headers
from lognode.engine.tasks.service import webhooks as service
from lognode.engine.tasks.service.webhooks import Hook, Webhooks
from lognode.engine.tasks.targets import Allowed
from tests.engine.nodes import Wall

SECRET = b"a secret of 24 bytes ..."
LOCAL = "127.0.0.1"


@dataclass
class Receiver:
    """A server that remembers requests and answers what it is told to, the last answer for ever."""

    answers: list[bytes]
    port: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def serve_tls(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await self.serve(stream)

    async def serve(self, stream: trio.abc.Stream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            part = await stream.receive_some()
            if not part:
                return
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += await stream.receive_some()
        self.requests.append(head + b"\r\n\r\n" + body)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await stream.send_all(answer)
        await stream.aclose()


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def receiving(*answers: bytes) -> AsyncIterator[Receiver]:
    receiver = Receiver(list(answers) or [answer("204 No Content")])
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=LOCAL)
        receiver.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, receiver.serve, [listener])
        yield receiver
        nursery.cancel_scope.cancel()


@dataclass
class Names:
    """A resolver whose answers tests own; the last one stays."""

    found: list[Sequence[str]]
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


def hooks(tmp_path: Path, url: str, names: Names, *allowed: str, secret: bytes = SECRET) -> Webhooks:
    path = tmp_path / "secret"
    path.write_bytes(secret)
    found = Webhooks(Wall(1_760_000_000_123).world(), names.resolve)
    found.configure({"ops": Hook(url, path)}, Allowed.of(allowed))
    return found


async def test_a_message_is_signed_so_that_its_receiver_can_tell(tmp_path: Path) -> None:
    async with receiving() as receiver:
        names = Names([[LOCAL]])
        url = f"http://hooks.internal:{receiver.port}/a?b=c"
        await hooks(tmp_path, url, names, "hooks.internal").call("ops", "task-7", b'{"n":1}')
    (request,) = receiver.requests
    head, _, body = request.decode().partition("\r\n\r\n")
    line, *rest = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
    assert line == "POST /a?b=c HTTP/1.1"
    assert headers["host"] == f"hooks.internal:{receiver.port}"
    assert headers["webhook-id"] == "task-7"
    assert headers["webhook-timestamp"] == "1760000000"
    said = f"task-7.1760000000.{body}".encode()
    expected = base64.b64encode(hmac.digest(SECRET, said, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert body == '{"n":1}'
    assert names.asked == [("hooks.internal", receiver.port)]


def test_the_signature_is_that_of_the_specification() -> None:
    secret = read_secret(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    body = b'{"test": 2432232314}'
    headers = signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("raw", [b"", b"short", b"x" * 5000, b"whsec_!!!!", b"whsec_" + base64.b64encode(b"short")])
async def test_a_secret_that_is_none_stops_the_call_and_is_not_shown(raw: bytes, tmp_path: Path) -> None:
    names = Names([[LOCAL]])
    with pytest.raises(NodeFault) as refused:
        await hooks(tmp_path, "http://hooks.internal:9999/", names, secret=raw).call("ops", "x", b"{}")
    assert refused.value.code == "webhook.secret"
    assert "short" not in str(refused.value)
    assert names.asked == []


async def test_a_webhook_without_a_secret_file_or_name_is_not_called(tmp_path: Path) -> None:
    found = hooks(tmp_path, "http://hooks.internal/", Names([[LOCAL]]))
    (tmp_path / "secret").unlink()
    for name, code in (("ops", "webhook.secret"), ("other", "webhook.unknown")):
        with pytest.raises(LognodeError) as refused:
            await found.call(name, "x", b"{}")
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("400 Bad Request", "webhook.refused", CallerError),
        ("404 Not Found", "webhook.refused", CallerError),
        ("410 Gone", "webhook.refused", CallerError),
        ("302 Found", "webhook.refused", CallerError),
        ("304 Not Modified", "webhook.refused", CallerError),
        ("408 Request Timeout", "webhook.failed", NodeFault),
        ("429 Too Many Requests", "webhook.failed", NodeFault),
        ("500 Internal Server Error", "webhook.failed", NodeFault),
        ("503 Service Unavailable", "webhook.failed", NodeFault),
    ],
)
async def test_an_answer_says_whether_it_is_worth_another_try(
    status: str, code: str, kind: type[LognodeError], tmp_path: Path
) -> None:
    async with receiving(answer(status, "Retry-After: 77", "Location: http://10.0.0.1/")) as receiver:
        found = hooks(tmp_path, f"http://{LOCAL}:{receiver.port}/", Names([]), "127.0.0.0/8")
        with pytest.raises(kind) as refused:
            await found.call("ops", "x", b"{}")
    assert refused.value.code == code
    assert refused.value.retry_after_s == (77 if kind is NodeFault else None)


def test_a_pause_that_is_asked_for_is_read_in_both_forms() -> None:
    assert read_retry_after("120", 0) == 120
    assert read_retry_after("Thu, 01 Jan 1970 00:02:00 GMT", 60_000) == 60
    assert read_retry_after("Thu, 01 Jan 1970 00:00:00 GMT", 60_000) == 0
    assert [read_retry_after(text, 0) for text in (None, "", "-1", "soon", "٣", "Thu, 99 Jan 1970")] == [None] * 6


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "0.0.0.0"])
async def test_a_name_that_leads_inside_is_never_connected_to(address: str, tmp_path: Path) -> None:
    async with receiving() as receiver:
        found = hooks(tmp_path, f"http://evil.example:{receiver.port}/", Names([[address]]))
        with pytest.raises(CallerError) as refused:
            await found.call("ops", "x", b"{}")
    assert refused.value.code == "webhook.forbidden"
    assert receiver.requests == []


async def test_a_name_that_changes_its_mind_is_asked_and_judged_for_each_attempt(tmp_path: Path) -> None:
    async with receiving() as receiver:
        names = Names([[LOCAL], ["127.0.0.2"], ["127.0.0.1", "192.168.0.1"]])
        found = hooks(tmp_path, f"http://evil.example:{receiver.port}/", names, "127.0.0.1")
        await found.call("ops", "x", b"{}")
        for _ in range(2):
            with pytest.raises(CallerError) as refused:
                await found.call("ops", "x", b"{}")
            assert refused.value.code == "webhook.forbidden"
    assert len(receiver.requests) == 1


async def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever resolves the name a second time, to connect, would be led elsewhere.
    async def lead_elsewhere(*_args: object, **_options: object) -> list[object]:
        raise AssertionError("the name was resolved again")

    async with receiving() as receiver:
        found = hooks(tmp_path, f"http://hooks.internal:{receiver.port}/", Names([[LOCAL]]), "hooks.internal")
        with monkeypatch.context() as patch:
            patch.setattr(trio.socket, "getaddrinfo", guarded(trio.socket.getaddrinfo, lead_elsewhere))
            await found.call("ops", "x", b"{}")
    assert len(receiver.requests) == 1


def guarded(usual: object, names: object) -> object:
    """The resolver of the system, for numbers alone."""

    async def look_up(host: str, *args: object, **options: object) -> object:
        by_number = host.replace(".", "").isdigit()
        return await (usual if by_number else names)(host, *args, **options)  # type: ignore[operator]

    return look_up


@pytest.mark.parametrize("status", ["307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_redirection_is_followed_with_the_same_message(status: str, tmp_path: Path) -> None:
    async with receiving() as there:
        to = f"Location: http://other.internal:{there.port}/there"
        async with receiving(answer(status, to)) as here:
            names = Names([[LOCAL]])
            url = f"http://hooks.internal:{here.port}/"
            await hooks(tmp_path, url, names, "127.0.0.1").call("ops", "x", b'{"n":1}')
    assert there.requests[0].startswith(b"POST /there HTTP/1.1\r\n")
    assert there.requests[0].endswith(b'{"n":1}')
    assert [host for host, _ in names.asked] == ["hooks.internal", "other.internal"]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "http://inside.example:{port}/",
        "http://[::1]:{port}/",
        "http://2130706433:{port}/",
        "http://localhost:22/",
        "file:///etc/passwd",
        "http://user@hooks.internal:{port}/",
    ],
)
async def test_a_redirection_inside_is_not_followed(location: str, tmp_path: Path) -> None:
    async with receiving() as inside:
        to = f"Location: {location.format(port=inside.port)}"
        async with receiving(answer("307 Temporary Redirect", to)) as outside:
            names = Names([[LOCAL], ["192.168.0.1"]])
            found = hooks(tmp_path, f"http://hooks.internal:{outside.port}/", names, "127.0.0.1")
            with pytest.raises(CallerError) as refused:
                await found.call("ops", "x", b"{}")
    assert refused.value.code == "webhook.forbidden"
    assert inside.requests == []


async def test_redirections_in_a_circle_end(tmp_path: Path) -> None:
    async with receiving(answer("307 Temporary Redirect", "Location: /")) as receiver:
        found = hooks(tmp_path, f"http://hooks.internal:{receiver.port}/", Names([[LOCAL]]), "127.0.0.1")
        with pytest.raises(CallerError) as refused:
            await found.call("ops", "x", b"{}")
    assert refused.value.code == "webhook.forbidden"
    assert len(receiver.requests) == WEBHOOK_REDIRECTS_MAX + 1


async def test_a_proxy_of_the_environment_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{LOCAL}:{proxy.port}")
        await hooks(tmp_path, f"http://{LOCAL}:{receiver.port}/", Names([]), "127.0.0.1").call("ops", "x", b"{}")
    assert (len(proxy.requests), len(receiver.requests)) == (0, 1)


@pytest.mark.parametrize(
    "spoken",
    [
        b"",
        b"\x00\xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 300_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_tried_again(spoken: bytes, tmp_path: Path) -> None:
    async with receiving(spoken) as receiver:
        found = hooks(tmp_path, f"http://{LOCAL}:{receiver.port}/", Names([]), "127.0.0.1")
        with pytest.raises(NodeFault) as refused:
            await found.call("ops", "x", b"{}")
    assert refused.value.code == "webhook.unreachable"


async def test_an_answer_without_end_is_read_no_further_than_its_bound(tmp_path: Path) -> None:
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3\r\nabc\r\n" * 100
    for said in (answer("200 OK", body=b"x" * 3_000_000), endless):
        async with receiving(said) as receiver:
            await hooks(tmp_path, f"http://{LOCAL}:{receiver.port}/", Names([]), "127.0.0.1").call("ops", "x", b"{}")


def certificate_for(name: str, folder: Path) -> ssl.SSLContext:
    """What a server shows that is called so; its certificate stands in the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "server.key").write_bytes(text)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


@pytest.mark.parametrize(("name", "is_reached"), [("hooks.internal", True), ("other.internal", False)])
async def test_who_is_connected_to_by_number_must_show_a_certificate_of_the_name(
    name: str, *, is_reached: bool, tmp_path: Path
) -> None:
    context = certificate_for("hooks.internal", tmp_path)
    receiver = Receiver([answer("204 No Content")])
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=LOCAL)
        receiver.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, receiver.serve_tls, [trio.SSLListener(listener, context)])
        found = hooks(tmp_path, f"https://{name}:{receiver.port}/", Names([[LOCAL]]), "127.0.0.1")
        found._tls = ssl.create_default_context(cafile=tmp_path / "server.pem")
        if is_reached:
            await found.call("ops", "x", b"{}")
        else:
            with pytest.raises(NodeFault) as refused:
                await found.call("ops", "x", b"{}")
            assert refused.value.code == "webhook.unreachable"
        nursery.cancel_scope.cancel()
    assert len(receiver.requests) == is_reached


async def test_a_receiver_that_says_nothing_is_left_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "WEBHOOK_S_MAX", 0.2)
    (listener,) = await trio.open_tcp_listeners(0, host=LOCAL)
    port = listener.socket.getsockname()[1]
    found = hooks(tmp_path, f"http://{LOCAL}:{port}/", Names([]), "127.0.0.1")
    async with listener:
        with pytest.raises(NodeFault) as refused:
            await found.call("ops", "x", b"{}")
    assert refused.value.code == "webhook.unreachable"


async def test_nobody_there_is_tried_again_and_a_second_address_at_once(tmp_path: Path) -> None:
    async with receiving() as receiver:
        names = Names([["127.0.0.3", LOCAL]])
        found = hooks(tmp_path, f"http://hooks.internal:{receiver.port}/", names, "hooks.internal")
        await found.call("ops", "x", b"{}")
    assert len(receiver.requests) == 1
    with pytest.raises(NodeFault) as refused:
        await found.call("ops", "x", b"{}")
    assert refused.value.code == "webhook.unreachable"


async def test_a_name_without_address_is_tried_again(tmp_path: Path) -> None:
    async def nothing(host: str, port: int) -> list[str]:
        raise OSError(f"no {host} at {port}")

    found = hooks(tmp_path, "http://hooks.internal:9999/", Names([[]]))
    with pytest.raises(NodeFault):
        await found.call("ops", "x", b"{}")
    found = Webhooks(Wall().world(), nothing)
    found.configure({"ops": Hook("http://hooks.internal:9999/", tmp_path / "secret")}, Allowed())
    with pytest.raises(NodeFault) as refused:
        await found.call("ops", "x", b"{}")
    assert refused.value.code == "webhook.unreachable"
