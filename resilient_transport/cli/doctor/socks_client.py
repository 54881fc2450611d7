"""What is said to a SOCKS proxy on a socket that leads to it, by hand: RFC 1928, RFC 1929, and SOCKS 4(a)."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final
from urllib.parse import SplitResult, unquote

#: The port of a SOCKS proxy whose URL names none.
PORT: Final = 1080

#: What a proxy answers to a request (RFC 1928 section 6).
REPLIES: Final = {
    1: "a general failure of the proxy",
    2: "the proxy's rules do not allow it",
    3: "the proxy finds the network unreachable",
    4: "the proxy finds the host unreachable",
    5: "the server refuses the proxy's connection",
    6: "the proxy has waited too long",
    7: "the proxy does not know CONNECT",
    8: "the proxy does not know that kind of address",
}
#: The same of version 4.
_REPLIES_OF_4: Final = {
    0x5B: "rejected or failed",
    0x5C: "the proxy cannot ask this machine who the user is",
    0x5D: "the proxy takes the user for another one",
}
_NO_METHOD: Final = 0xFF
_BY_PASSWORD: Final = 2


class SocksRefused(OSError):
    """A SOCKS proxy does not connect.

    Args:
        why: in words.
        reply: its reply; None: it did not come as far as that.
        wants_password: it is about the user name and the password.
    """

    def __init__(self, why: str, reply: int | None = None, wants_password: bool = False) -> None:
        super().__init__(0, why)
        #: The reply of the proxy.
        self.reply = reply
        #: Whether a user name and a password are missing or wrong.
        self.wants_password = wants_password


def connect_through(sock: socket.socket, proxy: SplitResult, host: str, port: int) -> None:
    """Have a SOCKS proxy connect.

    Args:
        sock: leads to the proxy.
        proxy: its URL. As in requests, `socks5` and `socks4` look the name up here, `socks5h` and `socks4a`
            leave that to the proxy.
        host, port: where to.

    Raises:
        SocksRefused: it says no.
        OSError: the connection fails, or the name is not found here.
    """
    if not proxy.scheme.endswith(("h", "a")):
        family = socket.AF_INET if proxy.scheme == "socks4" else 0
        host = str(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4][0])
    user, password = unquote(proxy.username or ""), unquote(proxy.password or "")
    if proxy.scheme.startswith("socks4"):
        _by_version_4(sock, user, host, port)
    else:
        _by_version_5(sock, user, password, host, port)


def _by_version_5(sock: socket.socket, user: str, password: str, host: str, port: int) -> None:
    sock.sendall(b"\x05\x02\x00\x02" if user else b"\x05\x01\x00")
    version, method = _exactly(sock, 2)
    if version != 5:
        raise SocksRefused("what answers does not speak SOCKS 5")
    if method == _NO_METHOD:
        raise SocksRefused("the proxy wants a user name and a password", wants_password=True)
    if method == _BY_PASSWORD:
        given = [text.encode()[:255] for text in (user, password)]
        sock.sendall(b"\x01" + b"".join(bytes([len(text)]) + text for text in given))
        if _exactly(sock, 2)[1] != 0:
            raise SocksRefused("the proxy does not take the user name and the password", wants_password=True)
    sock.sendall(b"\x05\x01\x00" + _address(host) + struct.pack(">H", port))
    _, reply, _, kind = _exactly(sock, 4)
    if reply != 0:
        raise SocksRefused(REPLIES.get(reply, f"reply {reply}"), reply)
    # The address that it comes from, which nobody needs.
    length = {1: 4, 4: 16}.get(kind)
    _exactly(sock, (_exactly(sock, 1)[0] if length is None else length) + 2)


def _by_version_4(sock: socket.socket, user: str, host: str, port: int) -> None:
    try:
        address, name = ipaddress.IPv4Address(host).packed, b""
    except ValueError:
        # 0.0.0.x announces a name.
        address, name = b"\x00\x00\x00\x01", host.encode("idna") + b"\x00"
    sock.sendall(b"\x04\x01" + struct.pack(">H", port) + address + user.encode() + b"\x00" + name)
    _, reply = _exactly(sock, 8)[:2]
    if reply != 0x5A:
        raise SocksRefused(_REPLIES_OF_4.get(reply, f"reply {reply}"), reply)


def _address(host: str) -> bytes:
    """A host as a request names it."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        name = host.encode("idna")
        return b"\x03" + bytes([len(name)]) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


def _exactly(sock: socket.socket, count: int) -> bytes:
    """So many bytes and no more: what follows is the server's."""
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionResetError("the proxy has closed the connection")
        data += piece
    return data
