"""The private names of urllib3, requests and the standard library that the package uses, and what they do.

When one of these fails, upstream has changed: look at the module named in the test before anything else.
"""

import _ssl
import http.client
import inspect
import io
import socket
import ssl
import threading

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import SSL_KEYWORDS, PoolManager, ProxyManager
from urllib3.response import HTTPResponse
from urllib3.util import Retry
from urllib3.util import connection as urllib3_connection

from resilient_transport.adapter.session_mount import STOCK_SESSION
from resilient_transport.pool.identity import TLS_SETTINGS
from resilient_transport.testing import Script
from tests.missing import require


def names_in(function):
    """The names that a function's code mentions."""
    return set(function.__code__.co_names)


@pytest.mark.parametrize(
    ("caller", "name"),
    [
        # connection/connection.py
        (HTTPSConnection.connect, "_new_conn"),
        (HTTPSConnection.connect, "_tunnel"),
        (HTTPSConnection.connect, "proxy_is_tunneling"),
        (HTTPConnection.connect, "_new_conn"),
        (HTTPConnection.request, "send"),
        # connection/connect.py and connection/resolver.py
        (HTTPConnection._new_conn, "_dns_host"),
        (HTTPConnection._new_conn, "create_connection"),
        (urllib3_connection.create_connection, "allowed_gai_family"),
        (urllib3_connection.create_connection, "_DEFAULT_TIMEOUT"),
        # redis/store.py
        (require("redis.connection").AbstractConnection.send_packed_command, "_sock"),
        # connection/timed_stream.py
        (socket.SocketIO.readinto, "_sock"),
        # pool/lease.py
        (HTTPConnectionPool.urlopen, "_get_conn"),
        (HTTPConnectionPool.urlopen, "_put_conn"),
        (HTTPConnectionPool._make_request, "_validate_conn"),
        (HTTPConnectionPool._new_conn, "ConnectionCls"),
        (HTTPSConnectionPool._new_conn, "ConnectionCls"),
        (HTTPResponse.release_conn, "_put_conn"),
        # pool/manager.py
        (PoolManager.connection_from_host, "connection_from_context"),
        (PoolManager.connection_from_pool_key, "_new_pool"),
        (PoolManager._new_pool, "pool_classes_by_scheme"),
        # body.py
        (HTTPResponse._raw_read, "_fp"),
        (HTTPResponse.release_conn, "_connection"),
        (HTTPResponse._raw_read, "_fp_bytes_read"),
        (HTTPResponse.read, "_uncached_read_occurred"),
        (requests.cookies.extract_cookies_to_jar, "_original_response"),
        (HTTPAdapter.build_response, "extract_cookies_to_jar"),
        (requests.Response.content.fget, "_content"),
        (requests.Response.content.fget, "_content_consumed"),
        # body/decoded_end.py, body/streamed.py and body/unread.py
        (HTTPResponse._init_decoder, "_decoder"),
        (HTTPResponse.read, "_decoded_buffer"),
        (HTTPResponse._decode, "_has_decoded_content"),
        (HTTPResponse.stream, "chunked"),
        # call/cookies.py
        (requests.PreparedRequest.prepare_cookies, "_cookies"),
        (requests.cookies.extract_cookies_to_jar, "msg"),
        # adapter/adapter.py asks by its code who calls; body/range_request.py does as stock does
        (requests.Session.send, "send"),
        (HTTPAdapter.send, "add_headers"),
        # leasing.py and adapter.py
        (HTTPAdapter.send, "get_connection_with_tls_context"),
        (HTTPAdapter.send, "cert_verify"),
        (HTTPAdapter.send, "request_url"),
        (HTTPAdapter.send, "urlopen"),
        (HTTPAdapter.send, "max_retries"),
        # installation.py and adapter/session_mount.py
        (requests.Session.__init__, "HTTPAdapter"),
        (requests.Session.__init__, "mount"),
    ],
    ids=lambda value: getattr(value, "__qualname__", value),
)
def test_who_calls_what(caller, name):
    """The method that is overridden here is still called there."""
    assert name in names_in(caller)


def test_a_name_that_nobody_calls_is_noticed():
    """The control."""
    assert "_no_such_name" not in names_in(HTTPConnectionPool.urlopen)


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (HTTPConnectionPool._get_conn, ["self", "timeout"]),
        (HTTPConnectionPool._put_conn, ["self", "conn"]),
        (HTTPConnectionPool._validate_conn, ["self", "conn"]),
        (HTTPConnection._new_conn, ["self"]),
        (PoolManager._new_pool, ["self", "scheme", "host", "port", "request_context"]),
        (PoolManager.connection_from_context, ["self", "request_context"]),
        (HTTPAdapter.cert_verify, ["self", "conn", "url", "verify", "cert"]),
        (HTTPAdapter.request_url, ["self", "request", "proxies"]),
        (HTTPAdapter.get_connection_with_tls_context, ["self", "request", "verify", "proxies", "cert"]),
        (HTTPAdapter.build_connection_pool_key_attributes, ["self", "request", "verify", "cert"]),
        (HTTPAdapter.send, ["self", "request", "stream", "timeout", "verify", "cert", "proxies"]),
        (requests.Session.mount, ["self", "prefix", "adapter"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_signatures(function, parameters):
    """What is overridden still takes what it took."""
    assert list(inspect.signature(function).parameters) == parameters


def test_what_an_adapter_has():
    """adapter/takeover.py makes another of an `HTTPAdapter` by these attributes; none is the class's own."""
    pools = {"_pool_connections", "_pool_maxsize", "_pool_block"}

    assert vars(HTTPAdapter()).keys() == {"max_retries", "config", "proxy_manager", "poolmanager", *pools}
    assert not any(hasattr(HTTPAdapter, name) for name in vars(HTTPAdapter()))


def test_what_an_adapter_makes_of_a_number():
    """It takes 0 for nothing, and a number for a `Retry` of that total."""
    nothing = [vars(HTTPAdapter(**given).max_retries) for given in ({}, {"max_retries": 0})]

    assert nothing == [vars(Retry(0, read=False))] * 2
    assert vars(HTTPAdapter(max_retries=3).max_retries) == vars(Retry(3))


def test_tls_settings_are_urllib3s():
    """Whatever urllib3 knows of TLS is either in the identity, or stays in the pool's key as it is."""
    kept = {"ssl_context", "server_hostname", "assert_hostname", "assert_fingerprint"}

    assert set(SSL_KEYWORDS) - kept <= set(TLS_SETTINGS)


def test_every_context_of_ssl_has_one_class_beneath():
    """connection/tls_context.py tells by it whether the contexts in urllib3 are of `ssl` or of pyOpenSSL."""
    assert ssl.SSLContext.__mro__[1] is _ssl._SSLContext
    assert urllib3.util.ssl_.SSLContext is ssl.SSLContext


def test_a_lock_knows_its_own_thread():
    """pool/contexts.py asks whether a call is made in the midst of this thread's own work."""
    lock, told = threading.RLock(), []
    with lock:
        thread = threading.Thread(target=lambda: told.append(lock._is_owned()))
        thread.start()
        thread.join()
        told.append(lock._is_owned())
    told.append(lock._is_owned())

    assert told == [False, True, False]


def test_a_proxy_manager_keys_its_proxy():
    """`_proxy`, `_proxy_headers` and `_proxy_config` are in each pool's key: credentials part pools."""
    keyword = ProxyManager("http://localhost:9").connection_pool_kw

    assert {"_proxy", "_proxy_headers", "_proxy_config"} <= set(keyword)


def test_closing_a_connection_in_getresponse_blames_the_proxy():
    """http.client closes when it meets a ConnectionError there, and urllib3 tells a proxy's fault by that."""
    import http.client

    assert "close" in names_in(http.client.HTTPConnection.getresponse)
    assert "has_connected_to_proxy" in names_in(HTTPConnectionPool.urlopen)


def test_who_reached_a_proxy_is_remembered():
    """`_has_connected_to_proxy` is what a told failure sets, so that urllib3 blames the same one."""
    connection = HTTPConnection("localhost")
    before = connection.has_connected_to_proxy
    connection._has_connected_to_proxy = True

    assert (before, connection.has_connected_to_proxy) == (False, True)


def test_a_manager_says_how_many_pools_it_keeps():
    """`pools._maxsize`, which a manager that takes another one's place takes over."""
    assert PoolManager(num_pools=7).pools._maxsize == 7


def test_a_context_passes_a_session_on():
    """`wrap_socket` takes `session`, and urllib3 wraps with the context's method."""
    assert "session" in inspect.signature(ssl.SSLContext.wrap_socket).parameters
    assert "wrap_socket" in names_in(urllib3.util.ssl_._ssl_wrap_socket_impl)


def test_retry_has_no_field_that_is_not_translated():
    """A new argument of urllib3's Retry has to be looked at."""
    known = {
        "self", "total", "connect", "read", "redirect", "status", "other", "allowed_methods",
        "status_forcelist", "backoff_factor", "backoff_max", "raise_on_redirect", "raise_on_status",
        "history", "respect_retry_after_header", "remove_headers_on_redirect", "backoff_jitter",
        "retry_after_max",
    }  # fmt: skip

    assert set(inspect.signature(Retry.__init__).parameters) <= known


def test_original_response_tells_whether_a_body_was_drained(server, dial):
    """`_original_response.isclosed()` is what decides whether a connection may be used again."""
    server.play(Script())

    with dial(server).get(server.url + "/bytes/100000", stream=True) as response:
        before = response.raw._original_response.isclosed()
        response.content  # noqa: B018 - reading it is the point

        assert (before, response.raw._original_response.isclosed()) == (False, True)


def test_a_pool_makes_its_slots_of_a_class_of_its_own():
    """`QueueCls`, with its size: pool/slots.py. All of them are free, and urllib3 takes and gives `None`."""
    from resilient_transport.pool.slots import Slots

    class Pool(HTTPConnectionPool):
        QueueCls = Slots

    pool = Pool("localhost", maxsize=3, block=True)

    assert isinstance(pool.pool, Slots)
    assert (pool.pool.maxsize, list(pool.pool.queue)) == (3, [None] * 3)
    pool.close()
    assert pool.pool is None


def test_what_lies_under_a_body():
    """`fp` is a BufferedReader over a SocketIO with a `_sock`, whose class may be changed: body/source.py."""
    import socket

    from resilient_transport.body.source import Source

    one, other = socket.socketpair()
    with one, other, one.makefile("rb") as reader:
        assert (type(reader), type(reader.raw)) == (io.BufferedReader, socket.SocketIO)
        assert reader.raw._sock is one
        reader.raw.__class__ = Source

        # A stream that is not read yet is looked into without waiting.
        assert reader.peek() == b""


def test_a_connection_remembers_the_response_that_is_read():
    """`_HTTPConnection__response`, which `close` closes: connection/connection.py lets go of it before."""
    import http.client

    assert "_HTTPConnection__response" in names_in(http.client.HTTPConnection.close)
    assert "_HTTPConnection__response" in vars(HTTPConnection("localhost"))


def test_a_connection_says_what_it_is_doing():
    """`connection.py` says that a request was sent, which `http.client` keeps in a name of its own."""
    connection = http.client.HTTPConnection("localhost")
    one, other = socket.socketpair()
    connection.sock = one
    states = [connection._HTTPConnection__state]
    connection.request("GET", "/")
    states.append((connection._HTTPConnection__state, connection._method))
    other.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    connection.getresponse().read()
    states.append(connection._HTTPConnection__state)
    connection.close()
    other.close()

    assert states == ["Idle", ("Request-sent", "GET"), "Idle"]


def test_a_response_whose_head_is_known_reads_none():
    """`response_head.py` reads a head before `http.client` asks for it."""
    one, other = socket.socketpair()
    with one, other:
        answer = http.client.HTTPResponse(one)
        answer.headers = http.client.HTTPMessage()
        answer.begin()
        answer.close()

    assert answer.status == "UNKNOWN"


def test_urllib3_keeps_what_a_response_needs_to_know():
    """`connection.py` gives it these, in their order, where a request goes past urllib3."""
    from urllib3._base_connection import _ResponseOptions

    assert _ResponseOptions._fields == (
        "request_method",
        "request_url",
        "preload_content",
        "decode_content",
        "enforce_content_length",
    )
    assert {"_response_options", "_ResponseOptions"} <= names_in(HTTPConnection.request)
    assert "_response_options" in names_in(HTTPConnection.getresponse)
    assert "_response_options" in names_in(HTTPConnection.close)


def test_where_fields_are_kept():
    """`head_parser.py` fills them in, and `request_head.py` reads requests' at once."""
    message = http.client.parse_headers(io.BytesIO(b"A: 1\r\n\r\n"))
    fields = urllib3.HTTPHeaderDict([("A", "1"), ("a", "2")])

    assert (message._headers, message._payload) == ([("A", "1")], "")
    assert fields._container == {"a": ["A", "1", "2"]}
    assert dict(requests.structures.CaseInsensitiveDict({"A": "1"})._store) == {"a": ("A", "1")}


@pytest.mark.parametrize("name", ["_pool", "_connection", "_fp", "_fp_bytes_read", "length_remaining"])
def test_what_a_response_has(name):
    """What body/release.py, body/source.py, body.py and streamed.py read and set."""
    assert name in vars(HTTPResponse(b"", preload_content=False))


def test_a_responses_class_may_be_changed():
    """streamed.py gives it methods that tell their errors."""
    from resilient_transport.body.streamed import Streamed

    response = HTTPResponse(io.BytesIO(), preload_content=False)
    response.__class__ = Streamed

    assert response.read() == b""


def test_who_reads_a_chunk():
    """streamed.py counts the bytes that this returns."""
    names = HTTPResponse.read_chunked.__code__.co_names

    assert "_handle_chunk" in names
    assert "_fp_bytes_read" not in names


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, deflate"])
def test_what_a_decoder_has(encoding):
    """`body/decoded_end.py` asks urllib3's decoders whether they are at their end."""
    response = HTTPResponse(io.BytesIO(), headers={"content-encoding": encoding}, preload_content=False)
    response._init_decoder()
    if response._decoder is None:
        pytest.skip(f"nothing is installed that decodes {encoding}")
    decoders = getattr(response._decoder, "_decoders", [response._decoder])

    for decoder in decoders:
        assert hasattr(decoder._obj, "eof") or callable(decoder._obj.is_finished)
        assert not hasattr(decoder, "has_unconsumed_tail") or decoder.has_unconsumed_tail is False


@pytest.mark.parametrize("name", ["read", "read_chunked"])
def test_a_stream_is_read_by(name):
    """`stream` calls what streamed.py overrides."""
    assert name in names_in(HTTPResponse.stream)


@pytest.mark.parametrize("kind", [http.client.HTTPConnection, HTTPConnection])
def test_an_answer_to_connect_is_read_like_any_other(kind):
    """`connection/timed_stream.py` hurries in what `response_class` reads, the proxy's answer included."""
    assert "response_class" in names_in(kind._tunnel)


def test_tls_with_a_proxy_is_by_a_method_of_its_own():
    """`connection/tls_connection.py` has it go by the proxy's context, and sets what `connect` reads."""
    read = {"ssl_context", "cert_reqs", "assert_hostname", "assert_fingerprint", "server_hostname"}

    assert {*read, "_connect_tls_proxy"} <= names_in(HTTPSConnection.connect)
    assert {"proxy_config", "cert_reqs"} <= names_in(HTTPSConnection._connect_tls_proxy)


def test_a_socks_connection_is_told_of_its_proxy_by_its_options():
    """`pool/socks.py` puts an address of the proxy in the place of its name."""
    socks = require("urllib3.contrib.socks")

    assert "_socks_options" in names_in(socks.SOCKSConnection._new_conn)


def test_a_response_reads_from_a_file_of_its_socket():
    """`connection/timed_stream.py` changes the class of what lies under that file."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        response = http.client.HTTPResponse(ours)
        raw = response.fp.raw

        assert type(raw) is socket.SocketIO
        response.close()


def test_a_pool_keeps_its_context_among_the_words_for_its_connections():
    """pool/manager.py looks there whether a pool of somebody else's make has a complete context."""
    context = urllib3.util.ssl_.create_urllib3_context()

    assert HTTPSConnectionPool("localhost", ssl_context=context).conn_kw["ssl_context"] is context


def test_truststore_knows_where_systems_keep_their_store():
    """pool/system_trust.py looks there where OpenSSL knows of none."""
    places = require("truststore._openssl")._CA_FILE_CANDIDATES

    assert all(place.startswith("/") for place in places)
    assert len(places) > 2


def test_the_class_of_sessions_is_found_by_what_it_derives_from():
    """For adapter/session_mount.py: the one class of its module that does."""
    kinds = requests.sessions.SessionRedirectMixin.__subclasses__()

    assert [kind for kind in kinds if kind.__module__ == "requests.sessions"] == [STOCK_SESSION]
    assert STOCK_SESSION is requests.Session


def test_a_context_tells_the_messages_of_its_handshakes(server):
    """For cli/doctor/handshake.py: by their numbers; and the chain of the peer."""
    context, said = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), []
    context.load_verify_locations(server.authority.ca_file)
    context.load_cert_chain(*server.authority.client)
    context._msg_callback = lambda _, way, version, kind, message, data: said.append(
        (way, kind, message, data)
    )
    server.play(Script())
    plain = socket.create_connection(("127.0.0.1", server.port))
    with context.wrap_socket(plain, server_hostname="localhost") as client:
        own = client.getpeercert(binary_form=True)
        public = getattr(client, "get_unverified_chain", None)
        found = public() if public else client._sslobj.get_unverified_chain()
    handshake = {(way, int(message)) for way, kind, message, _ in said if kind == 22}
    first = found[0] if public else ssl.PEM_cert_to_DER_cert(found[0].public_bytes())

    assert {("write", 1), ("read", 2), ("read", 13), ("read", 20), ("write", 11), ("write", 20)} <= handshake
    assert first == own
    assert all(isinstance(data, bytes) for *_, data in said)
