"""The template as the local API reads it."""

from pathlib import Path

from sessions_local.sam_template import Template
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
          WHERE: !Sub "${AWS::Region}/${NotesTable}"
          ORIGINS: !If [HasOrigins, !Join ["|", [!Ref Origins, end]], !Ref AWS::NoValue]
      Events:
        Stream:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt NotesTable.StreamArn
            StartingPosition: LATEST
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
        DEFAULT_4XX: {ResponseTemplates: {application/json: nope}}
"""


def small(tmp_path: Path, **parameters: str) -> Template:
    path = tmp_path / "template.yaml"
    path.write_text(SMALL)
    return Template.read(path, parameters)


def test_the_functions_have_names_of_this_machine() -> None:
    assert {function.name: function.folder for function in TEMPLATE.called_functions} == {
        name: ROOT / "functions" / name for name in ("list_sessions", "authorize", "count_sessions")
    }
    variables = {name: value for each in TEMPLATE.called_functions for name, value in each.environment.items()}
    assert {name: variables[name] for name in ("SESSIONS_TABLE", "COUNTS_TABLE", "API_KEYS_TABLE", "STACK_NAME")} == {
        "SESSIONS_TABLE": "sessions",
        "COUNTS_TABLE": "counts",
        "API_KEYS_TABLE": "api_keys",
        "STACK_NAME": "local",
    }


def test_a_template_is_read_as_cloudformation_would(tmp_path: Path) -> None:
    template = small(tmp_path)
    (function,) = template.functions
    assert function.environment == {"TABLE": "notes", "WHERE": "eu-west-1/notes"}
    assert (function.handler, function.timeout, function.memory) == ("app.handler", 9.0, 256)
    (table,) = template.tables
    assert table.arguments == {
        "TableName": "notes",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    }
    assert template.routes == [("/notes/{id}", "ANY", "count_notes", None)]
    assert template.event_source == ("notes", "count_notes", "LATEST", 100, -1)
    assert small(tmp_path, Origins="here").functions[0].environment["ORIGINS"] == "here|end"
