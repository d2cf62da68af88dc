"""The vendors' libraries for TypeScript, on every wire a provider may speak. Those for Python are in tests/sdk."""

import json

import pytest
from conftest import NODE, ROOT, USED

TEXT = "token " * 8


def ask(user, gateway, task, model):
    key = {"ANTHROPIC_API_KEY": gateway.key, "OPENAI_API_KEY": gateway.key}
    address = {"ANTHROPIC_BASE_URL": gateway.url, "OPENAI_BASE_URL": f"{gateway.url}/v1"}
    script = str(ROOT / "tests/clients/libraries.mjs")
    return json.loads(user.run("node", script, task, model, CLIENTS_NODE=str(NODE), **key, **address))


@pytest.mark.parametrize("wire, model", [("anthropic", "claude-sonnet-5"), ("openai-chat", "gpt-test")])
@pytest.mark.parametrize("dialect", ["anthropic", "chat", "responses"])
def test_whole_and_streamed_answers_are_the_same_and_are_counted(user, gateway, mock, ledger, dialect, wire, model):
    session = ledger()
    answer = ask(user, gateway, dialect, model)
    assert (answer["plain"], answer["streamed"]) == (TEXT, TEXT)
    names = ("prompt_tokens", "completion_tokens") if dialect == "chat" else ("input_tokens", "output_tokens")
    assert tuple(answer["usage"][name] for name in names) == USED
    session.matches(mock, wire)


@pytest.mark.parametrize("wire, model", [("anthropic", "claude-sonnet-5"), ("openai-chat", "gpt-test")])
def test_a_tool_is_called_and_its_result_goes_back(user, gateway, mock, wire, model):
    mock.behave(tool_calls=[{"name": "weather", "input": {"city": "Oslo"}}])
    answer = ask(user, gateway, "tool", model)
    assert answer["called"]["name"] == "weather"
    assert json.loads(answer["called"]["arguments"]) == {"city": "Oslo"}
    assert answer["finish"] == "tool_calls"
    assert "rain" in json.dumps(mock.requests()[-1]["body"])


@pytest.mark.parametrize("wire, model", [("anthropic", "claude-sonnet-5"), ("openai-chat", "gpt-test")])
def test_an_answer_of_a_given_shape_is_asked_for(user, gateway, mock, wire, model):
    mock.behave(chunks=1, chunk_text='{"city": "Oslo"}')
    assert ask(user, gateway, "structured", model)["answer"] == {"city": "Oslo"}
    (request,) = mock.requests()
    shape = request["body"]["output_config" if wire == "anthropic" else "response_format"]
    assert '"required": ["city"]' in json.dumps(shape)


@pytest.mark.parametrize("wire, model", [("anthropic", "claude-sonnet-5"), ("openai-chat", "gpt-test")])
def test_who_goes_away_is_not_charged_for_what_never_came(user, gateway, mock, ledger, wire, model):
    mock.behave(chunks=200, chunk_delay_ms=50)
    session = ledger()
    assert ask(user, gateway, "cancelled", model)["cancelled"]
    (record,) = session.records()
    assert record[0] == "client_disconnected" and int(record[3]) < 200, record


def test_a_refusal_is_one_a_person_understands(user, gateway):
    error = ask(user, gateway, "refused", "")
    assert (error["kind"], error["status"]) == ("NotFoundError", 404)
    assert "nobody-has-this" in error["message"]
