"""Bodies from real nginx, behind a proxy that cuts each connection after a random number of bytes."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import attempts_of
from resilient_transport.call import origin_state
from tests.real.cutter import Cutter
from tests.timeouts import LONG_TIMEOUT

#: Bytes between two cuts, in the mean.
MEAN = 1_000_000
#: Sizes, and how many of each are fetched.
SIZES = {250_000: 16, 1_000_000: 8, 10_000_000: 4, 64_000_000: 1}
THREADS = 4
#: What may be passed on, heads, handshakes and TLS records that were cut included, over what is needed.
MARGIN = 1.05


@pytest.fixture(scope="module")
def bodies():
    """Bodies of each size, no two alike."""
    luck = random.Random(5)
    return {f"bytes/{size}": luck.randbytes(size) for size in SIZES}


@pytest.fixture
def site(nginx, bodies):
    """Return nginx with these bodies."""
    return nginx(verify_client="on", files=bodies)


def fetch(session, url, stream):
    """Fetch a body; return its digest and its response."""
    with session.get(url, stream=stream, timeout=LONG_TIMEOUT) as response:
        if not stream:
            return hashlib.sha256(response.content).hexdigest(), response
        digest = hashlib.sha256()
        for chunk in response.iter_content(65_536):
            digest.update(chunk)
        return digest.hexdigest(), response


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])
def test_downloads_survive_one_cut_per_megabyte(site, dial, bodies, size, stream):
    """All complete, each is the right one, and hardly a byte comes twice."""
    path = f"bytes/{size}"
    session = dial()
    with Cutter(site.port, MEAN, seed=size) as cutter, ThreadPoolExecutor(THREADS) as pool:
        url = f"{cutter.url}/{path}"
        found = list(pool.map(lambda _: fetch(session, url, stream), range(SIZES[size])))

    needed = size * SIZES[size]
    assert {digest for digest, _ in found} == {hashlib.sha256(bodies[path]).hexdigest()}
    assert sum(one.bytes_in for _, response in found for one in attempts_of(response)) <= needed
    assert cutter.passed <= MARGIN * needed
    assert cutter.cuts > 0


@pytest.mark.parametrize("retries", [0, Retry(3)], ids=["stock", "Retry(3)"])
def test_stock_loses_them(site, dial, retries):
    """The control: not one of 10 MB comes whole."""
    session = dial(HTTPAdapter(max_retries=retries))
    with Cutter(site.port, MEAN, seed=1) as cutter:
        lost = 0
        for _ in range(4):
            try:
                fetch(session, f"{cutter.url}/bytes/10000000", False)
            except requests.RequestException:
                lost += 1

    assert lost == 4


def test_nothing_is_cut_without_a_cutter(site, dial, bodies):
    """The control of the proxy: with nothing cut, everything comes at once."""
    with Cutter(site.port, None) as cutter:
        _, response = fetch(dial(), f"{cutter.url}/bytes/1000000", False)

    assert response.content == bodies["bytes/1000000"]
    assert (len(attempts_of(response)), cutter.cuts) == (1, 0)


def test_a_file_that_changes_in_the_middle(site, dial, bodies):
    """A buffered body is one version or the other, and never both."""
    path = "bytes/1000000"
    # nginx makes its ETag of the time, in seconds, and the size.
    other = bodies[path][::-1] + b"more"
    with Cutter(site.port, 200_000, seed=3) as cutter:
        response = dial().get(f"{cutter.url}/{path}", stream=True, timeout=LONG_TIMEOUT)
        first = response.raw.read(50_000)
        site.write(path, other)
        origin_state.clear()
        with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
            first += response.content
        again = dial().get(f"{cutter.url}/{path}", timeout=LONG_TIMEOUT)

    assert "another version came for it" in str(attempts_of(caught.value))
    assert again.content == other


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "sized"])
def test_a_body_that_is_too_large_for_nginx(nginx, dial, tls, chunked):
    """Its answer comes while the body is being sent, and is returned; chunks have no length to refuse."""
    site = nginx(verify_client="on", locations="client_max_body_size 1k;")
    url = site.url if tls else site.plain_url
    session = dial()
    session.mount("http://", session.get_adapter(site.url))
    for _ in range(5):
        pieces = (bytes(100_000) for _ in range(100))
        response = session.post(f"{url}/", data=pieces if chunked else bytes(10_000_000))
        assert response.status_code == (200 if chunked else 413)
