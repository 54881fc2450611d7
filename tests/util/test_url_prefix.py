"""URL prefixes: by scheme, host, port and path segment, in whatever spelling."""

import pytest

from resilient_transport.util.url_prefix import Prefix

COVERED = [
    ("https://api.example", "https://api.example/"),
    ("https://api.example", "https://api.example/any/thing?q=1"),
    ("https://api.example/v1", "https://api.example/v1"),
    ("https://api.example/v1", "https://api.example/v1/"),
    ("https://api.example/v1/", "https://api.example/v1"),
    ("https://api.example/v1", "https://api.example/v1?x=1"),
    ("https://api.example/v1", "https://api.example/v1/words#part"),
    ("https://api.example/v1", "https://API.example:443/v1/x"),
    ("https://api.example:443/v1", "https://api.example/v1/x"),
    ("http://api.example:80", "http://api.example/"),
    ("https://api.example/v1", "https://user:password@api.example/v1"),
    ("https://api.example/v1", "https://api.example//v1//x"),
    ("https://api.example/v1", "https://api.example/%76%31/x"),
    ("https://api.example/v1", "https://api.example/v2/../v1/x"),
    ("https://api.example/v1", "https://api.example/v2/%2e%2e/v1/x"),
    ("https://api.example/v1", "https://api.example./v1"),
    ("https://[::1]:8443/", "https://[0:0:0:0:0:0:0:1]:8443/x"),
]
NOT_COVERED = [
    ("https://api.example/v1", "https://api.example/v10"),
    ("https://api.example/v1", "https://api.example/"),
    ("https://api.example/v1", "https://api.example/x/v1"),
    ("https://api.example/v1", "https://api.example/V1"),
    ("https://api.example/v1", "http://api.example/v1"),
    ("https://api.example", "https://api.example:8443/"),
    ("https://api.example", "https://api.example.evil/"),
    ("https://api.example", "https://my-api.example/"),
    ("https://api.example", "https://evil.example/?u=https://api.example/"),
    ("https://api.example", "https://api.example@evil.example/"),
    ("https://api.example", "not a url"),
    ("https://api.example", "https://[::1/"),
]


@pytest.mark.parametrize(("prefix", "url"), COVERED)
def test_what_is_covered(prefix, url):
    """Whatever a server would take for a URL below the prefix."""
    assert Prefix.parse(prefix).covers(url)


@pytest.mark.parametrize(("prefix", "url"), NOT_COVERED)
def test_what_is_not_covered(prefix, url):
    """The control: another scheme, host, port or segment is another URL."""
    assert not Prefix.parse(prefix).covers(url)


@pytest.mark.parametrize(
    ("prefix", "text"),
    [("HTTPS://Api.Example:443/v1/", "https://api.example/v1"), ("http://[::1]:81", "http://[::1]:81/")],
)
def test_a_prefix_tells_itself(prefix, text):
    """In the one spelling of all that mean the same."""
    assert str(Prefix.parse(prefix)) == text


@pytest.mark.parametrize(
    ("prefix", "url"),
    [
        ("https://a.example/v1/jobs:poll", "https://a.example/v1/jobs%3Apoll"),
        ("https://a.example/users/@me", "https://a.example/users/%40me"),
        ("https://a.example/v1", "https://a.example/v1%2fwords"),
        ("https://a.example/v1", "https://a.example/x/..%2fv1"),
        ("https://a.example/v1/b", "https://a.example/v1;a=b/b;c"),
        ("https://a.example/v1", "https://a.example/\\v1"),
        ("http://127.0.0.1/", "http://127.1/"),
        ("http://127.0.0.1/", "http://2130706433/"),
        ("http://127.0.0.1/", "http://0x7f000001/"),
        ("http://127.0.0.1/", "http://0177.0.0.1/"),
        ("http://127.0.0.1/", "http://[::ffff:127.0.0.1]/"),
    ],
)
def test_what_some_servers_and_resolvers_take_for_the_same(prefix, url):
    """A switch that is thrown refuses too much rather than too little."""
    assert Prefix.parse(prefix).covers(url)
