"""Announces very many nodes that do not exist, half of them under the key that is looked for, as a program.

flood.py HOST WANTED COUNT: the packets leave from the interface that has HOST. WANTED is the number of a node key.
"""

import socket
import struct
import sys
import time

from lognode.federation.addresses.announcement import SERVICE_TYPE, key_prefix

GROUP = ("224.0.0.251", 5353)
TTL_S = 120
ANSWER, PTR, TXT, SRV, A, IN = 0x8400, 12, 16, 33, 1, 1


def labels(name: str) -> bytes:
    """A DNS name."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))


def record(name: str, kind: int, data: bytes) -> bytes:
    return labels(name) + struct.pack("!HHIH", kind, IN, TTL_S, len(data)) + data


def packet(number: int, node_key: bytes) -> bytes:
    """All records of one announcement, as an mDNS answer."""
    name = f"spoof-{number}.{SERVICE_TYPE}"
    host = f"spoof-{number}.local."
    fields = [b"v=1", b"k=" + key_prefix(node_key).encode(), b"p=7481", b"j=7482"]
    records = [
        record(SERVICE_TYPE, PTR, labels(name)),
        record(name, SRV, struct.pack("!HHH", 0, 0, 7481) + labels(host)),
        record(name, TXT, b"".join(bytes([len(field)]) + field for field in fields)),
        record(host, A, bytes([10, 77, 3 + (number >> 8 & 127), number & 255])),
    ]
    return struct.pack("!HHHHHH", 0, ANSWER, 0, len(records), 0, 0) + b"".join(records)


def main(host: str, wanted: str, count: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, 5353))  # answers from another port are not believed
        for number in range(int(count)):
            node_key = bytes([int(wanted)] * 32) if number % 2 else number.to_bytes(32)
            sock.sendto(packet(number, node_key), GROUP)
            if number % 20 == 0:
                time.sleep(0.01)  # so that the receiver's socket holds them


if __name__ == "__main__":
    main(*sys.argv[1:])
