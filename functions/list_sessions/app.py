"""`GET /v1/sessions`: an API Gateway event in, a page of sessions out."""

from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from sessions import dynamodb, http, settings
from sessions.contract import page_request
from sessions.errors import MethodNotAllowed, NotFound
from sessions.identity import organization_of
from sessions.observability import Observed
from sessions.paging import Pages

PATH = "/v1/sessions"

environment = settings.read(settings.ListSettings)
pages = Pages(dynamodb.client(), environment.sessions_table, environment.counts_table)
observed = Observed()
app = APIGatewayRestResolver(cors=http.cors_config(environment.cors_origins))


@app.get(PATH)
def list_sessions() -> Response[str]:
    organization_id = organization_of(app.current_event.raw_event)
    request = page_request(app.current_event.resolved_query_string_parameters)
    listed = pages.page(organization_id, request)
    response = http.page_response(listed.page, request)
    observed.listed(organization_id, request, listed)
    return response


@app.not_found
def not_found(_: Exception) -> Response[str]:
    if app.current_event.path == PATH:
        raise MethodNotAllowed(f"{PATH} answers to GET alone.")
    raise NotFound(f"There is nothing here; the list of sessions is at {PATH}.")


@app.exception_handler(Exception)  # type: ignore[untyped-decorator]
def failed(error: Exception) -> Response[str]:
    observed.refused(error, http.error_code(error))
    return http.error_response(error)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """The answer to a REST proxy event, whatever happens."""
    request_id = http.request_id(event)
    observed.begin(request_id)
    answer = app.resolve(http.routed(event), context)
    observed.end()
    return http.finished(answer, request_id)
