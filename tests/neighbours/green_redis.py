"""Ask a Redis from many green threads at once, and one that is silent; print what came of it, as JSON.

python -m tests.neighbours.green_redis "import eventlet; eventlet.monkey_patch()" redis://...
"""

import sys

exec(sys.argv[1], {})

import json  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402

from resilient_transport.redis import RedisLimits, _stores  # noqa: E402
from resilient_transport.redis.store import Asker  # noqa: E402
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT  # noqa: E402

#: As many as ask at once.
THREADS = 50


def main():
    """Ask both."""
    asker = Asker("https://api.example", lambda: LONG_TIMEOUT, lambda event: None)
    store = _stores.used(RedisLimits(sys.argv[2], timeout=LONG_TIMEOUT))
    with ThreadPoolExecutor(THREADS) as threads:
        granted = list(threads.map(lambda _: store.take(asker, 1, 0), range(THREADS)))
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
    waiting = threading.Thread(
        target=_stores.used(RedisLimits(url, timeout=SHORT_TIMEOUT)).take, args=(asker, 1, 0)
    )
    waiting.start()
    turns = 0
    while waiting.is_alive():
        turns += 1
        time.sleep(SHORT_TIMEOUT / 20)
    print(json.dumps([sorted(taken.tokens for taken in granted if taken), turns]))


main()
