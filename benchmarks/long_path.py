"""A path with a real round trip: two network namespaces, and a process that passes packets on late.

Each namespace has a TUN device. The process owns both, and gives each packet to the other side after half of
a round trip. Needs root, `ip` and /dev/net/tun. All of it is gone when the path is closed.

Run as a program, this file is that process: its arguments are the names of the namespaces, and seconds.
"""

import ctypes
import fcntl
import os
import selectors
import shutil
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

TUN: Final = "/dev/net/tun"
#: Seconds that a packet takes there and back.
ROUND_TRIP: Final = 0.040
#: What the table calls a server there.
AFAR: Final = f"nginx, {ROUND_TRIP * 1e3:.0f} ms away"
#: Of the client's namespace, and of the server's. No other network sees them.
CLIENT, SERVER = "10.77.0.1", "10.77.0.2"

_ROOT: Final = Path(__file__).resolve().parents[1]
_DEVICE: Final = "tun0"
#: `linux/if_tun.h` and `linux/sched.h`.
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CLONE_NEWNET: Final = 0x40000000
_PACKET: Final = 65536


def reason_against() -> str | None:
    """Why there can be no long path here; None: there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    if not Path(TUN).exists():
        return f"there is no {TUN}"
    if shutil.which("ip") is None:
        return "there is no program ip (Debian: apt-get install iproute2)"
    return None


class LongPath:
    """Two namespaces, and the process between them.

    Args:
        client, server: the names of the namespaces.
    """

    def __init__(self, client: str, server: str) -> None:
        self.client = client
        self.server = server

    def client_command(self, command: Sequence[str]) -> list[str]:
        """What runs a command in the client's namespace."""
        return ["ip", "netns", "exec", self.client, *command]


@contextmanager
def long_path(round_trip: float = ROUND_TRIP) -> Iterator[LongPath]:
    """Make a path, and remove it."""
    names = [f"rt-{os.getpid()}-{side}" for side in ("client", "server")]
    with ExitStack() as stack:
        for name in names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
        passing = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.long_path", *names, str(round_trip / 2)],
                cwd=_ROOT,
                stdout=subprocess.PIPE,
            )
        )
        stack.callback(passing.terminate)
        # It says so when both devices are there.
        if passing.stdout is None or not passing.stdout.readline():
            raise OSError("the process that passes packets on has failed")
        for name, own, other in zip(names, (CLIENT, SERVER), (SERVER, CLIENT), strict=True):
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "address", "add", own, "peer", other, "dev", _DEVICE)
            _ip("-n", name, "link", "set", _DEVICE, "up")
        yield LongPath(*names)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Make sockets, and start processes, in a namespace: of this thread alone, in the block."""
    with open("/proc/thread-self/ns/net") as home:
        try:
            _enter(f"/run/netns/{name}")
            yield
        finally:
            _set(home.fileno())


def _enter(path: str) -> None:
    with open(path) as namespace:
        _set(namespace.fileno())


def _set(descriptor: int) -> None:
    # Python 3.12 has it as `os.setns`.
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _device_in(name: str) -> int:
    """A TUN device in a namespace; it exists as long as it is open."""
    _enter(f"/run/netns/{name}")
    descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    return descriptor


def pass_on(devices: tuple[int, int], seconds: float) -> None:
    """Give each packet of one device to the other, so many seconds later, for ever."""
    late: deque[tuple[float, int, bytes]] = deque()
    others = dict(zip(devices, reversed(devices), strict=True))
    with selectors.DefaultSelector() as selector:
        for device in devices:
            selector.register(device, selectors.EVENT_READ)
        while True:
            # All are late by the same, so they are due in the order in which they came.
            left = max(0.0, late[0][0] - time.monotonic()) if late else None
            for key, _ in selector.select(left):
                late.append((time.monotonic() + seconds, others[key.fd], os.read(key.fd, _PACKET)))
            while late and late[0][0] <= time.monotonic():
                _, device, packet = late.popleft()
                # A device that is not up yet takes nothing: such a packet is lost, as on any path.
                try:
                    os.write(device, packet)
                except OSError:
                    continue


if __name__ == "__main__":
    ends = _device_in(sys.argv[1]), _device_in(sys.argv[2])
    print("ready", flush=True)
    pass_on(ends, float(sys.argv[3]))
