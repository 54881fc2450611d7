"""The examples of the documents, as tests run them."""

import re

from tests.programs import ROOT


def examples_of(document):
    """Return the code of each example in Python."""
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)


def run_example(example, server):
    """Run one as it stands, but for the names of the server and its files; return its names."""
    certificate, key = server.authority.client
    for name, real in {
        "https://api.example": server.url,
        "ca.pem": server.authority.ca_file,
        "client.pem": certificate,
        "client.key": key,
    }.items():
        example = example.replace(name, real)
    names = {}
    exec(compile(example, "an example", "exec"), names)
    return names
