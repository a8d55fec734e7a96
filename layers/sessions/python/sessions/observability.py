"""The log and the metrics of `list_sessions`: one line each per request, with ids and numbers only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from sessions.errors import InvalidParameter, PageTooLarge, SessionsError, Unavailable

if TYPE_CHECKING:
    from sessions.contract import PageRequest
    from sessions.paging import Listed

NAMESPACE: Final = "Sessions"
SERVICE: Final = "list_sessions"
OURS: Final = (PageTooLarge, Unavailable)
"""Exceptions of ours that are faults of the service; all others blame the caller."""

logger = Logger(service=SERVICE, level="INFO", serialize_stacktrace=False)


class Observed:
    """One request at a time, as a Lambda container serves them."""

    def __init__(self) -> None:
        self._metrics = Metrics(namespace=NAMESPACE, service=SERVICE)
        self._is_cold = True
        self._request_id = ""
        self._started = 0.0

    def begin(self, request_id: str) -> None:
        """A request has arrived."""
        self._request_id = request_id
        self._started = time.perf_counter()

    def listed(self, organization_id: str, request: PageRequest, listed: Listed) -> None:
        """It was answered with a page."""
        cost, page = listed.cost, listed.page
        for broken in listed.broken:
            logger.error(
                "broken entry left out", extra={"session_id": broken.id, "reason": broken.reason} | self._ids()
            )
        fields = {
            "organization_id": organization_id,
            "agent_id": request.agent_id,
            "offset": request.offset,
            "limit": request.limit,
            "total": page.total,
            "entries": len(page.data),
            "broken_entries": len(listed.broken),
            "negative_buckets": listed.negative_buckets,
            "requests": cost.requests,
            "round_trips": cost.round_trips,
            "read_units": cost.read_units,
            "entries_read": cost.entries,
        }
        logger.info("listed", extra=fields | self._ids() | self._times())
        self._count("ok")
        self._metrics.add_metric("RoundTrips", MetricUnit.Count, cost.round_trips)
        self._metrics.add_metric("ReadUnits", MetricUnit.Count, cost.read_units)
        self._metrics.add_metric("EntriesRead", MetricUnit.Count, cost.entries)
        self._metrics.add_metric("BrokenEntries", MetricUnit.Count, len(listed.broken))
        self._metrics.add_metric("NegativeBuckets", MetricUnit.Count, len(listed.negative_buckets))

    def refused(self, error: Exception, code: str) -> None:
        """It was answered with an error; a fault of ours is logged with its stack, here and nowhere else."""
        blames_caller = isinstance(error, SessionsError) and not isinstance(error, OURS)
        if blames_caller:
            reason = str(error) if isinstance(error, InvalidParameter) else code
            logger.info("refused", extra={"code": code, "reason": reason} | self._ids() | self._times())
        else:
            logger.error("failed", exc_info=error, extra={"code": code} | self._ids() | self._times())
        self._count(code)

    def end(self) -> None:
        """The answer is complete."""
        self._metrics.add_metric("Duration", MetricUnit.Milliseconds, self._duration_ms())
        self._metrics.add_metadata("request_id", self._request_id)
        self._metrics.flush_metrics()
        self._is_cold = False

    def _count(self, code: str) -> None:
        self._metrics.add_metric(f"Answers.{code}", MetricUnit.Count, 1)
        self._metrics.add_metric("ColdStarts", MetricUnit.Count, int(self._is_cold))

    def _ids(self) -> dict[str, object]:
        return {"request_id": self._request_id}

    def _times(self) -> dict[str, object]:
        return {"cold_start": self._is_cold, "duration_ms": self._duration_ms()}

    def _duration_ms(self) -> float:
        return round((time.perf_counter() - self._started) * 1000, 1)
