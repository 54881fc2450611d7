"""HAR 1.2 as a JSON schema, written from http://www.softwareishard.com/blog/har-12-spec/.

It is strict: besides what the specification names, an object may have a comment, and fields that begin with
an underscore.
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
#: An ISO 8601 date with a time zone.
DATE: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$",
}
#: Bytes; -1: not known.
SIZE: Schema = {"type": "integer", "minimum": -1}
#: Milliseconds; those that there need not be are -1 where they do not apply.
MILLISECONDS: Schema = {"type": "number", "minimum": 0}
MAYBE_MILLISECONDS: Schema = {"anyOf": [MILLISECONDS, {"const": -1}]}


def record(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with these fields, and no others but comments and extensions."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {}), "comment": TEXT},
        "required": list(required),
        "patternProperties": {"^_": {}},
        "additionalProperties": False,
    }


def many(item: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": item}


NAMED = record({"name": TEXT, "version": TEXT})
PAIR = record({"name": TEXT, "value": TEXT})
COOKIE = record(
    {"name": TEXT, "value": TEXT},
    {
        "path": TEXT,
        "domain": TEXT,
        "expires": DATE,
        "httpOnly": {"type": "boolean"},
        "secure": {"type": "boolean"},
    },
)
PARAMETER = record({"name": TEXT}, {"value": TEXT, "fileName": TEXT, "contentType": TEXT})
POST_DATA = record({"mimeType": TEXT, "params": many(PARAMETER), "text": TEXT})
HEAD = {
    "httpVersion": TEXT,
    "cookies": many(COOKIE),
    "headers": many(PAIR),
    "headersSize": SIZE,
    "bodySize": SIZE,
}
REQUEST = record({"method": TEXT, "url": TEXT, "queryString": many(PAIR), **HEAD}, {"postData": POST_DATA})
CONTENT = record(
    {"size": {"type": "integer", "minimum": 0}, "mimeType": TEXT},
    {"compression": {"type": "integer"}, "text": TEXT, "encoding": TEXT},
)
RESPONSE = record(
    {"status": {"type": "integer"}, "statusText": TEXT, "content": CONTENT, "redirectURL": TEXT, **HEAD}
)
CACHED = {
    "anyOf": [
        {"type": "null"},
        record({"lastAccess": DATE, "eTag": TEXT, "hitCount": {"type": "integer"}}, {"expires": DATE}),
    ]
}
TIMINGS = record(
    {"send": MILLISECONDS, "wait": MILLISECONDS, "receive": MILLISECONDS},
    {
        "blocked": MAYBE_MILLISECONDS,
        "dns": MAYBE_MILLISECONDS,
        "connect": MAYBE_MILLISECONDS,
        "ssl": MAYBE_MILLISECONDS,
    },
)
ENTRY = record(
    {
        "startedDateTime": DATE,
        "time": MILLISECONDS,
        "request": REQUEST,
        "response": RESPONSE,
        "cache": record({}, {"beforeRequest": CACHED, "afterRequest": CACHED}),
        "timings": TIMINGS,
    },
    {"pageref": TEXT, "serverIPAddress": TEXT, "connection": TEXT},
)
PAGE = record(
    {
        "startedDateTime": DATE,
        "id": TEXT,
        "title": TEXT,
        "pageTimings": record({}, {"onContentLoad": MAYBE_MILLISECONDS, "onLoad": MAYBE_MILLISECONDS}),
    }
)
HAR: Schema = record(
    {
        "log": record(
            {"version": {"const": "1.2"}, "creator": NAMED, "entries": many(ENTRY)},
            {"browser": NAMED, "pages": many(PAGE)},
        )
    }
)
