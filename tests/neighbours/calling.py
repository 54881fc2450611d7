"""A process that calls by one HTTP client or another, as the process that has started it says.

It is told one thing a line, in JSON, and answers with one line. It imports a client only when that is
asked for, so it runs in the environment of each. `tests/neighbours/comparing.py` is the other end.

    python calling.py ca.pem client.pem client.key
"""

import json
import ssl
import sys
from importlib.metadata import version
from threading import Barrier, Thread

#: How many TLS contexts were made.
MADE = [0]


def counted(make):
    """Count what is made."""

    def made(*arguments, **settings):
        MADE[0] += 1
        return make(*arguments, **settings)

    return made


class Requests:
    """requests, as it is, or with what `max_retries=` is given."""

    packages = "requests", "urllib3"

    def __init__(self, material):
        import requests

        ca, *client = material
        self.session = requests.Session()
        self.session.trust_env, self.session.verify, self.session.cert = False, ca, tuple(client)
        self.mount()

    def mount(self):
        """Leave what is mounted."""

    def call(self, method, url, headers):
        """Return the status and the size of the body."""
        response = self.session.request(method, url, headers=headers)
        return response.status_code, len(response.content)


class Retrying(Requests):
    """With a `Retry(3)`, as one writes it."""

    def mount(self):
        """Give it to the adapter."""
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        self.session.mount("https://", HTTPAdapter(max_retries=Retry(3)))


class Resilient(Requests):
    """With this package."""

    packages = ("resilient-transport",)

    def mount(self):
        """Mount the adapter, without arguments."""
        from resilient_transport import mount

        mount(self.session)


class Tenacity(Requests):
    """tenacity around requests: on an error of the connection or the body, three attempts."""

    packages = "tenacity", "requests", "urllib3"

    def call(self, method, url, headers):
        """As one decorates a function that calls."""
        import requests
        import tenacity

        errors = requests.ConnectionError, requests.exceptions.ChunkedEncodingError
        retry = tenacity.retry(
            retry=tenacity.retry_if_exception_type(errors), stop=tenacity.stop_after_attempt(3)
        )
        return retry(super().call)(method, url, headers)


class HttpxRetries:
    """httpx with httpx-retries' transport."""

    packages = "httpx-retries", "httpx"

    def __init__(self, material):
        import httpx
        import httpx_retries

        ca, *client = material
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(*client)
        transport = httpx_retries.RetryTransport(transport=httpx.HTTPTransport(verify=context))
        self.client = httpx.Client(transport=transport, trust_env=False)

    def call(self, method, url, headers):
        """Return the status and the size of the body."""
        response = self.client.request(method, url, headers=headers)
        return response.status_code, len(response.content)


class Niquests(Requests):
    """niquests, as it is."""

    packages = "niquests", "urllib3-future"

    def __init__(self, material):
        import niquests

        ca, *client = material
        self.session = niquests.Session()
        self.session.trust_env, self.session.verify, self.session.cert = False, ca, tuple(client)


class Botocore:
    """botocore: a GET is GetObject of S3, a POST is SendMessage of SQS, both sent to where the test says."""

    packages = ("botocore",)
    #: Kept, since one takes long to make; what its connections do is the server's business.
    clients = {}

    def __init__(self, material):
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.session import Session

        ca, *client = material
        settings = {"signature_version": UNSIGNED, "client_cert": tuple(client), "max_pool_connections": 16}
        config = Config(retries={"mode": "standard"}, **settings)
        self.make = lambda name: Session().create_client(
            name, region_name="us-east-1", endpoint_url="https://localhost", verify=ca, config=config
        )

    def call(self, method, url, headers):
        """Return the status and the size of the body, where there is one."""
        from botocore.exceptions import ClientError

        name = {"GET": "s3", "POST": "sqs"}[method]
        client = self.clients[name] = self.clients.get(name) or self.make(name)
        client.meta.events.unregister(f"before-send.{name}", unique_id="where")
        client.meta.events.register(f"before-send.{name}", towards(url, headers), unique_id="where")
        try:
            if method == "POST":
                client.send_message(QueueUrl="https://localhost/queue", MessageBody="x")
                return 200, None
            return 200, len(client.get_object(Bucket="bucket", Key="key")["Body"].read())
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"], None


def towards(url, headers):
    """Return a hook that sends a request to a page of the fault server, with headers of its own."""

    def send(request, **_):
        request.url = url
        request.headers.update(headers)

    return send


class Clientwright(Requests):
    """A session of requests that clientwright has built."""

    packages = "clientwright", "requests", "urllib3"

    def __init__(self, material):
        from clientwright import ClientConfig, build_sync
        from clientwright.core.config import TlsConfig

        ca, *client = material
        config = ClientConfig(service_name="test", tls=TlsConfig(ca_bundle=ca, cert=tuple(client)))
        self.session = build_sync("requests", config)
        self.session.trust_env = False


PEERS = {
    "requests": Requests,
    "requests + Retry": Retrying,
    "this package": Resilient,
    "tenacity": Tenacity,
    "httpx-retries": HttpxRetries,
    "niquests": Niquests,
    "botocore": Botocore,
    "clientwright": Clientwright,
}


class Caller:
    """What this process does as it is told."""

    def __init__(self, *material):
        self.material = material
        self.peer = None

    def begin(self, peer):
        """Take a new client of this kind, without connections."""
        kind = PEERS[peer]
        MADE[0] = 0
        self.peer = kind(self.material)
        return {name: version(name) for name in kind.packages}

    def call(self, method, url, headers):
        """Return what came: a status and the size of a body, or the name of the error."""
        try:
            status, size = self.peer.call(method, url, headers)
        except Exception as error:
            return {"error": type(error).__name__, "says": str(error)}
        return {"status": status, "size": size}

    def burst(self, count, **asked):
        """Return what came of as many calls at once."""
        start, came = Barrier(count), []

        def one():
            start.wait()
            came.append(self.call(**asked))

        threads = [Thread(target=one) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return came

    def contexts(self):
        """Return how many TLS contexts were made since the client was taken."""
        return MADE[0]


if __name__ == "__main__":
    ssl.SSLContext.__new__ = counted(ssl.SSLContext.__new__)
    caller = Caller(*sys.argv[1:])
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(caller, asked.pop("do"))(**asked)), flush=True)
