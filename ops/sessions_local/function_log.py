"""Prints the functions' warnings and errors for people, each as one line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Set
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


class FunctionLog:
    """The stream of a function's logger: prints its lines for people, and keeps the metrics in them."""

    def __init__(self, function: str, *, is_verbose: bool) -> None:
        self._function = function
        self._is_verbose = is_verbose
        self.metrics: dict[str, float] = {}
        """Values by name, of all lines since somebody emptied it."""

    def write(self, line: str) -> None:
        """Print a line of Powertools' Logger: all of it, or a warning or an error for people."""
        record = json.loads(line)
        directives = record.get("_aws", {}).get("CloudWatchMetrics", [])
        metrics = {each["Name"]: sum(record[each["Name"]]) for directive in directives for each in directive["Metrics"]}
        self.metrics |= metrics
        text = line.rstrip("\n") if self._is_verbose else self._readable(record, HIDDEN | metrics.keys())
        if text:
            print(text, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Do nothing: each line is written at once."""

    def _readable(self, record: Mapping[str, Any], hidden: Set[str]) -> str:
        """Return a warning or an error with its traceback if it has one; '' for other levels."""
        if record["level"] in ("DEBUG", "INFO"):
            return ""
        fields = "".join(f" {name}={_value(value)}" for name, value in record.items() if name not in hidden)
        headline = f"{time.strftime('%H:%M:%S')} {record['level']} {self._function}: {record['message']}{fields}"
        return printable(headline) + (f"\n{record['exception'].rstrip()}" if record.get("exception") else "")


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, ensure_ascii=False)


def printable(text: str) -> str:
    """Return a text without characters that a terminal would obey or could not show."""
    return "".join(character if character.isprintable() else "?" for character in text)
