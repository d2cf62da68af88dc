"""Google's library, in what is its own: what every library does alike is in `test_wires.py`."""

import pytest
from conftest import CONVERSATION, FAKE_SECRET, MODELS_OF_VENDORS, PIXEL, WIRES, cancel, eventually
from dialects import ID
from google import genai
from google.genai import errors, types
from pydantic import BaseModel


@pytest.fixture
def client(gateway, mock):
    with genai.Client(api_key=gateway.key, http_options=types.HttpOptions(base_url=gateway.url)) as client:
        yield client


@pytest.fixture(params=WIRES)
def model(request):
    return f"on-{request.param}"


def request_id_of(response):
    return response.sdk_http_response.headers[ID]


def test_two_lines_of_environment_are_enough(gateway, mock, prompt, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gateway.url)
    monkeypatch.setenv("GEMINI_API_KEY", gateway.key)
    with genai.Client() as client:
        response = client.models.generate_content(model="on-gemini", contents=prompt)
    assert response.text == "token " * 8
    record = gateway.record(request_id_of(response))
    assert record["client"].startswith("google-genai-sdk/")


def test_who_asks_stays_here(client, gateway, mock, prompt):
    client.models.generate_content(model="on-gemini", contents=prompt)
    [request] = mock.requests()
    headers = request["headers"]
    assert headers["x-goog-api-key"] == "sk-upstream-openai"
    assert headers["user-agent"].startswith("systemprompt/")
    assert "x-goog-api-client" not in headers
    assert gateway.key not in str(request)


def test_settings_and_images_reach_the_provider(client, model, mock, prompt):
    config = types.GenerateContentConfig(
        system_instruction="Be brief.", temperature=0.25, max_output_tokens=50, stop_sequences=["END"]
    )
    image = types.Part.from_bytes(data=PIXEL.encode(), mime_type="image/png")
    response = client.models.generate_content(model=model, contents=[image, prompt], config=config)
    assert response.text and response.model_version == (MODELS_OF_VENDORS["gemini"] if model == "on-gemini" else model)
    [request] = mock.requests()
    said = str(request["body"])
    assert "Be brief." in said and "image/png" in said
    # Newer models of Anthropic refuse the one, OpenAI's Responses have no word for the other.
    assert "0.25" in said or model == "on-anthropic"
    # Where the provider has no word for it, the gateway ends the answer there itself.
    assert "END" in said or model.startswith("on-openai")


def test_a_chat_with_a_function_that_the_library_calls_itself(client, model, gateway, mock, prompt):
    asked = []

    def get_weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "rain"

    mock.behave(tool_calls=[{"name": "get_weather", "input": {"city": "Oslo"}}], tool_calls_once=True)
    chat = client.chats.create(model=model, config=types.GenerateContentConfig(tools=[get_weather]))
    response = chat.send_message(prompt)
    assert asked == ["Oslo"]
    assert response.text == "token " * 8
    assert len(mock.requests()) == 2
    record = gateway.record(request_id_of(response))
    assert (record["status"], record["input_tokens"], record["output_tokens"]) == ("completed", 10, 8)
    assert chat.send_message("And now?").text
    assert "And now?" in str(mock.requests()[-1]["body"])


def test_thinking_is_told_apart(client, mock, prompt):
    mock.behave(thinking="They said hello.")
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024))
    for model in ("on-gemini", "on-anthropic"):
        response = client.models.generate_content(model=model, contents=prompt, config=config)
        thoughts = [part.text for part in response.candidates[0].content.parts if part.thought]
        assert thoughts == ["They said hello."]
        assert response.text == "token " * 8


def test_a_list_of_things_in_their_own_types(client, model, mock, prompt):
    class Place(BaseModel):
        city: str
        people: int | None = None

    mock.behave(text='[{"city": "Oslo", "people": 700000}]')
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=list[Place])
    response = client.models.generate_content(model=model, contents=prompt, config=config)
    assert response.parsed == [Place(city="Oslo", people=700000)]
    assert "people" in str(mock.requests()[0]["body"])


def test_models_are_listed_and_shown(client):
    listed = {model.name: model for model in client.models.list()}
    assert {"models/on-gemini", "models/claude-test"} <= listed.keys()
    assert listed["models/on-gemini"].output_token_limit == 1000
    shown = client.models.get(model="on-gemini")
    assert shown.name == "models/on-gemini"
    assert "generateContent" in shown.supported_actions


@pytest.mark.parametrize("config", [None, types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", title="greetings")])
def test_what_an_embedding_is_for_reaches_google(client, gateway, mock, prompt, config):
    response = client.models.embed_content(model="on-gemini", contents=prompt, config=config)
    [embedding] = response.embeddings
    assert embedding.values == [0.25, -0.5, 1.0]
    [request] = mock.requests()
    assert request["path"].endswith(f"/models/{MODELS_OF_VENDORS['gemini']}:batchEmbedContents")
    [one] = request["body"]["requests"]
    assert (one.get("taskType"), one.get("title")) == (("RETRIEVAL_QUERY", "greetings") if config else (None, None))
    record = gateway.record(request_id_of(response))
    assert record["status"] == "completed" and record["input_tokens"] > 0


@pytest.mark.anyio
async def test_asynchronous_calls_are_cancelled_with_their_task(client, gateway, mock, prompt):
    mock.fail("hang_before_headers")
    config = types.GenerateContentConfig(http_options=types.HttpOptions(headers={CONVERSATION: prompt}))
    call = client.aio.models.generate_content(model="on-gemini", contents=prompt, config=config)
    await cancel(call, mock)
    [record] = gateway.records(prompt, 1)
    assert (record["status"], record["error_message"]) == ("failed", "client_disconnected")
    eventually(mock.is_idle, "the provider is still answering")
    mock.behave()
    chunks = [chunk async for chunk in await client.aio.models.generate_content_stream(model="on-openai-chat", contents=prompt)]
    assert "".join(chunk.text or "" for chunk in chunks) == "token " * 8


@pytest.mark.parametrize(
    ("status", "error_class", "word"),
    [
        (400, errors.ClientError, "INVALID_ARGUMENT"),
        (404, errors.ClientError, "NOT_FOUND"),
        (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
        (500, errors.ServerError, "INTERNAL"),
        (503, errors.ServerError, "INTERNAL"),
    ],
)
def test_errors_of_the_provider_are_relayed(client, gateway, mock, prompt, status, error_class, word):
    mock.fail("status", status=status)
    with pytest.raises(error_class) as caught:
        client.models.generate_content(model="on-gemini", contents=prompt)
    assert (caught.value.code, caught.value.status) == (status, word)
    assert caught.value.message.startswith("mock: ")


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"model": "nobody-knows"}, 404, "nobody-knows"),
        ({"contents": FAKE_SECRET}, 451, "secret"),
    ],
)
def test_refusals_name_what_is_wrong(client, mock, prompt, changes, status, word):
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(**{"model": "on-gemini", "contents": prompt, **changes})
    assert caught.value.code == status
    assert word in caught.value.message and FAKE_SECRET not in str(caught.value)
    assert not mock.requests()


def test_a_wrong_key(gateway, mock, prompt):
    with genai.Client(api_key="nonsense", http_options=types.HttpOptions(base_url=gateway.url)) as client:
        with pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model="on-gemini", contents=prompt)
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")
    assert not mock.requests()
