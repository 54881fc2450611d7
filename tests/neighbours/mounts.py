"""A program: what becomes of the adapters that well-known packages mount, with `install()` in force.

`python -m tests.neighbours.mounts True|False` says as JSON what it found: the class of each adapter,
its number of repetitions, and what `stats()` says was left alone.
"""

import json
import sys

import cloudscraper
import influxdb
import twine.utils
from github import GithubRetry
from github.Requester import HTTPSRequestsConnectionClass
from huggingface_hub.utils import get_session

import resilient_transport


def sessions():
    """Return a session of each package, by its name."""
    return {
        "twine": twine.utils.make_requests_session(),
        "PyGithub": HTTPSRequestsConnectionClass("localhost", retry=GithubRetry(total=10)).session,
        "PyGithub, a number": HTTPSRequestsConnectionClass("localhost", retry=4).session,
        "influxdb": influxdb.InfluxDBClient(ssl=True)._session,
        "huggingface_hub": get_session(),
        "cloudscraper": cloudscraper.create_scraper(),
    }


def main(takes_over):
    """Print what becomes of them."""
    with resilient_transport.install(mounted=takes_over):
        found = {name: session.get_adapter("https://localhost") for name, session in sessions().items()}
    told = {name: (type(adapter).__name__, adapter.max_retries.total) for name, adapter in found.items()}
    print(json.dumps([told, resilient_transport.stats().left_alone]))


if __name__ == "__main__":
    main(sys.argv[1] == "True")
