"""What the functions write: Powertools' Logger and Metrics, made once for each function.

A request or batch ends in one JSON line that carries its metrics, from which CloudWatch makes them without a call
('CloudWatch embedded metric format specification'). Lines hold ids and numbers, never an API key and nothing of a
session's content.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TextIO

from aws_lambda_powertools.logging.logger import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from pydantic_core import to_json

from sessions.errors import ApiError, InternalError, InvalidParameter
from sessions.events import gateway_request_id
from sessions.settings import stack_name

if TYPE_CHECKING:
    from sessions.contract import PageRequest
    from sessions.paging.finder import PageResult

Handler = Callable[[dict[str, Any], Any], Any]

UNITS: Final = {"Duration": MetricUnit.Milliseconds}
"""Units of metrics that are not counts."""

_API_KEY: Final = re.compile(r"(evr_)[A-Za-z0-9_-]+")


def _to_line(record: Mapping[str, Any]) -> str:
    """A log record as JSON, with every API key in it cut short: callers put them where they do not belong."""
    return _API_KEY.sub(r"\1...", to_json(record, fallback=str).decode())


class StandardOutput(logging.StreamHandler[Any]):
    """Writes to what standard output is at the time, and not to what it was when the logger was made: a process that
    hosts the functions may redirect it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stdout


class Observability:
    """Logger and Metrics of one function.

    Service, namespace and level are Powertools' own: POWERTOOLS_SERVICE_NAME, POWERTOOLS_METRICS_NAMESPACE,
    POWERTOOLS_LOG_LEVEL. Metrics have the dimensions `service` and `stack`, so that two stacks do not add up. They are
    ephemeral, as Powertools calls those that share nothing with other instances: several functions may live in one
    process when they run locally.
    """

    def __init__(self) -> None:
        # Without `location`, which would always name this file: messages are unique, and a fault has its stack.
        self._logger = Logger(
            logger_handler=StandardOutput(),
            json_serializer=_to_line,
            use_rfc3339=True,
            utc=True,
            serialize_stacktrace=False,
            location=None,
        )
        # Lambda's own handler would write where botocore found credentials and endpoint, at every cold start.
        logging.getLogger("botocore").setLevel(logging.WARNING)
        self._metrics = EphemeralMetrics()
        self._metrics.set_default_dimensions(stack=stack_name())
        self._is_cold = True

    def instrument(self, handler: Handler) -> Handler:
        """A handler whose log lines carry the ids of its invocation; its first one is counted as a cold start."""
        with_context = self._logger.inject_lambda_context(handler)

        @wraps(handler)
        def instrumented(event: dict[str, Any], context: Any) -> Any:
            self._logger.set_correlation_id(gateway_request_id(event) or None)
            if not hasattr(context, "function_name"):  # called by hand, outside of Lambda
                return handler(event, context)
            if self._is_cold:
                self._metrics.add_cold_start_metric(context)
                self._is_cold = False
            return with_context(event, context)

        return instrumented

    def write(
        self,
        level: str,
        message: str,
        fields: Mapping[str, Any],
        metrics: Mapping[str, float],
        error: Exception | None = None,
    ) -> None:
        """One log line.

        Args:
            level: `info`, `warning` or `error`.
            metrics: names and values, which the line carries; none are made without any.
            error: what is logged with its stack.
        """
        for name, value in metrics.items():
            self._metrics.add_metric(name, UNITS.get(name, MetricUnit.Count), value)
        embedded: Mapping[str, Any] = {}
        if metrics and logging.getLevelNamesMapping()[level.upper()] >= self._logger.log_level:
            embedded = self._metrics.serialize_metric_set()
            self._metrics.clear_metrics()
        elif metrics:  # the line is below the level in force; alarms still need its metrics
            self._metrics.flush_metrics()
        getattr(self._logger, level)(message, extra={**fields, **embedded}, exc_info=error)


class RequestLog:
    """The log of one request to `list_sessions`: a line for it, and one for each invalid item of its page."""

    def __init__(self, observability: Observability) -> None:
        self._observability = observability
        self._began = time.perf_counter()

    def listed(self, organization_id: str, request: PageRequest, result: PageResult) -> None:
        """Logs a page that was returned."""
        for invalid in result.invalid:
            fields = {"session_id": invalid.id, "reason": invalid.reason}
            self._observability.write("error", "invalid item left out", fields, {})
        cost = result.cost
        page_fields: dict[str, Any] = {
            "organization_id": organization_id,
            **request.model_dump(),
            "total": result.page["total"],
            "entries": len(result.page["data"]),
            "requests": cost.requests,
            "negative_buckets": result.negative_buckets,
        }
        metrics = {
            "RoundTrips": cost.round_trips,
            "ReadUnits": cost.read_units,
            "ItemsRead": cost.items_read,
            "InvalidItems": len(result.invalid),
            "NegativeBins": len(result.negative_buckets),
        }
        self._write("info", "listed", "ok", page_fields, metrics)

    def refused(self, error: Exception) -> None:
        """Logs an error response; a fault of ours with its stack, here and nowhere else."""
        code = error.code if isinstance(error, ApiError) else InternalError.code
        if isinstance(error, ApiError) and not error.is_fault:
            reason = str(error) if isinstance(error, InvalidParameter) else code
            self._write("info", "refused", code, {"reason": reason}, {})
        else:
            self._write("error", "failed", code, {}, {}, error)

    def _write(
        self,
        level: str,
        message: str,
        code: str,
        fields: Mapping[str, Any],
        metrics: Mapping[str, float],
        error: Exception | None = None,
    ) -> None:
        duration = round((time.perf_counter() - self._began) * 1000, 1)
        of_all = {f"Responses.{code}": 1, "Duration": duration}
        self._observability.write(level, message, {"code": code, **fields}, {**of_all, **metrics}, error)
