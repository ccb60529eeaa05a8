"""Whom webhooks may reach: 80 ways to write an address that is not public, none of which leads there."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import CallerError
from lognode.engine.tasks.targets import Allowed, Target, check_addresses, follow, is_public, read_url

# Refused for how they are written, whatever they resolve to.
MALFORMED = [
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0X7F.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://127.0.0.01/",
    "http://00127.0.0.1/",
    "http://127.0.0.1./",
    "http://169.254.169.254.:80/",
    "http://1.1.1.1.1/",
    "http://256.0.0.1/",
    "http://example.com@127.0.0.1/",
    "http://user:pass@example.com/",
    "http://@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\.evil.example/",
    "http://example.com#@127.0.0.1/",
    "http://example.com/#x",
    "http://example.com:80@127.0.0.1/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://ⓔⓧample.com/",
    "http://exämple.com/",
    "http://example.com%2f@127.0.0.1/",
    "http://127.0.0.1%00.example.com/",
    "http://127.0.0.1\x00.example.com/",
    "http://example.com\r\nHost: 127.0.0.1/",
    "http://example.com/\r\nX: y",
    "http://exa mple.com/",
    " http://example.com/",
    "http://example.com/ ",
    "http:///127.0.0.1/",
    "http://",
    "http:example.com",
    "//example.com/",
    "example.com",
    "HTTP://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "ftp://example.com/",
    "javascript:alert(1)",
    "unix:/run/docker.sock",
    "http+unix://%2frun%2fdocker.sock/",
    "http://[::1/",
    "http://::1/",
    "http://[::1%25lo]/",
    "http://[fe80::1%eth0]/",
    "http://[127.0.0.1]/",
    "http://[::ffff:0x7f000001]/",
    "http://[0:0:0:0:0:0:0:0:1]/",
    "http://example.com:0/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:65536/",
    "http://example.com:99999/",
    "http://example.com:-80/",
    "http://example.com:8o/",
    "http://example.com:/",
    "http://-example.com/",
    "http://example-.com/",
    "http://.example.com/",
    "http://example..com/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 127 + "com/",
    "http://example.com/" + "a" * 2000,
    "http://example.0x10/",
    "http://example.com/\u2028",
]
# Well written, and refused for what they are or resolve to.
PRIVATE = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "172.15.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "2606:4700::1111",
    "2a00::1",
    "64:ff9b::8.8.8.8",
]
NAMED = Target("https", "hooks.example", 443, "/")
NOBODY = Allowed()


@pytest.mark.parametrize("url", MALFORMED)
def test_what_two_readers_could_take_differently_is_refused(url: str) -> None:
    with pytest.raises(CallerError) as refused:
        read_url(url)
    assert refused.value.code == "webhook.forbidden"


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused_by_number_and_by_name(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(CallerError) as refused:
        check_addresses(NAMED, [address], NOBODY)
    assert refused.value.code == "webhook.forbidden"
    if "%" not in address:
        target = read_url(f"http://[{address}]/" if ":" in address else f"http://{address}/")
        with pytest.raises(CallerError):
            check_addresses(target, [target.host], NOBODY)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_reached(address: str) -> None:
    assert check_addresses(NAMED, [address], NOBODY) == [ip_address(address)]


def test_one_private_address_among_public_ones_spoils_all() -> None:
    with pytest.raises(CallerError):
        check_addresses(NAMED, ["8.8.8.8", "10.0.0.1"], NOBODY)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example", Target("https", "hooks.example", 443, "/")),
        ("http://Hooks.Example:8080/a/b?c=d&e=%2F", Target("http", "hooks.example", 8080, "/a/b?c=d&e=%2F")),
        ("https://xn--bcher-kva.example./x", Target("https", "xn--bcher-kva.example", 443, "/x")),
        ("https://[2606:4700:0::1111]:8443/", Target("https", "2606:4700::1111", 8443, "/")),
        ("http://1.1.1.1/", Target("http", "1.1.1.1", 80, "/")),
        ("https://my_host.example/", Target("https", "my_host.example", 443, "/")),
    ],
)
def test_a_url_is_read(url: str, target: Target) -> None:
    assert read_url(url) == target


@given(st.text(max_size=40))
def test_whatever_is_taken_is_read_again_as_the_same(rest: str) -> None:
    try:
        target = read_url(f"http://{rest}")
    except CallerError:
        return
    assert read_url(f"{target.origin}{target.path}") == target
    assert not set(target.host + target.path) & set("@#\\ \r\n\t\0")


@given(st.ip_addresses())
def test_an_address_is_public_only_where_python_too_thinks_so(address: object) -> None:
    found = ip_address(f"{address}")
    if is_public(found) and not f"{found}".startswith("64:ff9b::"):
        assert found.is_global
        assert not found.is_multicast


def test_an_owner_allows_networks_addresses_and_names() -> None:
    allowed = Allowed.of(["10.0.0.0/8", "::1", "hooks.internal"])
    assert check_addresses(NAMED, ["10.1.2.3", "::1"], allowed)
    assert check_addresses(Target("http", "hooks.internal", 80, "/"), ["192.168.0.1"], allowed)
    with pytest.raises(CallerError):
        check_addresses(NAMED, ["192.168.0.1"], allowed)
    with pytest.raises(CallerError):
        check_addresses(NAMED, ["::ffff:10.1.2.3"], allowed)
    with pytest.raises(CallerError):  # a name is not those below it
        check_addresses(Target("http", "x.hooks.internal", 80, "/"), ["192.168.0.1"], allowed)
    with pytest.raises(ValueError, match="10"):
        Allowed.of(["10.0.0.0/99"])


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/other", "https://hooks.example/other"),
        ("?x=1", "https://hooks.example/?x=1"),
        ("https://other.example/y", "https://other.example/y"),
        ("//other.example/y", "https://other.example/y"),
    ],
)
def test_a_redirection_is_read_as_a_url_is(location: str, leads_to: str) -> None:
    assert follow(NAMED, location) == read_url(leads_to)


@pytest.mark.parametrize(
    "location",
    ["http://hooks.example/", "file:///etc/passwd", "//127.1/", "http://[::1", "https://a@b/", "//[::1]:22/"],
)
def test_a_redirection_to_what_may_not_be_is_refused(location: str) -> None:
    with pytest.raises(CallerError) as refused:
        follow(NAMED, location)
    assert refused.value.code == "webhook.forbidden"
