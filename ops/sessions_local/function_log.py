"""Prints the functions' warnings and errors for people, each as one line."""

from __future__ import annotations

import json
import time
from typing import Any, Final

HIDDEN: Final = {
    "_aws",
    "cold_start",
    "correlation_id",
    "exception",
    "exception_name",
    "function_arn",
    "function_memory_size",
    "function_name",
    "function_request_id",
    "level",
    "location",
    "message",
    "sampling_rate",
    "service",
    "stack_trace",
    "timestamp",
    "xray_trace_id",
}
"""Fields of Powertools' Logger that are shown elsewhere in the line, or have no meaning on one machine."""


def readable(function: str, line: str) -> str:
    """Return a warning or an error for people, with its traceback if it has one; '' for other levels."""
    try:
        record = json.loads(line)
        level = record.get("level", "INFO")
    except (ValueError, AttributeError):
        return line  # not from the logger: somebody's `print`
    if level in ("DEBUG", "INFO"):
        return ""
    metrics = {each["Name"] for made in record.get("_aws", {}).get("CloudWatchMetrics", []) for each in made["Metrics"]}
    hidden = HIDDEN | metrics
    fields = "".join(f" {name}={_value(value)}" for name, value in record.items() if name not in hidden)
    headline = f"{time.strftime('%H:%M:%S')} {level} {function}: {record.get('message', '')}{fields}"
    return printable(headline) + (f"\n{record['exception'].rstrip()}" if record.get("exception") else "")


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, ensure_ascii=False)


def printable(text: str) -> str:
    """Return a text without characters that a terminal would obey or could not show."""
    return "".join(character if character.isprintable() else "?" for character in text)
