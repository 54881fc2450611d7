"""Celery: tasks in workers that are forked, again and again, from a process which has made calls."""

import signal
import subprocess
import time
from collections import Counter

import pytest

from resilient_transport.settings.environment import clean_environment
from tests.neighbours.environments import WORKERS
from tests.neighbours.losses import LOSSES, settings_of
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT

pytestmark = pytest.mark.slow

TASKS = 1000


def celery(environment_of, server, folder, whose, tasks, before=(), *options):
    """Let a worker do so many tasks; return the processes that did them, and what came of each."""
    python = environment_of("workers", *WORKERS).python
    said, messages = folder / "said", folder / "messages"
    messages.mkdir()
    said.touch()
    settings = settings_of(server, whose)
    settings |= {"TASKS": str(tasks), "SAID": str(said), "MESSAGES": str(messages)}
    command = [python, *before, "-m", "celery", "-A", "tests.neighbours.tasks", "worker", "--pool=prefork",
               "--concurrency=2", "--loglevel=ERROR", "--without-gossip", "--without-mingle",
               "--without-heartbeat", *options]  # fmt: skip
    environment = {**clean_environment(), "PYTHONPATH": str(ROOT), **settings}
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, text=True)
        try:
            give_up = time.monotonic() + 0.8 * HANG_TIMEOUT
            while said.read_text().count("\n") < tasks and process.poll() is None:
                assert time.monotonic() < give_up, "the tasks are not done"
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(HANG_TIMEOUT)
        log.seek(0)
        assert process.returncode == 0, log.read()
    lines = [line.split() for line in said.read_text().splitlines()]
    return {worker for worker, _ in lines}, Counter(what for _, what in lines)


def test_each_task_is_done(environment_of, server, tmp_path):
    """1,000 of 1,000, in several generations of workers, while a quarter of the connections is lost."""
    server.play(LOSSES)
    workers, said = celery(
        environment_of, server, tmp_path, "ours", TASKS, (), f"--max-tasks-per-child={TASKS // 5}"
    )

    assert said == {"answered": TASKS}
    assert len(workers) > 2
    assert server.counts().handshakes < TASKS


def test_stock_loses_some(environment_of, server, tmp_path):
    """The control."""
    server.play(LOSSES)
    _, said = celery(environment_of, server, tmp_path, "stock", TASKS // 10)

    assert 0 < said["answered"] < TASKS // 10
    assert said["ConnectionError"] > 0


def test_under_run(environment_of, server, tmp_path):
    """`run --children` before `-m celery`: nobody mounts anything, and each task is done."""
    server.play(LOSSES)
    before = ["-m", "resilient_transport", "run", "--children"]
    _, said = celery(environment_of, server, tmp_path, "installed", TASKS // 20, before)

    assert said == {"answered": TASKS // 20}
