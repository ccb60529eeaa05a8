"""What a node says of where it is, and what it says where multicast can find nobody."""

import pytest

from lognode.federation.addresses.diagnosis import diagnose
from lognode.federation.addresses.interface import Interface, own_hosts

LO = Interface("lo", 1, ("127.0.0.1", "::1"), is_up=True, is_loopback=True, has_multicast=False)
ETH = Interface("eth0", 2, ("192.0.2.5", "2001:db8::5", "fe80::5"), is_up=True, is_loopback=False, has_multicast=True)
WLAN = Interface("wlan0", 3, ("198.51.100.7",), is_up=True, is_loopback=False, has_multicast=True)
DOWN = WLAN._replace(name="wlan1", number=4, is_up=False)
LINK = Interface("usb0", 5, ("169.254.1.2", "fe80::9"), is_up=True, is_loopback=False, has_multicast=True)
TUN = Interface("tun0", 6, ("10.8.0.2",), is_up=True, is_loopback=False, has_multicast=False)
DOCKER = Interface("eth0", 7, ("172.17.0.2",), is_up=True, is_loopback=False, has_multicast=True)


@pytest.mark.parametrize(
    ("interfaces", "listen", "hosts"),
    [
        ([LO, ETH, WLAN, DOWN, LINK], "0.0.0.0", ("192.0.2.5", "198.51.100.7")),
        ([LO, ETH, WLAN], "::", ("192.0.2.5", "198.51.100.7", "2001:db8::5")),
        ([LO, ETH, WLAN], "198.51.100.7", ("198.51.100.7",)),
        ([LO, LINK], "::", ("169.254.1.2",)),
        ([LO], "0.0.0.0", ()),
        ([LO, ETH], "127.0.0.1", ("127.0.0.1",)),
        ([LO, ETH], "198.51.100.99", ()),
    ],
)
def test_own_hosts_are_those_at_which_the_listener_answers(
    interfaces: list[Interface], listen: str, hosts: tuple[str, ...]
) -> None:
    assert own_hosts(interfaces, listen) == hosts


@pytest.mark.parametrize(
    ("interfaces", "is_container", "failure", "codes"),
    [
        ([LO, ETH], False, None, []),
        ([LO], False, None, ["discovery.no_interface"]),
        ([LO, DOWN], False, None, ["discovery.no_interface"]),
        ([LO, TUN], False, None, ["discovery.no_multicast"]),
        ([LO, TUN, ETH], False, None, []),
        ([LO, DOCKER], True, None, ["discovery.bridge"]),
        ([LO, DOCKER], False, None, []),
        ([LO, DOCKER, ETH], True, None, []),
        ([LO, ETH], True, None, []),
        ([LO, ETH], False, "Operation not permitted", ["discovery.socket"]),
        ([], False, "Address family not supported", ["discovery.socket"]),
    ],
)
def test_a_place_without_multicast_is_named(
    interfaces: list[Interface], is_container: object, failure: str | None, codes: list[str]
) -> None:
    findings = diagnose(interfaces, is_on=True, is_container=bool(is_container), failure=failure)

    assert [finding.code for finding in findings] == codes
    assert all(finding.detail and finding.hint and finding.title for finding in findings)


def test_switched_off_is_all_there_is_to_say() -> None:
    (finding,) = diagnose([LO], is_on=False, is_container=True, failure="x")

    assert finding.code == "discovery.off"
