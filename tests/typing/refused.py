"""What type checkers must refuse: each line that ends in `# refused`, and no other."""

import requests

from resilient_transport import ResilientAdapter, RetryPolicy, install, mount, override

session = requests.Session()


def use() -> None:
    """Get everything wrong."""
    mount(session, conect_timeout=3)  # refused
    mount(session, connect_timeout="3")  # refused
    mount(session, policy=3)  # refused
    mount(session, retries=3)  # refused
    mount()  # refused
    install(polcy=RetryPolicy())  # refused
    install(on_event="print")  # refused
    install(mounted="no")  # refused
    install(True)  # refused
    override(retrys=3)  # refused
    override(retries="3")  # refused
    override(deadline="soon")  # refused
    ResilientAdapter(max_retrys=3)  # refused
    ResilientAdapter(handshakes="many")  # refused
    RetryPolicy(allowed_methods="GET")  # refused
    RetryPolicy(allowed_methods=[b"GET"])  # refused
    RetryPolicy(statuses=500)  # refused
    RetryPolicy(statuses=["500"])  # refused
    RetryPolicy(retry_after_statuses="503")  # refused
    RetryPolicy(retry=3)  # refused
    RetryPolicy(shared="redis://localhost")  # refused
