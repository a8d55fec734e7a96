"""What people see of the functions' logs: warnings and errors, each as one line."""

from __future__ import annotations

import json
import time
from typing import Any, Final, TextIO

_SHOWN_APART: Final = {"level", "message", "service", "exception", "stack_trace"}
_NOT_SHOWN: Final = {
    "_aws",
    "cold_start",
    "correlation_id",
    "exception_name",
    "function_arn",
    "function_memory_size",
    "function_name",
    "function_request_id",
    "location",
    "sampling_rate",
    "timestamp",
    "xray_trace_id",
}
"""Fields of Powertools' Logger that say nothing on one machine ('Logger', structured keys)."""


class FunctionLog:
    """Writes log lines for people; everything as it is when they asked for all of it."""

    def __init__(self, screen: TextIO, is_verbose: bool) -> None:
        self._screen = screen
        self._is_verbose = is_verbose

    def __call__(self, function: str, line: str) -> None:
        """Shows a line that a function logged, if it is worth it."""
        text = line if self._is_verbose else readable(function, line)
        if text.strip():
            print(text, file=self._screen, flush=True)


def readable(function: str, line: str) -> str:
    """A warning or an error as a line for people, with its traceback if it has one; '' for all that is routine."""
    try:
        record = json.loads(line)
        level = record.get("level", "INFO")
    except (ValueError, AttributeError):
        return line  # not from the logger: somebody's `print`
    if level in ("DEBUG", "INFO"):
        return ""
    metrics = {each["Name"] for made in record.get("_aws", {}).get("CloudWatchMetrics", []) for each in made["Metrics"]}
    hidden = _SHOWN_APART | _NOT_SHOWN | metrics
    fields = "".join(f" {name}={_value(value)}" for name, value in record.items() if name not in hidden)
    headline = f"{time.strftime('%H:%M:%S')} {level} {function}: {record.get('message', '')}{fields}"
    return printable(headline) + (f"\n{record['exception'].rstrip()}" if record.get("exception") else "")


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, ensure_ascii=False)


def printable(text: str) -> str:
    """Without what a terminal would obey or could not show."""
    return "".join(character if character.isprintable() else "?" for character in text)
