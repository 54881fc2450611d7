"""For clusters of dask (extra `[dask]`): one installation for every worker, and the sum of what they count.

>>> from resilient_transport.dask import InstallAdapter, cluster_stats
>>> client = distributed.Client("scheduler:8786")
>>> client.register_plugin(InstallAdapter(connect_timeout=5, warm=["https://api.example"]))
>>> bodies = client.gather(client.map(fetch, urls))
>>> print(cluster_stats(client))

The package has to be importable on the workers, and so does whatever the settings name.
"""

try:
    import distributed as _distributed  # noqa: F401 - what is missing is named here
except ImportError as error:
    raise ImportError("resilient_transport.dask takes distributed: pip install distributed") from error

from .sums import ClusterStats, cluster_stats
from .worker_plugin import InstallAdapter

__all__ = ["ClusterStats", "InstallAdapter", "cluster_stats"]
