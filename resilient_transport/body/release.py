"""The end of a response that may hold a place in a blocking pool.

Leans on `_connection` of urllib3's response, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

from urllib3.response import HTTPResponse


def close_and_release(response: HTTPResponse) -> None:
    """Close a response as urllib3 does, and give its place back in any case.

    If it is part of a ring that is forgotten, its file may have gone first; then to close it fails.
    """
    try:
        HTTPResponse.close(response)
    finally:
        connection = response._connection
        try:
            # urllib3 does not come to it then, and the rest of the body is still to come on it.
            if connection is not None:
                connection.close()
        finally:
            response.release_conn()
