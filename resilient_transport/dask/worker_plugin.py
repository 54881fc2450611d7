"""The plugin that installs the adapter on each worker of a cluster."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any, Final

import requests
from distributed import Worker, WorkerPlugin

from ..adapter.adapter import ResilientAdapter
from ..adapter.arguments import AdapterArguments
from ..adapter.warmup import each
from ..events.attempt import attempts_of
from ..installation import Installation, first_of, install_for, mount
from ..settings.override import override
from ..util.origin import origin_at

if sys.version_info >= (3, 11):
    from typing import Unpack
elif TYPE_CHECKING:
    # Python 3.10 has none, and every type checker knows this one.
    from typing_extensions import Unpack

#: Below the worker's own logger, so that `Client.get_worker_logs` has it, too.
log: Final = logging.getLogger("distributed.worker.resilient_transport")

#: Seconds that a worker's start waits for its connections, at the most.
WARM_WITHIN: Final = 10.0


class InstallAdapter(WorkerPlugin):
    """Installs the adapter on each worker, with one set of settings.

    `client.register_plugin(InstallAdapter(...))` does so on the workers that there are, on those that join
    later, and on those that a nanny starts anew. What tasks do with `requests` on a worker has this transport
    from then on, as after `resilient_transport.install`. The installation ends when the worker closes, or
    when the plugin is removed: `client.unregister_worker_plugin(InstallAdapter.name)`. A second registration
    ends the first, and then begins. So register before tasks run: a session that is made in between may have
    stock's transport.

    The settings travel in a pickle. Paths in them (`warm`) are paths on the worker, and a hook (`on_event`)
    runs on the worker. What no pickle may hold is refused here: `ssl_context`, and `key_password` as text.
    Credentials in the arguments of `warm` travel with them. For what the settings do not say, a worker reads
    its own environment.

    A worker's start waits up to 10 s for the connections of `warm`. One that cannot be made fails nothing;
    the worker's log (`distributed.worker`) tells of it.

    Args:
        mounted: as in `install`.
        warm: as in `ResilientAdapter`, but once for each worker: URLs of servers to connect to, or dicts of
            the arguments of `ResilientAdapter.warm`, with the certificates that the tasks will use. What
            these do not say is taken from the worker's environment, as `requests.get` takes it.
        settings: what else `ResilientAdapter` takes.

    Raises:
        TypeError, ValueError: as `ResilientAdapter` does, here and not on the workers.
    """

    #: Of two plugins of a name the one that was registered last holds.
    name: str = "resilient_transport"

    def __init__(self, *, mounted: bool = True, **settings: Unpack[AdapterArguments]) -> None:
        self._warm: list[dict[str, Any]] = []
        each(self._note, settings.pop("warm", ()))
        adapter = first_of(settings, mounted)
        adapter.close()
        # Refuses what no pickle may hold.
        adapter.__getstate__()
        self._mounted = mounted
        self._settings = settings
        #: By worker: several may live in one process.
        self._installations: dict[Worker, Installation] = {}

    def _note(self, **arguments: Any) -> None:
        inspect.signature(ResilientAdapter.warm).bind(self, **arguments)
        if not isinstance(arguments["url"], str):
            raise TypeError(f"warm takes URLs as text, not {type(arguments['url']).__name__}")
        self._warm.append({**arguments, "background": False})

    async def setup(self, worker: Worker) -> None:
        """Install, and connect to the servers of `warm`; called by the worker."""
        # Other workers of this process may have still what is being replaced, or another copy of a hook.
        owner = f"the InstallAdapter {self.name!r} of {worker.scheduler.address}"
        self._installations[worker] = install_for(owner, self._settings, self._mounted)
        if self._warm:
            # Not in the thread that answers the scheduler.
            await asyncio.to_thread(self._connect)

    def teardown(self, worker: Worker) -> None:
        """End what `setup` has installed for one worker; called by the worker."""
        installation = self._installations.pop(worker, None)
        if installation is not None:
            installation.end()

    def _connect(self) -> None:
        """Connect to each server, within the time for all of them."""
        with requests.Session() as session, override(deadline=WARM_WITHIN):
            adapter = mount(session, **self._settings)
            for wanted in self._warm:
                self._connect_to(adapter, {"session": session, **wanted})

    def _connect_to(self, adapter: ResilientAdapter, wanted: dict[str, Any]) -> None:
        try:
            with override(deadline=adapter.policy.deadline):
                adapter.warm(**wanted)
        except BaseException as error:
            # A hook's SystemExit, too: it would end the worker. Not the text: a URL in it may hold a secret.
            how = attempts_of(error).summary()
            log.warning("warming %s failed: %s, %s", origin_at(wanted["url"]), type(error).__name__, how)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_installations": {}}
