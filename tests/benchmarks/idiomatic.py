"""The implementation to compare with: what the documentation of Powertools and boto3 leads to.

A resolver that validates, a table of `boto3.resource`, models, Logger, Metrics and Tracer; `total` and
`offset` by walking the index. Written for these benchmarks and nothing else; it responds as the product does.
"""

import os
from decimal import Decimal
from typing import Annotated, Any, Literal

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.dynamodb.conditions import Key
from pydantic import BaseModel, Field, model_serializer

tracer = Tracer(service="list_sessions")
logger = Logger(service="list_sessions", level="INFO")
metrics = Metrics(namespace="Sessions", service="list_sessions")
app = APIGatewayRestResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table(os.environ["SESSIONS_TABLE"])


class Capability(BaseModel):
    ref: str
    config: Any = None

    @model_serializer(mode="wrap")
    def present_only(self, handler: Any) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return fields if "config" in self.model_fields_set else {"ref": self.ref}


class Usage(BaseModel):
    input_tokens: Annotated[int, Field(ge=0)]
    output_tokens: Annotated[int, Field(ge=0)]
    cache_read_tokens: Annotated[int, Field(ge=0)] | None = None
    cache_creation_tokens: Annotated[int, Field(ge=0)] | None = None

    @model_serializer(mode="wrap")
    def present_only(self, handler: Any) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class Session(BaseModel):
    id: str
    organization_id: str
    agent_id: str
    status: Literal["started", "active", "idle"]
    created_at: str
    updated_at: str
    started_at: str | None = None
    finished_at: str | None = None
    title: str | None = None
    preview: str | None = None
    output_preview: str | None = None
    model_id: str | None = None
    tags: list[str] = []
    capabilities: list[Capability] = []
    usage: Usage | None = None


class Page(BaseModel):
    data: list[Session]
    total: int
    offset: int
    limit: int


@app.get("/v1/sessions")
@tracer.capture_method(capture_response=False)
def list_sessions(
    agent_id: Annotated[str | None, Query(pattern="^agent_[0-9a-f]{31,32}$")] = None,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page:
    organization_id = app.current_event.request_context.authorizer["organization_id"]
    if agent_id is None:
        index, condition = "by_organization", Key("organization_id").eq(organization_id)
    else:
        index, condition = "by_organization_agent", Key("organization_agent").eq(f"{organization_id}#{agent_id}")
    items = walk(IndexName=index, KeyConditionExpression=condition, ScanIndexForward=False)
    entries = [Session(**native(item)) for item in items[offset : offset + limit]]
    metrics.add_metric(name="Listed", unit=MetricUnit.Count, value=1)
    logger.info("listed", extra={"organization_id": organization_id, "offset": offset, "limit": limit})
    return Page(data=entries, total=len(items), offset=offset, limit=limit)


@tracer.capture_method(capture_response=False)
def walk(**query: Any) -> list[dict[str, Any]]:
    page = table.query(**query)
    items: list[dict[str, Any]] = page["Items"]
    while "LastEvaluatedKey" in page:
        page = table.query(**query, ExclusiveStartKey=page["LastEvaluatedKey"])
        items += page["Items"]
    return items


def native(value: Any) -> Any:
    """Numbers of boto3, which are Decimals, as JSON has them."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [native(inner) for inner in value]
    if isinstance(value, dict):
        return {name: native(inner) for name, inner in value.items()}
    return value


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return app.resolve(event, context)
