"""The official Anthropic SDK against the gateway: the mock provider behind it, or the demo provider inside it."""

import asyncio
import base64

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic, beta_tool
from conftest import CONVERSATION, FAKE_SECRET, PIXEL, RATE_LIMIT, cancel, eventually

MODELS = ["claude-test", "demo-1"]

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def client(gateway, mock):
    """A client that does not retry, and for which an answer that is not quite as documented is an error."""
    with Anthropic(
        base_url=gateway.url, api_key=gateway.key, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
async def async_client(gateway, mock):
    async with AsyncAnthropic(
        base_url=gateway.url, api_key=gateway.key, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def user(content):
    return [{"role": "user", "content": content}]


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def assert_recorded(record, message):
    """The ledger has the usage the caller was told."""
    assert record["status"] == "completed"
    assert record["dialect"] == "anthropic-messages"
    assert record["input_tokens"] == message.usage.input_tokens > 0
    assert record["output_tokens"] == message.usage.output_tokens > 0
    assert record["cost_microdollars"] > 0
    assert record["stop_reason"] == message.stop_reason


# Answers


@pytest.mark.parametrize("model", MODELS)
def test_a_buffered_message(client, gateway, prompt, model):
    message = client.messages.create(model=model, max_tokens=300, messages=user(prompt))
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert text_of(message)
    record = gateway.record(message._request_id)
    assert_recorded(record, message)
    assert (record["requested_model"], record["is_streaming"]) == (model, False)
    assert record["client"].startswith("Anthropic/Python ")


@pytest.mark.parametrize("model", MODELS)
def test_a_streamed_message(client, gateway, prompt, model):
    with client.messages.create(model=model, max_tokens=300, messages=user(prompt), stream=True) as stream:
        request_id = stream.response.headers["request-id"]
        events = list(stream)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert gateway.record(request_id)["is_streaming"]


@pytest.mark.parametrize("model", MODELS)
def test_the_stream_helper_accumulates_the_buffered_message(client, gateway, prompt, model):
    request = {"model": model, "max_tokens": 300, "messages": user(prompt)}
    with client.messages.stream(**request) as stream:
        texts = list(stream.text_stream)
        streamed = stream.get_final_message()
        assert_recorded(gateway.record(stream.request_id), streamed)
    buffered = client.messages.create(**request)
    assert len(texts) > 1
    assert "".join(texts) == text_of(streamed) == text_of(buffered)
    assert streamed.usage.output_tokens == buffered.usage.output_tokens
    assert streamed.usage.input_tokens == buffered.usage.input_tokens
    assert streamed.stop_reason == buffered.stop_reason


def test_the_demo_model_says_what_it_is_and_stops_when_told(client, mock, prompt):
    assert "demo model" in text_of(client.messages.create(model="demo-1", max_tokens=300, messages=user(prompt)))
    short = client.messages.create(model="demo-1", max_tokens=3, messages=user(prompt))
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 3)
    with client.messages.stream(
        model="demo-1", max_tokens=300, stop_sequences=["demo"], messages=user(prompt)
    ) as stream:
        stopped = stream.get_final_message()
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "demo")
    assert not mock.requests(), "nothing left the machine"


@pytest.mark.parametrize("stream", [False, True])
def test_characters_cut_in_half_on_the_way_arrive_whole(client, mock, prompt, stream):
    mock.fail("split_utf8", behaviour={"chunk_text": "grüße, 世界 🙂 ", "chunks": 3})
    request = {"model": "claude-test", "max_tokens": 100, "messages": user(prompt)}
    if stream:
        with client.messages.stream(**request) as events:
            text = events.get_final_text()
    else:
        text = text_of(client.messages.create(**request))
    assert text == "grüße, 世界 🙂 " * 3


@pytest.mark.parametrize("stream", [False, True])
def test_usage_with_cached_tokens(client, gateway, mock, prompt, stream):
    tokens = {"input_tokens": 1000, "output_tokens": 200, "cache_read_tokens": 30000, "cache_creation_tokens": 400}
    mock.behave(usage=tokens)
    request = {"model": "claude-test", "max_tokens": 100, "messages": user(prompt)}
    if stream:
        with client.messages.stream(**request) as events:
            message, request_id = events.get_final_message(), events.request_id
    else:
        message = client.messages.create(**request)
        request_id = message._request_id
    assert message.usage.cache_read_input_tokens == 30000
    assert message.usage.cache_creation_input_tokens == 400
    record = gateway.record(request_id)
    assert {name: record[name] for name in tokens} == tokens
    # All input at 3 dollars a million, as the profile has no prices for the cache, and output at 15.
    assert record["cost_microdollars"] == (1000 + 30000 + 400) * 3 + 200 * 15


# What a request can carry


def test_system_prompts_and_unusual_parameters_reach_the_provider(client, mock, prompt):
    system = [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "Café ☕", "cache_control": {"type": "ephemeral"}},
    ]
    extra = {"temperature": 0.25, "top_p": 0.5, "a_field_of_tomorrow": {"x": [1, 2.5, None]}}
    request = {"model": "claude-test", "max_tokens": 100, "messages": user(prompt), "stop_sequences": ["STOP"]}
    for value in ("Be brief.", system):
        client.messages.create(**request, system=value, extra_body=extra)
        body = mock.requests()[-1]["body"]
        assert body["system"] == value
        assert body["stop_sequences"] == ["STOP"]
        assert {name: body[name] for name in extra} == extra


def test_only_what_should_change_changes_on_the_way(client, gateway, mock, prompt):
    client.messages.create(
        model="claude-alias",
        max_tokens=5000,
        messages=user(prompt),
        metadata={"user_id": "u-17"},
        extra_headers={"user-agent": "spy/1", "cookie": "c=1", "x-forwarded-for": "203.0.113.9"},
    )
    [request] = mock.requests()
    assert request["body"]["model"] == "claude-upstream"
    assert request["body"]["max_tokens"] == 1000, "the model has a limit"
    assert "user_id" not in request["body"].get("metadata", {})
    headers = request["headers"]
    assert headers["x-api-key"] == "sk-upstream-anthropic"
    assert headers["anthropic-version"] == client.default_headers["anthropic-version"]
    assert not any(name.startswith("x-stainless-") for name in headers)
    assert not {"authorization", "cookie", "x-forwarded-for"} & headers.keys()
    assert headers["user-agent"].startswith("systemprompt/")
    assert gateway.key not in str(request)


def test_beta_features_reach_the_provider(client, gateway, mock, prompt):
    message = client.beta.messages.create(
        model="claude-test", max_tokens=100, messages=user(prompt), betas=["files-api-2025-04-14", "some-beta"]
    )
    [request] = mock.requests()
    assert request["headers"]["anthropic-beta"].replace(" ", "").split(",") == ["files-api-2025-04-14", "some-beta"]
    assert gateway.record(message._request_id)["status"] == "completed"


@pytest.mark.parametrize("model", MODELS)
def test_images(client, mock, prompt, model):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": prompt}]
    message = client.messages.create(model=model, max_tokens=300, messages=user(content))
    if model == "demo-1":
        assert "one image" in text_of(message)
    else:
        assert mock.requests()[0]["body"]["messages"] == user(content)


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_comes_through_and_goes_back_signed(client, mock, prompt, stream):
    mock.behave(thinking="They said hello. So shall I.")
    request = {"model": "claude-test", "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    if stream:
        with client.messages.stream(**request, messages=user(prompt)) as events:
            thought = [event for event in events if event.type == "thinking"]
            message = events.get_final_message()
        assert thought
    else:
        message = client.messages.create(**request, messages=user(prompt))
    block = message.content[0]
    assert (block.type, block.thinking) == ("thinking", "They said hello. So shall I.")
    assert block.signature and text_of(message)

    redacted = {"type": "redacted_thinking", "data": "b3BhcXVl"}
    history = [*user(prompt), {"role": "assistant", "content": [redacted, *message.content]}, *user("Go on.")]
    client.messages.create(**request, messages=history)
    sent = mock.requests()[-1]["body"]["messages"][1]["content"]
    assert sent[0] == redacted
    assert (sent[1]["thinking"], sent[1]["signature"]) == (block.thinking, block.signature)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_and_its_result(client, gateway, mock, prompt, stream):
    mock.behave(tool_calls=[{"name": "get_weather", "input": {"city": "Kraków", "days": [1, 2]}}])
    request = {"model": "claude-test", "max_tokens": 300, "tools": [WEATHER], "tool_choice": {"type": "auto"}}
    if stream:
        with client.messages.stream(**request, messages=user(prompt)) as events:
            message, request_id = events.get_final_message(), events.request_id
    else:
        message = client.messages.create(**request, messages=user(prompt))
        request_id = message._request_id
    assert message.stop_reason == "tool_use"
    call = message.content[-1]
    assert (call.type, call.name, call.input) == ("tool_use", "get_weather", {"city": "Kraków", "days": [1, 2]})
    [recorded] = gateway.record(request_id)["tool_calls"]
    assert recorded["name"] == "get_weather"

    mock.behave()
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "rain ☔"}]}
    history = [*user(prompt), {"role": "assistant", "content": message.content}, *user([result])]
    final = client.messages.create(**request, messages=history)
    assert final.stop_reason == "end_turn"
    sent = mock.requests()[-1]["body"]
    assert sent["tools"] == [WEATHER]
    assert sent["messages"][2]["content"] == [result]
    assert sent["messages"][1]["content"][-1]["id"] == call.id


def test_the_tool_runner_of_the_sdk_with_the_demo_model(client, prompt):
    asked = []
    prompt = f"get_weather {prompt}"

    @beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: Where.
        """
        asked.append(city)
        return "sunny, 21 °C"

    runner = client.beta.messages.tool_runner(
        model="demo-1", max_tokens=300, tools=[get_weather], messages=user(prompt), max_iterations=5
    )
    final = runner.until_done()
    assert asked == [prompt]
    assert "sunny, 21 °C" in text_of(final)


def test_the_turns_of_a_conversation_share_a_session(client, gateway, prompt):
    def session(messages):
        message = client.messages.create(model="claude-test", max_tokens=9, messages=messages)
        return gateway.record(message._request_id)["session_id"]

    first = session(user(prompt))
    assert session([*user(prompt), {"role": "assistant", "content": "Hello."}, *user("Go on.")]) == first
    assert session(user(f"{prompt}, and another conversation")) != first


# Going away


def test_closing_a_stream_cancels_the_call(client, gateway, mock, prompt):
    mock.behave(chunks=100_000, chunk_delay_ms=5)
    with client.messages.stream(model="claude-test", max_tokens=100, messages=user(prompt)) as stream:
        assert next(iter(stream.text_stream))
        request_id = stream.request_id
    record = gateway.record(request_id)
    assert (record["status"], record["error_message"]) == ("failed", "client_disconnected")
    assert record["input_tokens"] == 10, "what was used until then is known"
    eventually(mock.is_idle, "the provider is still answering")


@pytest.mark.anyio
async def test_cancelling_a_task_cancels_the_call(async_client, gateway, mock, prompt):
    mock.fail("hang_before_headers")
    create = async_client.messages.create(
        model="claude-test", max_tokens=100, messages=user(prompt), extra_headers={CONVERSATION: prompt}
    )
    await cancel(create, mock)
    [record] = gateway.records(prompt, 1)
    assert (record["status"], record["error_message"]) == ("failed", "client_disconnected")
    assert record["input_tokens"] > 0, "the prompt was sent, and is not free"
    eventually(mock.is_idle, "the provider is still answering")


def test_a_client_that_runs_out_of_patience(client, gateway, mock, prompt):
    mock.fail("hang_before_headers")
    with pytest.raises(anthropic.APITimeoutError):
        client.messages.create(
            model="claude-test", max_tokens=9, messages=user(prompt), timeout=1, extra_headers={CONVERSATION: prompt}
        )
    [record] = gateway.records(prompt, 1)
    assert (record["status"], record["error_message"]) == ("failed", "client_disconnected")


# Errors


@pytest.mark.parametrize(
    ("status", "error_class", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (503, anthropic.ServiceUnavailableError, "api_error"),
        (529, anthropic.OverloadedError, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_provider_are_relayed(client, gateway, mock, prompt, status, error_class, kind, stream):
    mock.fail("status", status=status, retry_after="7")
    with pytest.raises(error_class) as caught:
        client.messages.create(model="claude-test", max_tokens=100, messages=user(prompt), stream=stream)
    error = caught.value
    assert (error.status_code, error.type) == (status, kind)
    assert error.api_message.startswith("mock: ")
    assert error.response.headers["retry-after"] == "7"
    assert error.response.headers["x-upstream-request-id"].startswith("req_mock_")
    record = gateway.record(error.request_id)
    assert (record["status"], record["http_status"]) == ("failed", status)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("stream", [False, True])
def test_a_credential_of_the_gateway_is_not_the_callers(gateway, mock, prompt, status, stream):
    mock.fail("status", status=status)
    with Anthropic(base_url=gateway.url, api_key=gateway.key) as client:
        with pytest.raises(anthropic.InternalServerError) as caught:
            client.messages.create(model="claude-test", max_tokens=100, messages=user(prompt), stream=stream)
    assert (caught.value.status_code, caught.value.type) == (502, "api_error")
    assert "provider_credential_refused" in caught.value.api_message
    assert "mock: " not in caught.value.api_message
    assert len(mock.requests()) == 1, "trying again does not mend it"


def test_a_stream_that_ends_after_its_reason_is_complete(client, gateway, mock, prompt):
    mock.behave(fault={"kind": "no_terminal_event"})
    with client.messages.stream(model="claude-test", max_tokens=100, messages=user(prompt)) as stream:
        assert "".join(stream.text_stream) == "token " * 8
    record = gateway.record(stream.request_id)
    assert (record["status"], record["output_tokens"]) == ("completed", 8)


@pytest.mark.parametrize(
    ("model", "fault", "error_class", "status"),
    [
        ("claude-gone", None, anthropic.InternalServerError, 502),
        ("claude-test", {"kind": "close_before_headers"}, anthropic.InternalServerError, 502),
        ("claude-test", {"kind": "close_mid_stream", "after_chunks": 1}, anthropic.InternalServerError, 502),
        ("claude-test", {"kind": "garbage_json"}, anthropic.InternalServerError, 502),
        ("claude-test", {"kind": "empty_body"}, anthropic.InternalServerError, 502),
        ("claude-test", {"kind": "status", "status": 500, "body": ""}, anthropic.InternalServerError, 502),
        ("claude-hasty", {"kind": "hang_before_headers"}, anthropic.GatewayTimeoutError, 504),
        ("claude-hasty", {"kind": "hang_mid_stream", "after_chunks": 1}, anthropic.GatewayTimeoutError, 504),
    ],
)
def test_a_provider_that_does_not_answer(client, gateway, mock, prompt, model, fault, error_class, status):
    mock.behave(fault=fault)
    with pytest.raises(error_class) as caught:
        client.messages.create(model=model, max_tokens=100, messages=user(prompt))
    error = caught.value
    assert (error.status_code, error.type) == (status, "api_error")
    assert error.body["request_id"] == error.request_id
    assert gateway.record(error.request_id)["status"] == "failed"


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("claude-test", {"kind": "close_mid_stream", "after_chunks": 2}),
        ("claude-hasty", {"kind": "hang_mid_stream", "after_chunks": 2}),
    ],
)
def test_a_stream_that_breaks_off_is_an_error_not_an_end(client, gateway, mock, prompt, model, fault):
    mock.behave(fault=fault)
    texts = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        with client.messages.stream(model=model, max_tokens=100, messages=user(prompt)) as stream:
            texts.extend(stream.text_stream)
    error = caught.value
    assert texts, "what had arrived is not lost"
    assert error.type == "api_error"
    assert error.body["request_id"] == error.request_id
    assert gateway.record(error.request_id)["status"] == "failed"


def test_a_wrong_key(gateway, mock, prompt):
    other = gateway.key[:-4] + ("0000" if gateway.key[-4:] != "0000" else "1111")
    for credential in ({"api_key": other}, {"auth_token": other}, {"api_key": "nonsense"}):
        with Anthropic(base_url=gateway.url, max_retries=0, **credential) as client:
            for ask in (
                lambda: client.messages.create(model="claude-test", max_tokens=1, messages=user(prompt)),
                lambda: client.models.list(),
            ):
                with pytest.raises(anthropic.AuthenticationError) as caught:
                    ask()
                assert caught.value.type == "authentication_error"
    assert not mock.requests()


@pytest.mark.parametrize(
    ("changes", "error_class", "kind", "message"),
    [
        ({"model": "nobody-knows"}, anthropic.NotFoundError, "not_found_error", "nobody-knows"),
        ({"messages": user(FAKE_SECRET)}, anthropic.APIStatusError, "invalid_request_error", "blocked by"),
        ({"system": FAKE_SECRET}, anthropic.APIStatusError, "invalid_request_error", "blocked by"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_are_recorded_and_nothing_is_sent(
    client, gateway, mock, prompt, changes, error_class, kind, message, stream
):
    request = {"model": "claude-test", "max_tokens": 100, "messages": user(prompt), **changes}
    with pytest.raises(error_class) as caught:
        client.messages.create(**request, stream=stream)
    error = caught.value
    assert error.type == kind
    assert message in error.api_message
    assert FAKE_SECRET not in str(error)
    assert error.body["request_id"] == error.request_id
    record = gateway.record(error.request_id)
    assert (record["status"], record["decision"]["decision"]) == ("rejected", "deny")
    assert FAKE_SECRET not in str(record)
    assert not mock.requests()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"messages": []}, "messages"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"model": ""}, "model"),
        ({"messages": "Hello"}, "messages"),
    ],
)
def test_requests_that_are_none(client, mock, prompt, changes, message):
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(**{"model": "claude-test", "max_tokens": 100, "messages": user(prompt), **changes})
    assert caught.value.type == "invalid_request_error"
    assert message in caught.value.api_message
    assert not mock.requests()


def test_a_model_that_is_not_for_everybody(gateway, mock, guest_key, prompt):
    with Anthropic(base_url=gateway.url, api_key=guest_key, max_retries=0) as client:
        with pytest.raises(anthropic.PermissionDeniedError) as caught:
            client.messages.create(model="claude-barred", max_tokens=1, messages=user(prompt))
        assert caught.value.type == "permission_error"
        assert gateway.record(caught.value.request_id)["status"] == "rejected"
        assert not mock.requests()
        models = [model.id for model in client.models.list()]
        assert "claude-test" in models and "claude-barred" not in models
        client.messages.create(model="claude-test", max_tokens=1, messages=user(prompt))


def test_too_many_requests(client, gateway, mock, prompt):
    request = {"model": "claude-test", "max_tokens": 1, "messages": user(prompt)}
    for _ in range(RATE_LIMIT):
        client.messages.create(**request)
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**request)
    error = caught.value
    assert error.type == "rate_limit_error"
    assert int(error.response.headers["retry-after"]) > 0
    assert gateway.record(error.request_id)["status"] == "rejected"
    assert len(mock.requests()) == RATE_LIMIT
    client.messages.create(model="claude-test", max_tokens=1, messages=user("Another conversation."))


def test_a_request_that_is_too_large(client, mock, prompt):
    image = base64.b64encode(bytes(26 * 1024 * 1024)).decode()
    content = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}}]
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(model="claude-test", max_tokens=1, messages=user(content))
    assert (caught.value.status_code, caught.value.type) == (413, "request_too_large")
    assert not mock.requests()


def test_what_is_not_served_is_not_found(client):
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.batches.list()
    assert caught.value.type == "not_found_error"
    assert "/v1/messages/batches" in caught.value.api_message


# Retries


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 429, "retry_after": "7"},
        {"kind": "status", "status": 503, "retry_after": "7"},
        {"kind": "status", "status": 529, "retry_after": "7"},
    ],
)
def test_the_sdk_waits_as_long_as_the_provider_says_and_tries_again(client, gateway, mock, prompt, pauses, fault):
    mock.behave(fault=fault, fault_times=1)
    message = client.with_options(max_retries=2).messages.create(
        model="claude-test", max_tokens=100, messages=user(prompt), extra_headers={CONVERSATION: prompt}
    )
    assert pauses == [7.0]
    first, second = gateway.records(prompt, 2)
    assert (first["status"], first["http_status"]) == ("failed", fault["status"])
    assert (second["status"], second["request_id"]) == ("completed", message._request_id)
    assert len(mock.requests()) == 2


@pytest.mark.parametrize("fault", ["close_before_headers", "garbage_json", "empty_body"])
def test_the_sdk_tries_again_when_the_provider_broke_off(client, gateway, mock, prompt, pauses, fault):
    mock.fail(fault, times=1)
    message = client.with_options(max_retries=2).messages.create(
        model="claude-test", max_tokens=100, messages=user(prompt), extra_headers={CONVERSATION: prompt}
    )
    assert text_of(message)
    assert len(pauses) == 1
    assert [record["status"] for record in gateway.records(prompt, 2)] == ["failed", "completed"]


def test_the_sdk_tries_a_stream_again_that_did_not_begin(client, gateway, mock, prompt, pauses):
    mock.fail("close_before_headers", times=1)
    with client.with_options(max_retries=2).messages.stream(
        model="claude-test", max_tokens=100, messages=user(prompt), extra_headers={CONVERSATION: prompt}
    ) as stream:
        assert stream.get_final_text()
    assert len(pauses) == 1
    assert [record["status"] for record in gateway.records(prompt, 2)] == ["failed", "completed"]


def test_the_sdk_gives_up_in_the_end(client, gateway, mock, prompt, pauses):
    mock.fail("status", status=529)
    with pytest.raises(anthropic.OverloadedError):
        client.with_options(max_retries=2).messages.create(
            model="claude-test", max_tokens=100, messages=user(prompt), extra_headers={CONVERSATION: prompt}
        )
    assert len(pauses) == 2
    assert [record["status"] for record in gateway.records(prompt, 3)] == ["failed"] * 3


def test_the_sdk_does_not_repeat_what_was_refused(client, gateway, mock, pauses):
    with pytest.raises(anthropic.APIStatusError):
        client.with_options(max_retries=2).messages.create(
            model="claude-test", max_tokens=100, messages=user(f"my key is {FAKE_SECRET}")
        )
    assert not pauses


# Models


def test_the_list_of_models(client):
    models = list(client.models.list())
    ids = [model.id for model in models]
    assert {"claude-test", "claude-hasty", "demo-1"} <= set(ids)
    assert len(ids) == len(set(ids))
    assert all(model.type == "model" and model.display_name for model in models)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_of_models_forwards_and_backwards(client, limit):
    ids = [model.id for model in client.models.list()]
    assert len(ids) > limit
    assert [model.id for model in client.models.list(limit=limit)] == ids
    before = client.models.list(limit=limit, before_id=ids[-1])
    assert [model.id for model in before.data] == ids[:-1][-limit:], "the page just before the cursor"
    pages = [[model.id for model in page.data] for page in before.iter_pages()]
    assert [id for page in reversed(pages) for id in page] == ids[:-1]


def test_models_of_one_family(client):
    listed = client.models.list(extra_headers={"x-inference-protocol": "anthropic"})
    assert {model.id for model in listed} >= {"claude-test", "demo-1"}
    assert not any(model.id.startswith("gpt-") for model in listed)


# Configuration and transport


@pytest.mark.parametrize("credential", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
def test_two_lines_of_environment_are_enough(gateway, mock, prompt, monkeypatch, credential):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", gateway.url)
    monkeypatch.setenv(credential, gateway.key)
    with Anthropic() as client:
        message = client.messages.create(model="claude-test", max_tokens=100, messages=user(prompt))
        assert gateway.record(message._request_id)["status"] == "completed"
        assert "claude-test" in [model.id for model in client.models.list()]


def test_raw_and_streaming_responses(client, gateway, prompt):
    request = {"model": "demo-1", "max_tokens": 100, "messages": user(prompt)}
    raw = client.messages.with_raw_response.create(**request)
    assert raw.headers["x-trace-id"] == gateway.record(raw.request_id)["trace_id"]
    assert raw.headers["x-systemprompt-request-id"] == raw.request_id
    assert text_of(raw.parse())
    with client.messages.with_streaming_response.create(**request, stream=True) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        lines = list(response.iter_lines())
    assert lines[0] == "event: message_start"


@pytest.mark.anyio
async def test_many_async_calls_at_once(async_client, gateway, prompt):
    async def ask(number):
        request = {"model": MODELS[number % 2], "max_tokens": 300, "messages": user(f"{prompt}, number {number}")}
        if number % 3:
            async with async_client.messages.stream(**request) as stream:
                return await stream.get_final_message(), stream.request_id
        message = await async_client.messages.create(**request)
        return message, message._request_id

    answers = await asyncio.gather(*(ask(number) for number in range(24)))
    models = [model.id async for model in async_client.models.list(limit=2)]
    assert "claude-test" in models
    assert len({request_id for _, request_id in answers}) == 24
    for message, request_id in answers[:4]:
        assert_recorded(gateway.record(request_id), message)


@pytest.mark.anyio
async def test_async_errors_and_retries(async_client, gateway, mock, prompt, pauses):
    mock.fail("status", times=2, status=429, retry_after="3")
    request = {"model": "claude-test", "max_tokens": 100, "messages": user(prompt)}
    with pytest.raises(anthropic.RateLimitError) as caught:
        await async_client.messages.create(**request)
    message = await async_client.with_options(max_retries=1).messages.create(**request)
    assert pauses == [3.0]
    assert gateway.record(caught.value.request_id)["status"] == "failed"
    assert gateway.record(message._request_id)["status"] == "completed"
