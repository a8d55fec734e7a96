"""What the local API reads from the template."""

from pathlib import Path

import pytest

from sessions_local.sam_template import Template, local_name
from tests.service import ROOT, TEMPLATE

SMALL = """
Parameters:
  Origins: {Type: String, Default: ""}
Conditions:
  HasOrigins: !Not [!Equals [!Ref Origins, ""]]
Globals:
  Function: {Handler: app.handler, MemorySize: 256, Timeout: 7}
Resources:
  NotesTable:
    Type: AWS::DynamoDB::Table
    Properties:
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      SSESpecification: {SSEEnabled: true}
      StreamSpecification: {StreamViewType: KEYS_ONLY}
  Queue: {Type: AWS::SQS::Queue}
  CountNotesFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/count
      Timeout: 9
      Environment:
        Variables:
          TABLE: !Ref NotesTable
          WHERE: !Sub "${AWS::Region}/${NotesTable}/${!kept}"
          ORIGINS: !If [HasOrigins, !Join ["|", [!Ref Origins, end]], !Ref AWS::NoValue]
      Events:
        Stream:
          Type: DynamoDB
          Properties: {Stream: !GetAtt NotesTable.StreamArn, StartingPosition: LATEST}
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: live
      DefinitionBody:
        paths:
          /notes/{id}:
            x-amazon-apigateway-any-method:
              x-amazon-apigateway-integration: {uri: !Sub "x/${CountNotesFunction.Arn}:live/y"}
      Auth: {Authorizers: {}}
      GatewayResponses:
        DEFAULT_4XX: {ResponseTemplates: {text/plain: nope}}
"""


def small(tmp_path: Path, text: str = SMALL, **parameters: str) -> Template:
    path = tmp_path / "template.yaml"
    path.write_text(text)
    return Template.read(path, parameters)


def test_the_functions_are_those_in_their_folders() -> None:
    assert {function.name: function.folder for function in TEMPLATE.functions} == {
        name: ROOT / "functions" / name for name in ("list_sessions", "authorize", "count_sessions")
    }


def test_the_environment_names_the_tables_of_this_machine() -> None:
    common = {"POWERTOOLS_LOG_LEVEL": "INFO", "POWERTOOLS_METRICS_NAMESPACE": "Sessions", "STACK_NAME": "local"}
    assert TEMPLATE.function("list_sessions").environment == common | {
        "POWERTOOLS_SERVICE_NAME": "list_sessions",
        "SESSIONS_TABLE": "sessions",
        "COUNTS_TABLE": "counts",
        "CORS_ORIGINS": "",
    }
    assert TEMPLATE.function("authorize").environment == common | {
        "POWERTOOLS_SERVICE_NAME": "authorize",
        "API_KEYS_TABLE": "api_keys",
    }
    assert TEMPLATE.function("count_sessions").environment["COUNTS_TABLE"] == "counts"


def test_a_parameter_can_take_the_place_of_its_default() -> None:
    template = Template.read(parameters={"CorsOrigins": "https://console.example"})
    assert template.function("list_sessions").environment["CORS_ORIGINS"] == "https://console.example"


def test_get_on_the_list_asks_for_a_key_and_nothing_else_does() -> None:
    routes = {(route.resource, route.method): (route.function, route.authorizer) for route in TEMPLATE.routes}
    assert routes.pop(("/v1/sessions", "GET")) == ("list_sessions", "ApiKey")
    assert set(routes.values()) == {("list_sessions", None)}
    assert {("/", "ANY"), ("/{proxy+}", "ANY")} <= routes.keys()
    assert TEMPLATE.authorizers["ApiKey"] == ("authorize", ["Authorization"])


def test_every_refusal_that_the_gateway_can_need_has_a_body() -> None:
    responses = TEMPLATE.gateway_responses
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "UNAUTHORIZED", "ACCESS_DENIED"} <= responses.keys()
    assert all(list(response.templates) == ["application/json"] for response in responses.values())


def test_the_stream_of_the_sessions_table_leads_to_count_sessions() -> None:
    stream = TEMPLATE.stream
    assert (stream.table, stream.function, stream.starting_position) == ("sessions", "count_sessions", "TRIM_HORIZON")
    assert stream.batch_size == 100
    assert stream.patterns == [{"eventName": ["INSERT", "REMOVE"]}]


def test_a_template_is_read_as_cloudformation_would(tmp_path: Path) -> None:
    template = small(tmp_path)
    (function,) = template.functions
    assert function.environment == {"TABLE": "notes", "WHERE": "eu-west-1/notes/${kept}"}
    assert (function.handler, function.timeout, function.memory) == ("app.handler", 9.0, 256)
    (table,) = template.tables
    assert table.arguments == {
        "TableName": "notes",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    }
    assert template.routes == [("/notes/{id}", "ANY", "count_notes", None)]
    assert template.stream == ("notes", "count_notes", "LATEST", 100, [])
    assert template.gateway_responses["DEFAULT_4XX"] == (None, {}, {"text/plain": "nope"})


def test_conditions_follow_the_parameters(tmp_path: Path) -> None:
    (function,) = small(tmp_path, Origins="here").functions
    assert function.environment["ORIGINS"] == "here|end"


def test_what_is_not_known_of_cloudformation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Fn::Base64 is not supported"):
        small(tmp_path, SMALL.replace("!Ref NotesTable", "!Base64 x"))


@pytest.mark.parametrize(
    ("logical_id", "name"),
    [("SessionsTable", "sessions"), ("ApiKeysTable", "api_keys"), ("AuthorizeFunction", "authorize")],
)
def test_local_names_leave_out_the_kind(logical_id: str, name: str) -> None:
    assert local_name(logical_id) == name
