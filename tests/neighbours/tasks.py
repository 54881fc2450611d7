"""A Celery application. Its worker gives itself TASKS calls, and writes to the file SAID what came of each.

Messages go through the folder MESSAGES, so that no broker is needed.
"""

import os

from celery import Celery
from celery.signals import worker_ready

from tests.neighbours.fetching import FIRST, fetch

FOLDER = os.environ["MESSAGES"]

app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": FOLDER,
    "data_folder_out": FOLDER,
    "control_folder": FOLDER + ".control",
    "polling_interval": 0.01,
}
app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=True)


@app.task
def call(name):
    """Make one call, and write a line: which worker has made it, and what came of it."""
    line = f"{os.getpid()} {fetch(name)}\n".encode()
    said = os.open(os.environ["SAID"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(said, line)
    os.close(said)


@worker_ready.connect
def begin(**_):
    """Give the workers what they have to do."""
    if FIRST != "answered" and os.environ["WITH"] == "ours":
        raise SystemExit(FIRST)
    for name in range(int(os.environ["TASKS"])):
        call.delay(name)
