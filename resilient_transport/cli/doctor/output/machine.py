"""`-o json`: all that was found and measured, for programs."""

from __future__ import annotations

import json
from typing import Any

from ..examination import Report


def as_json(report: Report) -> str:
    """The report as JSON."""
    return json.dumps(plain(report), indent=2)


def plain(report: Report) -> dict[str, Any]:
    """The report in types that JSON has."""
    verdict = report.verdict
    return {
        "page": report.page,
        "proxy": report.proxy,
        "verdict": {
            "level": str(verdict.level),
            "root": None if verdict.root is None else verdict.root.name.lower().replace("_", "-"),
            "sentence": verdict.sentence,
            "compared": verdict.compared,
            "hint": verdict.hint,
        },
        "findings": [finding.as_dict() for finding in report.findings],
        "requests": report.requests,
        "seconds": round(report.seconds, 3),
        "interrupted": report.is_interrupted,
    }
