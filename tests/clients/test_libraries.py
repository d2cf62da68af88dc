"""The vendors' libraries for TypeScript, on every wire a provider may speak. Those for Python are in tests/sdk."""

import json

import pytest
from conftest import NODE, ROOT, USED, WIRES

TEXT = "token " * 8
DIALECTS = ["anthropic", "chat", "responses"]


def ask(user, gateway, dialect, task, model):
    key = {"ANTHROPIC_API_KEY": gateway.key, "OPENAI_API_KEY": gateway.key}
    address = {"ANTHROPIC_BASE_URL": gateway.url, "OPENAI_BASE_URL": f"{gateway.url}/v1"}
    script = str(ROOT / "tests/clients/libraries.mjs")
    return json.loads(user.run("node", script, dialect, task, model, CLIENTS_NODE=str(NODE), **key, **address))


@pytest.fixture(params=DIALECTS)
def dialect(request):
    return request.param


@pytest.fixture(params=WIRES)
def wire(request):
    return request.param


def model_on(wire):
    return f"gpt-on-{wire}"


def test_whole_and_streamed_answers_are_the_same_and_are_counted(user, gateway, mock, ledger, dialect, wire):
    session = ledger()
    answer = ask(user, gateway, dialect, "answers", model_on(wire))
    assert (answer["plain"], answer["streamed"]) == (TEXT, TEXT)
    names = ("prompt_tokens", "completion_tokens") if dialect == "chat" else ("input_tokens", "output_tokens")
    assert tuple(answer["usage"][name] for name in names) == USED
    session.matches(mock, wire)


def test_a_tool_is_called_and_its_result_goes_back(user, gateway, mock, ledger, dialect, wire):
    mock.behave(tool_calls=[{"name": "weather", "input": {"city": "Oslo"}}], tool_calls_once=True)
    session = ledger()
    answer = ask(user, gateway, dialect, "tool", model_on(wire))
    assert answer == {"name": "weather", "input": {"city": "Oslo"}, "text": TEXT}
    assert "rain" in json.dumps(mock.requests()[-1]["body"])
    assert session.matches(mock, wire) == 2


def test_an_answer_that_breaks_off_is_an_error_and_no_end(user, gateway, mock, ledger, dialect, wire):
    mock.fail("close_mid_stream", after_chunks=2)
    session = ledger()
    answer = ask(user, gateway, dialect, "cut", model_on(wire))
    assert answer["said"] == "token " * 2
    assert "broke" in answer["error"], answer
    [record] = session.records()
    assert "broke" in record[0] and int(record[2]) > 0 and int(record[3]) > 0, record


def test_an_answer_of_a_given_shape_is_asked_for(user, gateway, mock, wire):
    mock.behave(text='{"city": "Oslo"}')
    assert ask(user, gateway, "chat", "structured", model_on(wire))["answer"] == {"city": "Oslo"}
    [request] = mock.requests()
    # Where a provider has no field for it, it stands in a text.
    assert '"required":["city"]' in json.dumps(request["body"]).replace("\\", "").replace(" ", "")


def test_who_goes_away_is_not_charged_for_what_never_came(user, gateway, mock, ledger, wire):
    mock.behave(chunks=200, chunk_delay_ms=50)
    session = ledger()
    assert ask(user, gateway, "anthropic", "cancelled", model_on(wire))["cancelled"]
    [record] = session.records()
    assert record[0] == "client_disconnected" and 0 < int(record[3]) < 200, record


def test_a_refusal_is_one_a_person_understands(user, gateway, dialect):
    error = ask(user, gateway, dialect, "refused", "nobody-has-this")
    assert (error["kind"], error["status"]) == ("NotFoundError", 404)
    assert "nobody-has-this" in error["message"]
