"""Sockets and threads: connections that are made, proven, shared and kept.  Knows nothing of retries."""
