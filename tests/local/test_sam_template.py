"""The template as the local API reads it."""

from tests.service import ROOT, TEMPLATE


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
