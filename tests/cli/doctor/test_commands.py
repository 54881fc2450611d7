"""Lines that can be typed: values in, text out."""

import os
import shlex

import pytest

from resilient_transport.cli.doctor.commands import again_line, curl_line
from resilient_transport.cli.doctor.diagnosis import Verdict
from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.finding import Level
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.target import session_from, target_for

START = f"curl -v --http1.1 -o {os.devnull} --max-time 30"
SECTIONS = ("control", "burst", "sizes", "idle")
FINE = Verdict(Level.OK, "")


def target(url, **options):
    """What is examined for these options."""
    asked = Options(url, **options)
    return target_for(session_from(asked), asked)


@pytest.mark.parametrize(
    ("url", "options", "line"),
    [
        ("https://a.example/b", {}, "--noproxy '*' https://a.example/b"),
        ("http://a.example", {"ca": "x.pem", "cert": "c.pem"}, "--noproxy '*' http://a.example/"),
        ("https://u:hunter2@a.example:8443/b?t=1#f", {}, "--noproxy '*' 'https://a.example:8443/b?QUERY'"),
        (
            "https://a.example/",
            {"cert": "my cert.pem", "key": "k.pem", "ca": "it's.pem"},
            "--cacert 'it'\"'\"'s.pem' --cert 'my cert.pem' --key k.pem --noproxy '*' https://a.example/",
        ),
        (
            "https://a.example/",
            {"ca": "/", "cert": "c.pem"},
            "--capath / --cert c.pem --noproxy '*' https://a.example/",
        ),
        (
            "https://a.example/",
            {"proxy": "http://ada:hunter2@proxy.example:3128"},
            "--proxy http://proxy.example:3128 https://a.example/",
        ),
        ("https://[::1]:4/x;y", {}, "--noproxy '*' 'https://[::1]:4/x;y'"),
    ],
)
def test_the_line_for_curl(url, options, line):
    """Paths are in it, quoted for a shell; queries and credentials are not."""
    told = curl_line(target(url, **options), 5.0)

    assert told == f"{START} {line}"
    assert shlex.split(told)[0] == "curl"
    assert "hunter2" not in told


def test_an_unverified_server_is_one_for_curl_too():
    """As the session has it."""
    found = target_for(session_from(Options("https://a.example/")), Options("https://a.example/"))
    object.__setattr__(found, "verify", False)

    assert "--insecure" in curl_line(found, 5.0)


@pytest.mark.parametrize(
    ("options", "verdict", "more"),
    [
        ({}, FINE, "--burst 4 --hold 65"),
        ({"burst": 4}, FINE, "--hold 65"),
        ({"burst": 4, "hold": 65.0}, FINE, ""),
        ({"skip": ("burst", "idle")}, FINE, ""),
        ({"only": ("control",)}, FINE, ""),
        ({}, Verdict(Level.FAIL, "", Root.REFUSED), ""),
        ({}, Verdict(Level.FAIL, "", Root.HANDSHAKE_RESET), "--burst 4"),
        ({}, Verdict(Level.FAIL, "", Root.CUT_BODY), "--sizes URL_OF_A_SMALL_PAGE URL_OF_A_LARGE_PAGE"),
    ],
)
def test_what_would_tell_more(options, verdict, more):
    """What was not asked for, where it could tell something."""
    url = "https://a.example/b"
    told = again_line(Options(url, **options), target(url), verdict, SECTIONS)

    assert told == (f"python -m resilient_transport doctor {url} {more}" if more else "")


def test_it_is_asked_for_as_before():
    """With the same files; without secrets."""
    options = {
        "cert": "c.pem",
        "key": "k.pem",
        "ca": "ca.pem",
        "session": "app:make",
        "proxy": "http://u:hunter2@p:1",
    }
    url = "https://a.example/?t=hunter2"
    plain = {name: value for name, value in options.items() if name != "session"}
    told = again_line(Options(url, **options), target(url, **plain), FINE, ("burst",))

    assert told == (
        "python -m resilient_transport doctor 'https://a.example/?QUERY' --cert c.pem --key k.pem "
        "--ca ca.pem --proxy http://p:1 --session app:make --burst 4"
    )


def test_only_what_there_is_is_proposed():
    """A section that is not there cannot be asked for."""
    assert again_line(Options("https://a.example/"), target("https://a.example/"), FINE, ("control",)) == ""
