"""`--json`: all that was found and measured, for programs. docs/doctor.md lists the keys."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final

from .... import __version__
from ....call.redaction import describe
from ..examination import Report
from ..finding import Finding, Level

#: Grows when a key goes or means something else; new keys may come without that.
SCHEMA: Final = 1
#: Fields whose values may be secrets, whoever has measured them: only their names are told.
_ONLY_NAMES: Final = ("headers", "environ", "environment")


def as_json(report: Report) -> str:
    """The report as JSON: ASCII, so that it can be written anywhere."""
    return json.dumps(plain(report), indent=2, allow_nan=False)


def plain(report: Report) -> dict[str, Any]:
    """The report in types that JSON has."""
    verdict = report.verdict
    told = {
        "schema": SCHEMA,
        "version": __version__,
        "page": report.page,
        "proxy": report.proxy,
        "verdict": {
            "level": str(verdict.level),
            "root": verdict.root and verdict.root.identifier,
            "sentence": verdict.sentence,
            "also": verdict.also,
            "compared": verdict.compared,
            "hint": verdict.hint,
        },
        "sections": [_section(report, name, title) for name, title in report.titles],
        "requests": report.requests,
        "connections": report.connections,
        "seconds": round(report.seconds, 3),
        "interrupted": report.is_interrupted,
        "curl": report.curl,
        "again": report.again,
    }
    clean: dict[str, Any] = report.secrets.out_of_all(told)
    return clean


def _section(report: Report, name: str, title: str) -> dict[str, Any]:
    found = [finding for finding in report.findings if finding.section == name]
    return {
        "name": name,
        "title": title,
        "level": _worst(found),
        "findings": [finding.as_dict() for finding in found],
        "measured": values(report.measured.get(name)),
    }


def _worst(findings: Sequence[Finding]) -> str:
    order = (Level.FAIL, Level.WARN, Level.OK, Level.SKIPPED)
    levels = {finding.level for finding in findings} or {Level.SKIPPED}
    return str(next(level for level in order if level in levels))


def values(value: Any) -> Any:
    """A measured value in types that JSON has; what does not show in its repr does not show here."""
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, (str, int)) else value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    return _gathered(value)


def _fields(value: Any) -> dict[str, Any]:
    shown = [field.name for field in dataclasses.fields(value) if field.repr]
    return {name: _held(name, getattr(value, name)) for name in shown}


def _held(name: str, value: Any) -> Any:
    if name in _ONLY_NAMES and isinstance(value, Mapping):
        return sorted(map(str, value))
    return values(value)


def _gathered(value: Any) -> Any:
    """Of what is none of ours, only its kind is told: its repr may hold anything."""
    if hasattr(value, "_asdict"):
        return {name: _held(name, each) for name, each in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(values(name)): _held(str(name), each) for name, each in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(map(values, value), key=str)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [values(each) for each in value]
    if isinstance(value, BaseException):
        return describe(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    moment = getattr(value, "isoformat", None)
    if callable(moment):
        return moment()
    return f"<{type(value).__name__}>"
