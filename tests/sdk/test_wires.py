"""Every library against a provider of every wire: the same answers, and the same tokens and cost as the provider said."""

import json

import pytest
from conftest import FAKE_SECRET, WIRES, eventually
from dialects import LIBRARIES, TOOL, Messages, Place
from openai import OpenAI

TEXT = "token " * 8
# What the mock says it used, and what a million of each costs.
READ, WRITTEN = 10, 8
PRICE = (3, 15)
COST = READ * PRICE[0] + WRITTEN * PRICE[1]

# Where a request of each wire says what shape the answer shall have.
SHAPE = {
    "anthropic": "output_config",
    "openai-chat": "response_format",
    "openai-responses": "text",
    "gemini": "generationConfig",
}
# The format of each wire, as callers speak it too: the bytes are relayed then, and not translated.
SAME = {
    ("anthropic-messages", "anthropic"),
    ("openai-chat", "openai-chat"),
    ("openai-responses", "openai-responses"),
    ("gemini", "gemini"),
}


@pytest.fixture(scope="session", params=LIBRARIES, ids=lambda library: library.name)
def library(request, gateway):
    return request.param(gateway)


@pytest.fixture(scope="session", params=WIRES)
def wire(request):
    return request.param


def assert_charged(record, wire, read=READ, written=WRITTEN):
    """The record has what the provider said, and what that costs."""
    assert (record["status"], record["provider"]) == ("completed", f"on-{wire}")
    assert (record["input_tokens"], record["output_tokens"]) == (read, written)
    assert record["cost_microdollars"] == read * PRICE[0] + written * PRICE[1]


def assert_estimated(record, wire, error):
    """The record of an answer that did not come to its end: charged for what came, and nothing twice."""
    assert (record["status"], record["provider"].endswith(f"-{wire}")) == ("failed", True)
    assert error in record["error_message"]
    read, written = record["input_tokens"], record["output_tokens"]
    assert read > 0 and written > 0
    assert record["cost_microdollars"] == read * PRICE[0] + written * PRICE[1]
    if wire == "anthropic":
        assert read == READ, "the provider said so at the beginning"


def test_whole_and_streamed_answers_are_the_same_and_are_counted(library, wire, gateway, mock, prompt):
    model = f"on-{wire}"
    for answer in (library.whole(model, prompt), library.streamed(model, prompt)):
        assert (answer.text, answer.read, answer.written) == (TEXT, READ, WRITTEN)
        record = gateway.record(answer.request_id)
        assert record["dialect"] == library.name
        assert_charged(record, wire)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_tool_is_called_and_its_result_goes_back(library, wire, gateway, mock, prompt, streamed):
    mock.behave(tool_calls=[{"name": TOOL, "input": {"city": "Kraków"}}], tool_calls_once=True)
    call = library.call(f"on-{wire}", prompt, streamed)
    assert (call.name, call.arguments) == (TOOL, {"city": "Kraków"})
    answer = call.go_on("rain ☔")
    assert answer.text == TEXT
    asked, told = (json.dumps(request["body"], ensure_ascii=False) for request in mock.requests())
    assert "The weather in a city." in asked and "rain" not in asked
    assert "rain ☔" in told and "Krak" in told
    record = gateway.record(call.request_id)
    assert [used["name"] for used in record["tool_calls"]] == [TOOL]
    assert_charged(record, wire)
    assert_charged(gateway.record(answer.request_id), wire)


def test_an_answer_of_a_given_shape(library, wire, gateway, mock, prompt):
    mock.behave(text='{"city": "Oslo"}')
    place, request_id = library.structured(f"on-{wire}", prompt)
    assert place == Place(city="Oslo")
    [request] = mock.requests()
    assert '"city"' in json.dumps(request["body"][SHAPE[wire]]), request["body"]
    assert_charged(gateway.record(request_id), wire)


def test_who_goes_away_pays_for_what_came(library, wire, gateway, mock, prompt):
    mock.behave(chunks=2000, chunk_delay_ms=5)
    with library.begun(f"on-{wire}", prompt) as (request_id, texts):
        assert next(iter(texts))
    record = gateway.record(request_id)
    assert_estimated(record, wire, "client_disconnected")
    assert record["output_tokens"] < 2000
    eventually(mock.is_idle, "the provider is still answering")


@pytest.mark.parametrize(
    ("model", "fault", "words"),
    [
        ("on", {"kind": "close_mid_stream", "after_chunks": 2}, "broke"),
        ("impatient", {"kind": "hang_mid_stream", "after_chunks": 2}, "silent"),
    ],
    ids=["cut", "stalled"],
)
def test_an_answer_that_breaks_off_is_an_error_and_no_end(library, wire, gateway, mock, prompt, model, fault, words):
    mock.behave(fault=fault)
    said = []
    with library.begun(f"{model}-{wire}", prompt) as (request_id, texts):
        with pytest.raises(library.error) as caught:
            said.extend(texts)
    assert "".join(said) == "token " * 2, "what came before is not lost"
    assert words in str(caught.value), "a person can tell what happened"
    assert_estimated(gateway.record(request_id), wire, words)


def test_what_is_no_json_is_no_answer(library, wire, gateway, mock, prompt):
    mock.fail("garbage_chunk", after_chunks=2)
    said = []
    if (library.name, wire) in SAME:
        # The bytes are the provider's, and what to make of them is the library's business.
        try:
            with library.begun(f"on-{wire}", prompt) as (request_id, texts):
                said.extend(texts)
        except ValueError:
            pass
        assert "".join(said).startswith("token token ")
        record = gateway.record(request_id)
        assert record["answer_partial"] or record["status"] == "failed"
        return
    with library.begun(f"on-{wire}", prompt) as (request_id, texts):
        with pytest.raises(library.error) as caught:
            said.extend(texts)
    assert "".join(said) == "token " * 2
    assert "not JSON" in str(caught.value)
    assert_estimated(gateway.record(request_id), wire, "not JSON")


def test_a_provider_that_asks_to_wait(library, wire, gateway, mock, prompt):
    mock.fail("status", times=1, status=429, retry_after="0")
    answer = library.whole(f"retried-{wire}", prompt)
    assert answer.text == TEXT
    record = gateway.record(answer.request_id)
    assert (record["input_tokens"], record["output_tokens"], record["cost_microdollars"]) == (READ, WRITTEN, COST)
    assert len(mock.requests()) == 2

    mock.fail("status", status=429, retry_after="7")
    for ask in (library.whole, library.streamed):
        with pytest.raises(library.error) as caught:
            ask(f"on-{wire}", prompt)
        refused = library.refused(caught.value)
        assert (refused.status, refused.retry_after) == (429, "7")
        assert "mock: rate limited" in refused.message
        record = gateway.record(refused.request_id)
        assert (record["status"], record["http_status"], record["cost_microdollars"]) == ("failed", 429, 0)


def test_a_caller_does_not_wait_for_the_head(wire, gateway, mock, prompt):
    mock.fail("hang_before_headers")
    # Nothing else of the provider ever comes.
    with Messages(gateway).begun(f"patient-{wire}", prompt) as (request_id, _):
        assert request_id
    record = gateway.record(request_id)
    assert (record["status"], record["error_message"]) == ("failed", "client_disconnected")


def test_an_answer_that_begins_late(library, wire, gateway, mock, prompt):
    mock.behave(first_byte_delay_ms=250)
    answer = library.streamed(f"patient-{wire}", prompt)
    assert (answer.text, answer.read, answer.written) == (TEXT, READ, WRITTEN)
    record = gateway.record(answer.request_id)
    assert (record["input_tokens"], record["output_tokens"], record["cost_microdollars"]) == (READ, WRITTEN, COST)
    assert library.whole(f"patient-{wire}", prompt).text == TEXT


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_refusal_is_one_a_person_understands(library, gateway, mock, prompt, streamed):
    ask = library.streamed if streamed else library.whole
    with pytest.raises(library.error) as caught:
        ask("on-anthropic", f"{prompt} {FAKE_SECRET}")
    refused = library.refused(caught.value)
    assert refused.status == 451
    assert "secret" in refused.message and FAKE_SECRET not in refused.message
    assert gateway.record(refused.request_id)["status"] == "rejected"
    with pytest.raises(library.error) as caught:
        ask("nobody-has-this", prompt)
    refused = library.refused(caught.value)
    assert refused.status == 404
    assert "nobody-has-this" in refused.message and "/v1/models" in refused.message
    assert not mock.requests()


def test_tokens_are_counted_beforehand(wire, gateway, mock, prompt):
    for library in LIBRARIES:
        client = library(gateway).client
        if library is Messages:
            request = {"model": f"on-{wire}", "messages": [{"role": "user", "content": prompt}]}
            counted = client.messages.count_tokens(**request).input_tokens
        elif library.name == "gemini":
            counted = client.models.count_tokens(model=f"on-{wire}", contents=prompt).total_tokens
        else:
            continue
        assert 0 < counted < 200, library.name
        asked = [request["path"] for request in mock.requests() if "count" in request["path"]]
        # Where the provider does not count, the gateway does.
        assert len(asked) == (1 if wire in ("anthropic", "gemini") else 0), asked
        mock.reset()


@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses", "gemini"])
@pytest.mark.parametrize(("name", "packed"), [("openai-chat", False), ("openai-chat", True), ("gemini", False)])
def test_embeddings(name, packed, wire, gateway, mock, prompt):
    [library] = [library(gateway) for library in LIBRARIES if library.name == name]
    model, texts = "on-google" if wire == "gemini" else f"on-{wire}", [prompt, "and another one"]
    if name == "gemini":
        config = {"output_dimensionality": 3}
        vectors = [one.values for one in library.client.models.embed_content(model=model, contents=texts, config=config).embeddings]
    else:
        # Its numbers come packed unless it is told otherwise, and are not what its own types say.
        client = OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) if packed else library.client
        how = {} if packed else {"encoding_format": "float"}
        answer = client.embeddings.create(model=model, input=texts, dimensions=3, **how)
        vectors = [one.embedding for one in answer.data]
    assert vectors == [[0.25, -0.5, 1.0]] * 2
    [request] = mock.requests()
    if wire == "gemini":
        assert [one["content"]["parts"] for one in request["body"]["requests"]] == [[{"text": text}] for text in texts]
        assert {one["outputDimensionality"] for one in request["body"]["requests"]} == {3}
    else:
        assert (request["body"]["input"], request["body"]["dimensions"]) == (texts, 3)


@pytest.mark.parametrize("name", ["openai-chat", "gemini"])
def test_embeddings_of_a_provider_that_has_none(name, gateway, mock, prompt):
    [library] = [library(gateway) for library in LIBRARIES if library.name == name]
    with pytest.raises(library.error) as caught:
        if name == "gemini":
            library.client.models.embed_content(model="on-anthropic", contents=prompt)
        else:
            library.client.embeddings.create(model="on-anthropic", input=prompt)
    refused = library.refused(caught.value)
    assert refused.status == 400
    assert "choose another model" in refused.message
    assert not mock.requests()
