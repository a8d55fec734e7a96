"""A shorter cold start: a handler's module imports this first, and calls `finish` last.

Libraries import modules that this service never uses; an empty module takes the place of each that `UNUSED` lists. And
the garbage collector is off meanwhile, since imports leave nothing to collect. What they made stays for good: `finish`
exempts it from all later collections (`gc.freeze`). Both in Lambda alone; elsewhere everything is imported.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Final

IS_LAMBDA: Final = "LAMBDA_TASK_ROOT" in os.environ
"""'Defined runtime environment variables' in Lambda's developer guide."""

_POWERTOOLS: Final = "aws_lambda_powertools"

UNUSED: Final = (
    # boto3 and botocore: transfers to S3 with their processes, resources, and docstrings of the client's methods.
    "s3transfer.manager",
    "boto3.resources.factory",
    "botocore.docs.docstring",
    "botocore.docs.utils",
    # Each of the first two imports `importlib.metadata`: for the version of HTTP/2, and for plugins of pydantic. The
    # third writes JSON schemas.
    "urllib3.http2",
    "pydantic.plugin._loader",
    "pydantic.json_schema",
    # Powertools: the tracer, and resolvers of other services, one of which imports asyncio.
    f"{_POWERTOOLS}.tracing",
    f"{_POWERTOOLS}.event_handler.appsync",
    f"{_POWERTOOLS}.event_handler.bedrock_agent",
    f"{_POWERTOOLS}.event_handler.bedrock_agent_function",
    f"{_POWERTOOLS}.event_handler.events_appsync.appsync_events",
    f"{_POWERTOOLS}.event_handler.http_resolver",
    f"{_POWERTOOLS}.event_handler.lambda_function_url",
    f"{_POWERTOOLS}.event_handler.vpc_lattice",
    # Powertools: events of other services.
    *(
        f"{_POWERTOOLS}.utilities.data_classes.{name}"
        for name in (
            "alb_event",
            "api_gateway_websocket_event",
            "appsync_resolver_event",
            "appsync_resolver_events_event",
            "aws_config_rule_event",
            "bedrock_agent_event",
            "bedrock_agent_function_event",
            "cloud_watch_alarm_event",
            "cloud_watch_custom_widget_event",
            "cloud_watch_logs_event",
            "cloudformation_custom_resource_event",
            "code_deploy_lifecycle_hook_event",
            "code_pipeline_job_event",
            "connect_contact_flow_event",
            "event_bridge_event",
            "event_source",
            "kafka_event",
            "kinesis_firehose_event",
            "kinesis_stream_event",
            "lambda_function_url_event",
            "s3_batch_operation_event",
            "s3_event",
            "secrets_manager_event",
            "ses_event",
            "sns_event",
            "sqs_event",
            "transfer_family_event",
            "vpc_lattice",
        )
    ),
)
"""Modules that are imported by libraries and used by none of the functions."""


class _Placeholder:
    """Stands for any class or function of an unused module: it can be called, and gives nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __getattr__(self, name: str) -> type[_Placeholder]:
        return _Placeholder

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _UnusedModule(ModuleType):
    """A module of placeholders."""

    def __getattr__(self, name: str) -> type[_Placeholder]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Placeholder


def finish() -> None:
    """Everything is imported."""
    if IS_LAMBDA:
        gc.freeze()
        gc.enable()


if IS_LAMBDA:
    gc.disable()
    for _name in UNUSED:
        sys.modules.setdefault(_name, _UnusedModule(_name))
    # Python keeps its frames in pieces of 16 kB, and a loop that crosses the end of a piece allocates and frees the
    # next one every time. Where boto3 imports urllib3, which compiles long regular expressions, the stack is that deep;
    # here it fits into the first piece.
    import_module("urllib3")
