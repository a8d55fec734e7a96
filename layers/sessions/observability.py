"""Logger and Metrics of a function, from Powertools.

Each request or batch ends in one JSON line that carries its metrics in CloudWatch's embedded metric format. Lines hold
ids and numbers, never an API key and no content of a session.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.logging.logger import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from pydantic_core import to_json

from sessions.errors import ApiError, InternalError, InvalidParameter

if TYPE_CHECKING:
    from sessions.contract import PageRequest
    from sessions.paging.finder import Listing

Handler = Callable[[dict[str, Any], Any], Any]

_API_KEY: Final = re.compile(r"(evr_)[A-Za-z0-9_-]+")


def redact(line: str) -> str:
    """Return a line with every API key in it cut short: callers send keys in unexpected places."""
    return _API_KEY.sub(r"\1...", line)


class Observability:
    """Logger and Metrics of one function; metrics have the dimensions `service` and `stack`.

    Configured by POWERTOOLS_SERVICE_NAME, POWERTOOLS_METRICS_NAMESPACE, POWERTOOLS_LOG_LEVEL and STACK_NAME.
    """

    def __init__(self) -> None:
        """Read the environment.

        Raises:
            KeyError: POWERTOOLS_METRICS_NAMESPACE is not set.
        """
        self._logger = Logger(
            json_serializer=lambda record: redact(to_json(record, fallback=str).decode()),
            use_rfc3339=True,
            utc=True,
            serialize_stacktrace=False,
            location=None,  # it would always name this file
        )
        # At INFO, botocore logs the source of its credentials at every cold start.
        logging.getLogger("botocore").setLevel(logging.WARNING)
        self._metrics = EphemeralMetrics(namespace=os.environ["POWERTOOLS_METRICS_NAMESPACE"])
        self._metrics.set_default_dimensions(stack=os.environ.get("STACK_NAME") or "undefined")

    def instrument(self, handler: Handler) -> Handler:
        """Return a handler whose log lines carry the ids of its invocation, and which counts its cold start."""
        with_context = self._logger.inject_lambda_context(handler)
        is_cold = True

        @wraps(handler)
        def instrumented(event: dict[str, Any], context: Any) -> Any:
            nonlocal is_cold
            if is_cold:
                self._metrics.add_cold_start_metric(context)
                is_cold = False
            self._logger.set_correlation_id(event.get("requestContext", {}).get("requestId"))
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
        """Write one log line.

        Args:
            level: `info`, `warning` or `error`.
            message: what happened, in a few fixed words.
            fields: ids and numbers.
            metrics: values by name, which the line carries.
            error: an exception to log with its stack.
        """
        for name, value in metrics.items():
            self._metrics.add_metric(name, MetricUnit.Milliseconds if name == "Duration" else MetricUnit.Count, value)
        embedded: Mapping[str, Any] = {}
        if metrics and logging.getLevelNamesMapping()[level.upper()] >= self._logger.log_level:
            embedded = self._metrics.serialize_metric_set()
            self._metrics.clear_metrics()
        elif metrics:
            self._metrics.flush_metrics()  # alarms need the metrics of lines below the level in force
        getattr(self._logger, level)(message, extra={**fields, **embedded}, exc_info=error)

    def log_page(self, organization_id: str, request: PageRequest, listing: Listing, began: float) -> None:
        """Log a page that was returned, with a line for each item that was left out of it.

        Args:
            organization_id: the caller's.
            request: the parameters in force.
            listing: the page and its cost.
            began: when the request began, on the performance counter.
        """
        for item in listing.invalid:
            self.write("error", "invalid item left out", {"session_id": item.id, "reason": item.reason}, {})
        fields = {
            "code": "ok",
            "organization_id": organization_id,
            **request.model_dump(),
            "total": listing.page["total"],
            "entries": len(listing.page["data"]),
            "requests": listing.cost.requests,
            "negative_buckets": listing.negative_buckets,
        }
        metrics = {
            **_of_response("ok", began),
            "RoundTrips": listing.cost.round_trips,
            "ReadUnits": listing.cost.read_units,
            "ItemsRead": listing.cost.items_read,
            "InvalidItems": len(listing.invalid),
            "NegativeBins": len(listing.negative_buckets),
        }
        self.write("info", "listed", fields, metrics)

    def log_error(self, error: Exception, began: float) -> None:
        """Log an error response; a server fault with its stack, here and nowhere else."""
        code = error.code if isinstance(error, ApiError) else InternalError.code
        metrics = _of_response(code, began)
        if isinstance(error, ApiError) and not error.is_fault:
            reason = str(error) if isinstance(error, InvalidParameter) else code
            self.write("info", "refused", {"code": code, "reason": reason}, metrics)
        else:
            self.write("error", "failed", {"code": code}, metrics, error)


def _of_response(code: str, began: float) -> dict[str, float]:
    return {f"Responses.{code}": 1, "Duration": round((time.perf_counter() - began) * 1000, 1)}
