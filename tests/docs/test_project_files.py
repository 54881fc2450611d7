"""What stands around the code is true: SECURITY.md, CONTRIBUTING.md, and the forms for issues."""

import re
from collections import Counter
from pathlib import Path

import pytest
import requests
import yaml

from resilient_transport import mount
from resilient_transport.connection.response_head import _INTERIM_AT_MOST
from resilient_transport.retry.policy import RetryPolicy
from resilient_transport.retry.stages import TABLE, Situation
from resilient_transport.testing import Script
from tests.end_to_end.verbatim_server import FIN, Answer, VerbatimServer
from tests.end_to_end.verbatim_server import told as answered
from tests.test_docs import broken_links, text_of, told_to_install

ROOT = Path(__file__).parents[2]
FORMS = ("bug_report.yml", "feature_request.yml")
#: What the host of these forms knows, and which keys each has to have.
PARTS = {
    "markdown": {"value"},
    "textarea": {"label"},
    "checkboxes": {"label", "options"},
}
#: What installs a package by our name, after all options: an index may have a stranger's by it.
BY_NAME = re.compile(
    r"\b(?:pip3?|pipx|uv|poetry|conda) (?:tool )?(?:install|add)(?: -\S+)* resilient[-_]transport\b"
)
#: Files for people; the rest of the documents has tests of its own.
TEXTS = (
    "SECURITY.md",
    ".github/pull_request_template.md",
    *(f".github/ISSUE_TEMPLATE/{name}" for name in FORMS),
)


def form(name):
    """Return what is in a form."""
    return yaml.safe_load(text_of(f".github/ISSUE_TEMPLATE/{name}"))


def mistakes(told):
    """Return what is wrong with a form, in words."""
    found = [f"{key} is not there" for key in ("name", "description", "body") if not told.get(key)]
    names = Counter(part.get("id") for part in told.get("body", ()) if part.get("id"))
    found += [f"{name} is there twice" for name, times in names.items() if times > 1]
    for part in told.get("body", ()):
        kind, has = part.get("type"), part.get("attributes", {})
        found += [f"{kind} is unknown"] if kind not in PARTS else []
        found += [f"{kind} has no {key}" for key in PARTS.get(kind, ()) if not has.get(key)]
        found += [f"{kind} has no id"] if kind != "markdown" and not part.get("id") else []
    return found


@pytest.mark.parametrize("name", FORMS)
def test_forms_are_well_formed(name):
    """Each part is of a kind that there is, with what it needs."""
    assert mistakes(form(name)) == []


def test_a_form_that_is_wrong_is_found():
    """The control: an unknown part, one without a label, and an id that is there twice."""
    body = [
        {"type": "textarea", "id": "a", "attributes": {"label": "A"}},
        {"type": "textarea", "id": "a", "attributes": {}},
        {"type": "slider", "id": "b"},
    ]

    assert mistakes({"name": "x", "body": body}) == [
        "description is not there",
        "a is there twice",
        "textarea has no label",
        "slider is unknown",
    ]


def test_a_report_has_what_it_takes_and_no_secret():
    """Attempts, the doctor, versions; who reports says that no secret is there, and is told so first."""
    told = form("bug_report.yml")
    first, *parts = told["body"]
    words = {part["id"]: str(part["attributes"]) for part in parts}
    required = {part["id"] for part in parts if part.get("validations", {}).get("required")}

    assert "Do not paste secrets" in first["attributes"]["value"]
    assert "attempts_of(error)" in words["attempts"]
    assert "doctor --json" in words["doctor"]
    assert "ssl.OPENSSL_VERSION" in words["versions"]
    assert required == {"what", "attempts", "versions"}
    assert [option["required"] for option in parts[-1]["attributes"]["options"]] == [True]


def test_the_command_for_versions_runs(capsys):
    """It prints six of them."""
    (part,) = [part for part in form("bug_report.yml")["body"] if part.get("id") == "versions"]
    code = re.search(r'python -c "(.*)"', part["attributes"]["description"], re.DOTALL)[1]
    exec(code)

    assert len(re.findall(r"\d+\.\d+", capsys.readouterr().out)) >= 5


def test_links_of_the_forms_lead_to_files():
    """A link has the placeholder's host, and the path of a file that the project has or will have."""
    told = form("config.yml")
    addresses = [link["url"] for link in told["contact_links"]]

    assert told["blank_issues_enabled"] is False
    assert [address.partition("/blob/main/")[2] for address in addresses] == [
        "docs/failures.md",
        "SECURITY.md",
    ]
    assert all(address.startswith("https://resilient-transport.example/") for address in addresses)


@pytest.mark.parametrize("document", TEXTS)
def test_texts_name_no_machine_and_no_index(document):
    """Nothing in them belongs to one machine or one index, and their links lead somewhere."""
    text = text_of(document)

    assert not re.search(r"/(root|home|work|tmp)/|pypi\.|localhost:\d", text)
    assert told_to_install(text) == []
    assert broken_links(document, text) == []


def installs_by_name(text):
    """Tell whether a text has its reader install our name from an index, also over two lines."""
    return bool(BY_NAME.search(re.sub(r"[\s'\"]+", " ", text)))


def test_nothing_is_installed_by_our_name():
    """In no text for people, no message of the package and no setting; it is on no index."""
    patterns = (
        "*.md",
        "*.cfg",
        ".ci/*",
        ".github/**/*.*",
        "docs/*",
        "benchmarks/*.*",
        "resilient_transport/**/*.py",
    )
    paths = [
        path for pattern in patterns for path in ROOT.glob(pattern) if path.suffix not in (".png", ".svg")
    ]

    assert len(paths) > 200
    assert [path for path in paths if path.is_file() and installs_by_name(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pip install resilient-transport", True),
        ("run `uv pip install -U\n 'resilient_transport[cli]'`", True),
        ("poetry add resilient-transport", True),
        ("pip install '.[cli]'  # in a clone of resilient_transport", False),
        ("resilient_transport.install()", False),
    ],
)
def test_such_a_command_is_found(text, found):
    """The control: with options, quotes and another tool."""
    assert installs_by_name(text) is found


def test_security_has_the_numbers_of_the_code():
    """The longest wait, the interim responses, and the one status by which a POST is sent once more."""
    text = " ".join(text_of("SECURITY.md").split())
    repeated = {
        situation.name
        for situation, verdicts in TABLE.items()
        if verdicts[1].value.startswith(("yes", "once"))
    }

    assert f"for up to {RetryPolicy().retry_after_max:g} s each time" in text
    assert f"After {_INTERIM_AT_MOST} of them" in text
    assert "a POST sent once more, by the status 421" in text
    assert repeated == {"EARLY", Situation.MISDIRECTED.name}


@pytest.mark.parametrize(("status", "method"), [("307", "POST"), ("308", "POST"), ("302", "GET")])
def test_a_redirect_takes_a_post_and_the_certificate_along(server, status, method):
    """As SECURITY.md says of 307 and 308; after a 302, the control, it is a GET."""
    server.play(Script())
    answer = answered(f"{status} Elsewhere", b"", Content_Length="0", Location=f"{server.url}/whoami")
    with VerbatimServer([Answer(answer, FIN)]) as hostile, requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = server.authority.ca_file, server.authority.client
        mount(session)
        response = session.post(hostile.url, data=b"x")

    assert (response.request.method, response.json()["client"]) == (method, "alice")


def test_golden_files_are_renewed_as_contributors_are_told():
    """Each command has a variable that its test reads; and each such variable has a command."""
    told = re.findall(r"(UPDATE_\w+)=1 \.ci/run test ([\w/.]+)", text_of("CONTRIBUTING.md"))
    read = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"\"(UPDATE_\w+)\"", path.read_text(encoding="utf-8"))
    }

    assert len(told) == len(read)
    assert {name for name, _ in told} == read
    assert [name for name, path in told if f'"{name}"' not in text_of(path)] == []
