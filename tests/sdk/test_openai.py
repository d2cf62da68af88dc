"""The official OpenAI SDK against the gateway: the mock provider behind it, or the demo provider inside it."""

import asyncio
import json

import openai
import pytest
from conftest import CONVERSATION, FAKE_SECRET, PIXEL, RATE_LIMIT, cancel, eventually
from openai import AsyncOpenAI, OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from pydantic import BaseModel

MODELS = ["gpt-test", "demo-1"]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def client(gateway, mock):
    """A client that does not retry, and for which an answer that is not quite as documented is an error."""
    with OpenAI(
        base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
async def async_client(gateway, mock):
    async with AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def user(content):
    return [{"role": "user", "content": content}]


def text_of(completion):
    return completion.choices[0].message.content


def request_id_of(stream):
    return stream.response.headers["x-request-id"]


def assert_recorded(record, completion):
    """The ledger has the usage the caller was told."""
    assert record["status"] == "completed"
    assert record["dialect"] == "openai-chat"
    assert record["input_tokens"] == completion.usage.prompt_tokens > 0
    assert record["output_tokens"] == completion.usage.completion_tokens > 0
    assert record["cost_microdollars"] > 0


# Answers


@pytest.mark.parametrize("model", MODELS)
def test_a_buffered_completion(client, gateway, prompt, model):
    completion = client.chat.completions.create(model=model, messages=user(prompt))
    assert completion.object == "chat.completion"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert text_of(completion)
    record = gateway.record(completion._request_id)
    assert_recorded(record, completion)
    assert (record["requested_model"], record["is_streaming"]) == (model, False)
    assert record["client"].startswith("OpenAI/Python ")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}])
def test_a_stream_without_usage_has_a_choice_in_every_chunk(client, gateway, prompt, model, options):
    with client.chat.completions.create(model=model, messages=user(prompt), stream=True, **options) as stream:
        chunks = list(stream)
        record = gateway.record(request_id_of(stream))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert record["is_streaming"] and record["output_tokens"] > 0, "the ledger knows it all the same"


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_with_usage_ends_with_it(client, gateway, prompt, model):
    request = {"model": model, "messages": user(prompt), "stream_options": {"include_usage": True}}
    with client.chat.completions.create(**request, stream=True) as stream:
        *chunks, last = stream
        record = gateway.record(request_id_of(stream))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert not last.choices
    assert_recorded(record, last)


@pytest.mark.parametrize("model", MODELS)
def test_the_stream_helper_accumulates_the_buffered_completion(client, prompt, model):
    request = {"model": model, "messages": user(prompt)}
    with client.chat.completions.stream(**request, stream_options={"include_usage": True}) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_completion()
    buffered = client.chat.completions.create(**request)
    assert kinds.count("content.delta") > 1 and kinds.count("content.done") == 1
    assert text_of(streamed) == text_of(buffered)
    assert streamed.choices[0].finish_reason == buffered.choices[0].finish_reason
    assert streamed.usage.total_tokens == buffered.usage.total_tokens


def test_the_demo_model_says_what_it_is_and_stops_when_told(client, mock, prompt):
    assert "demo model" in text_of(client.chat.completions.create(model="demo-1", messages=user(prompt)))
    short = client.chat.completions.create(model="demo-1", max_completion_tokens=3, messages=user(prompt))
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 3)
    stopped = client.chat.completions.create(model="demo-1", stop="demo", messages=user(prompt))
    assert stopped.choices[0].finish_reason == "stop" and "demo" not in text_of(stopped)
    assert not mock.requests(), "nothing left the machine"


@pytest.mark.parametrize("stream", [False, True])
def test_characters_cut_in_half_on_the_way_arrive_whole(client, mock, prompt, stream):
    mock.fail("split_utf8", behaviour={"chunk_text": "grüße, 世界 🙂 ", "chunks": 3})
    answer = client.chat.completions.create(model="gpt-test", messages=user(prompt), stream=stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in answer) if stream else text_of(answer)
    assert text == "grüße, 世界 🙂 " * 3


def test_usage_with_cached_tokens(client, gateway, mock, prompt):
    mock.behave(usage={"input_tokens": 1000, "output_tokens": 200, "cache_read_tokens": 30000})
    completion = client.chat.completions.create(model="gpt-test", messages=user(prompt))
    assert completion.usage.prompt_tokens == 31000
    assert completion.usage.prompt_tokens_details.cached_tokens == 30000
    record = gateway.record(completion._request_id)
    counted = (record["input_tokens"], record["cache_read_tokens"], record["output_tokens"])
    assert counted == (1000, 30000, 200), "no token is counted twice"
    assert record["cost_microdollars"] == 31000 * 1 + 200 * 2


# What a request can carry


def test_system_prompts_and_unusual_parameters_reach_the_provider(client, mock, prompt):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Café ☕"}, *user(prompt)]
    client.chat.completions.create(
        model="gpt-test",
        messages=messages,
        temperature=0.25,
        seed=7,
        reasoning_effort="high",
        logit_bias={"50256": -100},
        extra_body={"a_field_of_tomorrow": {"x": [1, 2.5, None]}},
    )
    body = mock.requests()[0]["body"]
    assert body["messages"] == messages
    assert (body["temperature"], body["seed"], body["reasoning_effort"]) == (0.25, 7, "high")
    assert body["logit_bias"] == {"50256": -100}
    assert body["a_field_of_tomorrow"] == {"x": [1, 2.5, None]}


def test_who_asks_stays_here(client, gateway, mock, prompt):
    client.chat.completions.create(
        model="gpt-test",
        messages=user(prompt),
        user="u-17",
        extra_headers={"user-agent": "spy/1", "cookie": "c=1", "openai-organization": "org-ours"},
    )
    [request] = mock.requests()
    assert "user" not in request["body"]
    headers = request["headers"]
    assert headers["authorization"] == "Bearer sk-upstream-openai"
    assert not any(name.startswith("x-stainless-") for name in headers)
    assert not {"x-api-key", "cookie", "openai-organization"} & headers.keys()
    assert headers["user-agent"].startswith("systemprompt/")
    assert gateway.key not in str(request)


@pytest.mark.parametrize("model", MODELS)
def test_images(client, mock, prompt, model):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}}
    content = [{"type": "text", "text": prompt}, image]
    completion = client.chat.completions.create(model=model, messages=user(content))
    if model == "demo-1":
        assert "one image" in text_of(completion)
    else:
        assert mock.requests()[0]["body"]["messages"] == user(content)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_and_its_result(client, gateway, mock, prompt, stream):
    mock.behave(tool_calls=[{"name": "get_weather", "input": {"city": "Kraków", "days": [1, 2]}}])
    request = {"model": "gpt-test", "tools": [WEATHER], "tool_choice": "auto"}
    if stream:
        state = ChatCompletionStreamState(input_tools=[WEATHER])
        with client.chat.completions.create(**request, messages=user(prompt), stream=True) as chunks:
            for chunk in chunks:
                list(state.handle_chunk(chunk))
            completion, request_id = state.get_final_completion(), request_id_of(chunks)
    else:
        completion = client.chat.completions.create(**request, messages=user(prompt))
        request_id = completion._request_id
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Kraków", "days": [1, 2]}
    record = gateway.record(request_id)
    assert record["stop_reason"] == "tool_use"
    assert [recorded["name"] for recorded in record["tool_calls"]] == ["get_weather"]

    mock.behave()
    asked = {
        "role": "assistant",
        "content": choice.message.content,
        "tool_calls": [{"id": call.id, "type": "function", "function": call.function.to_dict()}],
    }
    asked["tool_calls"][0]["function"].pop("parsed_arguments", None)
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain ☔"}
    final = client.chat.completions.create(**request, messages=[*user(prompt), asked, result])
    assert final.choices[0].finish_reason == "stop"
    sent = mock.requests()[-1]["body"]
    assert sent["tools"] == [WEATHER]
    assert sent["messages"] == [*user(prompt), asked, result]


@pytest.mark.parametrize("stream", [False, True])
def test_the_demo_model_calls_a_tool_and_reads_its_result(client, prompt, stream):
    request = {"model": "demo-1", "tools": [WEATHER]}
    prompt = f"get_weather {prompt}"
    if stream:
        with client.chat.completions.stream(**request, messages=user(prompt)) as events:
            completion = events.get_final_completion()
    else:
        completion = client.chat.completions.create(**request, messages=user(prompt))
    message = completion.choices[0].message
    assert completion.choices[0].finish_reason == "tool_calls"
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": prompt}
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny, 21 °C"}
    final = client.chat.completions.create(**request, messages=[*user(prompt), message, result])
    assert "sunny, 21 °C" in text_of(final)


def test_structured_output_with_the_demo_model(client, prompt):
    class Answer(BaseModel):
        demo: bool
        prompt: str

    completion = client.chat.completions.parse(model="demo-1", messages=user(prompt), response_format=Answer)
    assert completion.choices[0].message.parsed == Answer(demo=True, prompt=prompt)


# Going away


def test_closing_a_stream_cancels_the_call(client, gateway, mock, prompt):
    mock.behave(chunks=100_000, chunk_delay_ms=5)
    with client.chat.completions.create(model="gpt-test", messages=user(prompt), stream=True) as stream:
        assert next(stream)
        request_id = request_id_of(stream)
    record = gateway.record(request_id)
    assert (record["status"], record["error_message"]) == ("failed", "client_disconnected")
    eventually(mock.is_idle, "the provider is still answering")


@pytest.mark.anyio
async def test_cancelling_a_task_cancels_the_call(async_client, gateway, mock, prompt):
    mock.fail("hang_before_headers")
    create = async_client.chat.completions.create(
        model="gpt-test", messages=user(prompt), extra_headers={CONVERSATION: prompt}
    )
    await cancel(create, mock)
    [record] = gateway.records(prompt, 1)
    assert (record["status"], record["error_message"]) == ("failed", "client_disconnected")
    eventually(mock.is_idle, "the provider is still answering")


def test_a_client_that_runs_out_of_patience(client, gateway, mock, prompt):
    mock.fail("hang_before_headers")
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(
            model="gpt-test", messages=user(prompt), timeout=1, extra_headers={CONVERSATION: prompt}
        )
    [record] = gateway.records(prompt, 1)
    assert (record["status"], record["error_message"]) == ("failed", "client_disconnected")


# Errors


@pytest.mark.parametrize(
    ("status", "error_class", "kind"),
    [
        (400, openai.BadRequestError, "invalid_request_error"),
        (404, openai.NotFoundError, "not_found_error"),
        (422, openai.UnprocessableEntityError, "invalid_request_error"),
        (429, openai.RateLimitError, "rate_limit_error"),
        (500, openai.InternalServerError, "api_error"),
        (503, openai.InternalServerError, "api_error"),
        (529, openai.InternalServerError, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_provider_are_relayed(client, gateway, mock, prompt, status, error_class, kind, stream):
    mock.fail("status", status=status, retry_after="7")
    with pytest.raises(error_class) as caught:
        client.chat.completions.create(model="gpt-test", messages=user(prompt), stream=stream)
    error = caught.value
    assert (error.status_code, error.type) == (status, kind)
    assert error.body["message"].startswith("mock: ")
    assert error.response.headers["retry-after"] == "7"
    assert error.response.headers["x-upstream-request-id"].startswith("req_mock_")
    record = gateway.record(error.request_id)
    assert (record["status"], record["http_status"]) == ("failed", status)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("stream", [False, True])
def test_a_credential_of_the_gateway_is_not_the_callers(gateway, mock, prompt, status, stream):
    mock.fail("status", status=status)
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="gpt-test", messages=user(prompt), stream=stream)
    assert (caught.value.status_code, caught.value.code) == (502, "provider_credential_refused")
    assert "mock: " not in caught.value.body["message"]
    assert len(mock.requests()) == 1, "trying again does not mend it"


def test_a_stream_that_ends_after_its_reason_is_complete(client, gateway, mock, prompt):
    mock.behave(fault={"kind": "no_terminal_event"})
    stream = client.chat.completions.create(model="gpt-test", messages=user(prompt), stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == "token " * 8
    record = gateway.record(request_id_of(stream))
    assert (record["status"], record["output_tokens"]) == ("completed", 8)


@pytest.mark.parametrize(
    ("model", "fault", "status"),
    [
        ("gpt-gone", None, 502),
        ("gpt-test", {"kind": "close_before_headers"}, 502),
        ("gpt-test", {"kind": "close_mid_stream", "after_chunks": 1}, 502),
        ("gpt-test", {"kind": "garbage_json"}, 502),
        ("gpt-test", {"kind": "empty_body"}, 502),
        ("gpt-test", {"kind": "status", "status": 500, "body": ""}, 502),
        ("gpt-hasty", {"kind": "hang_before_headers"}, 504),
        ("gpt-hasty", {"kind": "hang_mid_stream", "after_chunks": 1}, 504),
    ],
)
def test_a_provider_that_does_not_answer(client, gateway, mock, prompt, model, fault, status):
    mock.behave(fault=fault)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=user(prompt))
    error = caught.value
    assert (error.status_code, error.type) == (status, "api_error")
    assert gateway.record(error.request_id)["status"] == "failed"


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("gpt-test", {"kind": "close_mid_stream", "after_chunks": 2}),
        ("gpt-hasty", {"kind": "hang_mid_stream", "after_chunks": 2}),
    ],
)
def test_a_stream_that_breaks_off_is_an_error_not_an_end(client, gateway, mock, prompt, model, fault):
    mock.behave(fault=fault)
    chunks = []
    with client.chat.completions.create(model=model, messages=user(prompt), stream=True) as stream:
        with pytest.raises(openai.APIError) as caught:
            chunks.extend(stream)
    assert caught.value.type == "api_error"
    assert gateway.record(request_id_of(stream))["status"] == "failed"


def test_a_wrong_key(gateway, mock, prompt):
    other = gateway.key[:-4] + ("0000" if gateway.key[-4:] != "0000" else "1111")
    for key in (other, "nonsense"):
        with OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
            for ask in (
                lambda: client.chat.completions.create(model="gpt-test", messages=user(prompt)),
                lambda: client.models.list(),
            ):
                with pytest.raises(openai.AuthenticationError) as caught:
                    ask()
                assert (caught.value.type, caught.value.code) == ("authentication_error", "invalid_api_key")
    assert not mock.requests()


@pytest.mark.parametrize(
    ("changes", "error_class", "code", "message"),
    [
        ({"model": "nobody-knows"}, openai.NotFoundError, "model_not_found", "nobody-knows"),
        ({"messages": user(FAKE_SECRET)}, openai.APIStatusError, "policy_denied", "blocked by"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_are_recorded_and_nothing_is_sent(
    client, gateway, mock, prompt, changes, error_class, code, message, stream
):
    with pytest.raises(error_class) as caught:
        client.chat.completions.create(**{"model": "gpt-test", "messages": user(prompt), **changes}, stream=stream)
    error = caught.value
    assert error.code == code
    assert message in error.body["message"]
    assert FAKE_SECRET not in str(error)
    record = gateway.record(error.request_id)
    assert (record["status"], record["decision"]["decision"]) == ("rejected", "deny")
    assert FAKE_SECRET not in str(record)
    assert not mock.requests()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"messages": []}, "messages"), ({"model": ""}, "model"), ({"n": 1.5}, "n"), ({"messages": "Hello"}, "messages")],
)
def test_requests_that_are_none(client, mock, prompt, changes, message):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": "gpt-test", "messages": user(prompt), **changes})
    assert caught.value.type == "invalid_request_error"
    assert message in caught.value.body["message"]
    assert not mock.requests()


def test_a_model_that_is_not_for_everybody(gateway, mock, guest_key, prompt):
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=guest_key, max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            client.chat.completions.create(model="gpt-barred", messages=user(prompt))
        assert caught.value.type == "permission_error"
        assert gateway.record(caught.value.request_id)["status"] == "rejected"
        assert not mock.requests()
        models = [model.id for model in client.models.list()]
        assert "gpt-test" in models and "gpt-barred" not in models
        client.chat.completions.create(model="gpt-test", messages=user(prompt))


def test_too_many_requests(client, gateway, mock, prompt):
    for _ in range(RATE_LIMIT):
        client.chat.completions.create(model="gpt-test", messages=user(prompt))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-test", messages=user(prompt))
    error = caught.value
    assert error.type == "rate_limit_error"
    assert int(error.response.headers["retry-after"]) > 0
    assert gateway.record(error.request_id)["status"] == "rejected"
    assert len(mock.requests()) == RATE_LIMIT


def test_a_request_that_is_too_large(client, mock):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="gpt-test", messages=user("word " * (7 * 1024 * 1024)))
    assert (caught.value.status_code, caught.value.type) == (413, "invalid_request_error")
    assert not mock.requests()


def test_what_is_not_served_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.batches.list()
    assert caught.value.type == "not_found_error"
    assert "/v1/batches" in caught.value.body["message"]


# Retries


@pytest.mark.parametrize("status", [429, 503])
def test_the_sdk_waits_as_long_as_the_provider_says_and_tries_again(client, gateway, mock, prompt, pauses, status):
    mock.fail("status", times=1, status=status, retry_after="7")
    completion = client.with_options(max_retries=2).chat.completions.create(
        model="gpt-test", messages=user(prompt), extra_headers={CONVERSATION: prompt}
    )
    assert pauses == [7.0]
    first, second = gateway.records(prompt, 2)
    assert (first["status"], first["http_status"]) == ("failed", status)
    assert (second["status"], second["request_id"]) == ("completed", completion._request_id)
    assert len(mock.requests()) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_the_sdk_tries_again_when_the_provider_closed_the_connection(client, gateway, mock, prompt, pauses, stream):
    mock.fail("close_before_headers", times=1)
    answer = client.with_options(max_retries=2).chat.completions.create(
        model="gpt-test", messages=user(prompt), stream=stream, extra_headers={CONVERSATION: prompt}
    )
    assert list(answer)
    assert len(pauses) == 1
    assert [record["status"] for record in gateway.records(prompt, 2)] == ["failed", "completed"]


def test_the_sdk_gives_up_in_the_end(client, gateway, mock, prompt, pauses):
    mock.fail("status", status=503)
    with pytest.raises(openai.InternalServerError):
        client.with_options(max_retries=2).chat.completions.create(
            model="gpt-test", messages=user(prompt), extra_headers={CONVERSATION: prompt}
        )
    assert len(pauses) == 2
    assert [record["status"] for record in gateway.records(prompt, 3)] == ["failed"] * 3


def test_the_sdk_does_not_repeat_what_was_refused(client, pauses):
    with pytest.raises(openai.APIStatusError):
        client.with_options(max_retries=2).chat.completions.create(
            model="gpt-test", messages=user(f"my key is {FAKE_SECRET}")
        )
    assert not pauses


# Models


def test_the_list_of_models(client):
    listed = client.models.list()
    models = list(listed)
    assert listed.object == "list" and not listed.has_next_page()
    assert {"gpt-test", "gpt-hasty", "demo-1"} <= {model.id for model in models}
    assert all(model.object == "model" and model.owned_by for model in models)


def test_models_of_one_family(client):
    models = [model.id for model in client.models.list(extra_headers={"x-inference-protocol": "openai"})]
    assert "gpt-test" in models
    assert not any(model.startswith("claude-") for model in models)


# Configuration and transport


def test_two_lines_of_environment_are_enough(gateway, mock, prompt, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", f"{gateway.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", gateway.key)
    with OpenAI() as client:
        completion = client.chat.completions.create(model="gpt-test", messages=user(prompt))
        assert gateway.record(completion._request_id)["status"] == "completed"
        assert "gpt-test" in [model.id for model in client.models.list()]


def test_raw_and_streaming_responses(client, gateway, prompt):
    request = {"model": "demo-1", "messages": user(prompt)}
    raw = client.chat.completions.with_raw_response.create(**request)
    assert raw.headers["x-trace-id"] == gateway.record(raw.request_id)["trace_id"]
    assert raw.headers["x-systemprompt-request-id"] == raw.request_id
    assert text_of(raw.parse())
    with client.chat.completions.with_streaming_response.create(**request, stream=True) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        lines = [line for line in response.iter_lines() if line]
    assert lines[0].startswith("data: {") and lines[-1] == "data: [DONE]"


@pytest.mark.anyio
async def test_many_async_calls_at_once(async_client, gateway, prompt):
    async def ask(number):
        request = {"model": MODELS[number % 2], "messages": user(f"{prompt}, number {number}")}
        if number % 3:
            options = {"stream": True, "stream_options": {"include_usage": True}}
            async with await async_client.chat.completions.create(**request, **options) as stream:
                chunks = [chunk async for chunk in stream]
                return chunks[-1], request_id_of(stream)
        completion = await async_client.chat.completions.create(**request)
        return completion, completion._request_id

    answers = await asyncio.gather(*(ask(number) for number in range(24)))
    models = [model.id async for model in async_client.models.list()]
    assert "gpt-test" in models
    assert len({request_id for _, request_id in answers}) == 24
    for completion, request_id in answers[:4]:
        assert_recorded(gateway.record(request_id), completion)


@pytest.mark.anyio
async def test_async_errors_and_retries(async_client, gateway, mock, prompt, pauses):
    mock.fail("status", times=2, status=429, retry_after="3")
    request = {"model": "gpt-test", "messages": user(prompt)}
    with pytest.raises(openai.RateLimitError) as caught:
        await async_client.chat.completions.create(**request)
    completion = await async_client.with_options(max_retries=1).chat.completions.create(**request)
    assert pauses == [3.0]
    assert gateway.record(caught.value.request_id)["status"] == "failed"
    assert gateway.record(completion._request_id)["status"] == "completed"
