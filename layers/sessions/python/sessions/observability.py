"""What the functions write: one JSON line for each request or batch, which carries its metrics.

CloudWatch makes metrics of a line's numbers without a call ('CloudWatch embedded metric format specification').
Lines hold ids and numbers, never a key and nothing of a session's content.
"""

from __future__ import annotations

import json
import re
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sessions.errors import InvalidParameter, PageTooLarge, SessionsError, Unavailable

if TYPE_CHECKING:
    from sessions.contract import PageRequest
    from sessions.paging import Listed

NAMESPACE: Final = "Sessions"

UNITS: Final = {"Duration": "Milliseconds"}
"""Units of metrics that are not counts."""

_KEY: Final = re.compile(r"(evr_)[A-Za-z0-9_-]+")

OURS: Final = (PageTooLarge, Unavailable)
"""Exceptions of ours that are faults of the service; all others blame the caller."""


def write(service: str, level: str, message: str, fields: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """One line on standard output.

    Args:
        service: the function; the one dimension that metrics have.
        metrics: names and values; none are made without any.
    """
    line: dict[str, Any] = {"level": level, "message": message, "service": service, **fields}
    if metrics:
        named = [{"Name": name, "Unit": UNITS.get(name, "Count")} for name in metrics]
        directive = {"Namespace": NAMESPACE, "Dimensions": [["service"]], "Metrics": named}
        line |= metrics
        line["_aws"] = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    print(json.dumps(line, separators=(",", ":")))


def without_keys(text: str) -> str:
    """The text with every API key in it cut short: callers put them where they do not belong."""
    return _KEY.sub(r"\1...", text)


class RequestLog:
    """The log of `list_sessions`: a line for each request, and one for each broken entry on its page."""

    def __init__(self) -> None:
        self._is_cold = True
        self._request_id = ""
        self._started = 0.0

    def begin(self, request_id: str) -> None:
        """A request has arrived; a container serves one at a time."""
        self._request_id = request_id
        self._started = time.perf_counter()

    def listed(self, organization_id: str, request: PageRequest, listed: Listed) -> None:
        """It was answered with a page."""
        for broken in listed.broken:
            fields = {"session_id": broken.id, "reason": broken.reason, "request_id": self._request_id}
            write("list_sessions", "ERROR", "broken entry left out", fields, {})
        cost = listed.cost
        self._write(
            "INFO",
            "listed",
            "ok",
            {
                "organization_id": organization_id,
                "agent_id": request.agent_id,
                "offset": request.offset,
                "limit": request.limit,
                "total": listed.page.total,
                "entries": len(listed.page.data),
                "requests": cost.requests,
                "negative_buckets": listed.negative_buckets,
            },
            {
                "RoundTrips": cost.round_trips,
                "ReadUnits": cost.read_units,
                "EntriesRead": cost.entries,
                "BrokenEntries": len(listed.broken),
                "NegativeBuckets": len(listed.negative_buckets),
            },
        )

    def refused(self, error: Exception, code: str) -> None:
        """It was answered with an error; a fault of ours is logged with its stack, here and nowhere else."""
        if isinstance(error, SessionsError) and not isinstance(error, OURS):
            reason = without_keys(str(error)) if isinstance(error, InvalidParameter) else code
            self._write("INFO", "refused", code, {"reason": reason}, {})
        else:
            self._write("ERROR", "failed", code, {"exception": "".join(traceback.format_exception(error))}, {})

    def _write(
        self, level: str, message: str, code: str, fields: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> None:
        duration = round((time.perf_counter() - self._started) * 1000, 1)
        of_all = {f"Answers.{code}": 1, "ColdStarts": int(self._is_cold), "Duration": duration}
        ids = {"request_id": self._request_id, "code": code, "cold_start": self._is_cold}
        self._is_cold = False
        write("list_sessions", level, message, {**ids, **fields}, {**of_all, **metrics})
