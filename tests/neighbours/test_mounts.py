"""Packages that mount adapters: a plain one is taken over, and `stats()` names the classes of the others."""

import json

import pytest

#: Each lies on what the project has already.
PACKAGES = (
    "twine", "rfc3986", "cloudscraper", "pyparsing", "influxdb", "pytz", "huggingface_hub<1", "tqdm",
    "filelock", "PyGithub", "pyjwt", "pynacl", "deprecated",
)  # fmt: skip
#: Classes of the packages' own, and how many adapters of them there are.
OWN = {
    "cloudscraper.CipherSuiteAdapter": 1,
    "huggingface_hub.utils._http.UniqueRequestIdAdapter": 2,
    "influxdb.client._SocketOptionsAdapter": 1,
    "requests.adapters.HTTPAdapter(max_retries=github.GithubRetry.GithubRetry)": 1,
}


@pytest.mark.slow
@pytest.mark.parametrize("takes_over", [True, False])
def test_what_packages_mount(takes_over, environment_of):
    """twine's and PyGithub's keep their number; with `mounted=False`, the control, all are stock's."""
    environment = environment_of("mounts", "--no-deps", *PACKAGES)
    found, left = json.loads(environment.run("-m", "tests.neighbours.mounts", str(takes_over)).stdout)
    plain = "ResilientAdapter" if takes_over else "HTTPAdapter"

    assert found == {
        "twine": [plain, 10],
        "PyGithub": ["HTTPAdapter", 10],
        "PyGithub, a number": [plain, 4],
        "influxdb": ["_SocketOptionsAdapter", 0],
        "huggingface_hub": ["UniqueRequestIdAdapter", 0],
        "cloudscraper": ["CipherSuiteAdapter", 0],
    }
    assert left == OWN | ({} if takes_over else {"requests.adapters.HTTPAdapter": 3})
