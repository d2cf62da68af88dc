"""The same tasks, each done as a user of that library would: what `test_wires.py` asks of every library on every wire."""

import contextlib
import json
from typing import NamedTuple

import anthropic
import openai
from google import genai
from google.genai import errors as google_errors
from google.genai import types
from pydantic import BaseModel

ID = "x-systemprompt-request-id"

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = "get_weather"


class Place(BaseModel):
    city: str


class Answer(NamedTuple):
    """What the library says came back."""

    text: str
    read: int
    written: int
    request_id: str


class Refused(NamedTuple):
    """What an error of the library says."""

    status: int
    message: str
    retry_after: str | None
    request_id: str


class Call(NamedTuple):
    """A tool that the model wants called."""

    name: str
    arguments: dict
    request_id: str
    #: Takes what the tool says and gives the final answer.
    go_on: object


class Messages:
    """PyPI `anthropic`."""

    name = "anthropic-messages"
    error = anthropic.APIError

    def __init__(self, gateway):
        self.client = anthropic.Anthropic(
            base_url=gateway.url, api_key=gateway.key, max_retries=0, _strict_response_validation=True
        )

    def _request(self, model, prompt):
        return {"model": model, "max_tokens": 300, "messages": [{"role": "user", "content": prompt}]}

    def _answer(self, message, request_id):
        text = "".join(block.text for block in message.content if block.type == "text")
        return Answer(text, message.usage.input_tokens, message.usage.output_tokens, request_id)

    def whole(self, model, prompt):
        message = self.client.messages.create(**self._request(model, prompt))
        return self._answer(message, message._request_id)

    def streamed(self, model, prompt):
        with self.client.messages.stream(**self._request(model, prompt)) as stream:
            return self._answer(stream.get_final_message(), stream.request_id)

    @contextlib.contextmanager
    def begun(self, model, prompt):
        """The id of a streamed request, and its texts one by one."""
        with self.client.messages.stream(**self._request(model, prompt)) as stream:
            yield stream.request_id, stream.text_stream

    def call(self, model, prompt, streamed):
        tool = {"name": TOOL, "description": "The weather in a city.", "input_schema": SCHEMA}
        request = {**self._request(model, prompt), "tools": [tool]}
        if streamed:
            with self.client.messages.stream(**request) as stream:
                message, request_id = stream.get_final_message(), stream.request_id
        else:
            message = self.client.messages.create(**request)
            request_id = message._request_id
        assert message.stop_reason == "tool_use"
        [used] = [block for block in message.content if block.type == "tool_use"]

        def go_on(said):
            result = {"type": "tool_result", "tool_use_id": used.id, "content": said}
            more = [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
            final = self.client.messages.create(**{**request, "messages": [*request["messages"], *more]})
            assert final.stop_reason == "end_turn"
            return self._answer(final, final._request_id)

        return Call(used.name, used.input, request_id, go_on)

    def structured(self, model, prompt):
        message = self.client.messages.parse(**self._request(model, prompt), output_format=Place)
        return message.parsed_output, message._request_id

    def refused(self, error):
        headers = error.response.headers
        return Refused(error.status_code, error.message, headers.get("retry-after"), headers.get(ID))


class ChatCompletions:
    """PyPI `openai`, Chat Completions."""

    name = "openai-chat"
    error = openai.APIError

    def __init__(self, gateway):
        self.client = openai.OpenAI(
            base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, _strict_response_validation=True
        )

    def _request(self, model, prompt):
        return {"model": model, "messages": [{"role": "user", "content": prompt}]}

    def _answer(self, completion, request_id):
        usage = completion.usage
        text = completion.choices[0].message.content
        return Answer(text, usage.prompt_tokens, usage.completion_tokens, request_id)

    def whole(self, model, prompt):
        completion = self.client.chat.completions.create(**self._request(model, prompt))
        return self._answer(completion, completion._request_id)

    def streamed(self, model, prompt):
        request = {**self._request(model, prompt), "stream_options": {"include_usage": True}}
        with self.client.chat.completions.stream(**request) as stream:
            return self._answer(stream.get_final_completion(), stream._response.headers[ID])

    @contextlib.contextmanager
    def begun(self, model, prompt):
        with self.client.chat.completions.create(**self._request(model, prompt), stream=True) as stream:
            choices = (choice for chunk in stream for choice in chunk.choices)
            yield stream.response.headers[ID], (choice.delta.content for choice in choices if choice.delta.content)

    def call(self, model, prompt, streamed):
        function = {"name": TOOL, "description": "The weather in a city.", "strict": True, "parameters": SCHEMA}
        request = {**self._request(model, prompt), "tools": [{"type": "function", "function": function}]}
        if streamed:
            with self.client.chat.completions.stream(**request) as stream:
                completion, request_id = stream.get_final_completion(), stream._response.headers[ID]
        else:
            completion = self.client.chat.completions.create(**request)
            request_id = completion._request_id
        assert completion.choices[0].finish_reason == "tool_calls"
        message = completion.choices[0].message
        [used] = message.tool_calls

        def go_on(said):
            function = {"name": used.function.name, "arguments": used.function.arguments}
            asked = {
                "role": "assistant",
                "content": message.content,
                "tool_calls": [{"id": used.id, "type": "function", "function": function}],
            }
            result = {"role": "tool", "tool_call_id": used.id, "content": said}
            final = self.client.chat.completions.create(**{**request, "messages": [*request["messages"], asked, result]})
            assert final.choices[0].finish_reason == "stop"
            return self._answer(final, final._request_id)

        return Call(used.function.name, json.loads(used.function.arguments), request_id, go_on)

    def structured(self, model, prompt):
        completion = self.client.chat.completions.parse(**self._request(model, prompt), response_format=Place)
        return completion.choices[0].message.parsed, completion._request_id

    def refused(self, error):
        headers = error.response.headers
        return Refused(error.status_code, error.body["message"], headers.get("retry-after"), headers.get(ID))


class Responses:
    """PyPI `openai`, Responses."""

    name = "openai-responses"
    error = openai.APIError

    def __init__(self, gateway):
        self.client = openai.OpenAI(
            base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, _strict_response_validation=True
        )

    def _answer(self, response, request_id):
        return Answer(response.output_text, response.usage.input_tokens, response.usage.output_tokens, request_id)

    def whole(self, model, prompt):
        response = self.client.responses.create(model=model, input=prompt)
        assert response.status == "completed"
        return self._answer(response, response._request_id)

    def streamed(self, model, prompt):
        with self.client.responses.stream(model=model, input=prompt) as stream:
            response = stream.get_final_response()
            return self._answer(response, stream._response.headers[ID])

    @contextlib.contextmanager
    def begun(self, model, prompt):
        def texts(stream):
            for event in stream:
                if event.type == "response.failed":
                    # The library leaves that to its user.
                    raise self.error(event.response.error.message, None, body=None)
                if event.type == "response.output_text.delta":
                    yield event.delta

        with self.client.responses.create(model=model, input=prompt, stream=True) as stream:
            yield stream.response.headers[ID], texts(stream)

    def call(self, model, prompt, streamed):
        tool = {"type": "function", "name": TOOL, "description": "The weather in a city.", "strict": True, "parameters": SCHEMA}
        request = {"model": model, "tools": [tool]}
        if streamed:
            with self.client.responses.stream(**request, input=prompt) as stream:
                response, request_id = stream.get_final_response(), stream._response.headers[ID]
        else:
            response = self.client.responses.create(**request, input=prompt)
            request_id = response._request_id
        [used] = [item for item in response.output if item.type == "function_call"]

        def go_on(said):
            result = {"type": "function_call_output", "call_id": used.call_id, "output": said}
            asked = [item.to_dict() for item in response.output]
            for item in asked:
                item.pop("parsed_arguments", None)
            final = self.client.responses.create(**request, input=[{"role": "user", "content": prompt}, *asked, result])
            return self._answer(final, final._request_id)

        return Call(used.name, json.loads(used.arguments), request_id, go_on)

    def structured(self, model, prompt):
        response = self.client.responses.parse(model=model, input=prompt, text_format=Place)
        return response.output_parsed, response._request_id

    refused = ChatCompletions.refused


class Gemini:
    """PyPI `google-genai`."""

    name = "gemini"
    error = google_errors.APIError

    def __init__(self, gateway):
        self.client = genai.Client(api_key=gateway.key, http_options=types.HttpOptions(base_url=gateway.url))

    def _answer(self, response):
        usage = response.usage_metadata
        text = "".join(part.text for part in response.candidates[0].content.parts if part.text)
        request_id = response.sdk_http_response.headers[ID]
        return Answer(text, usage.prompt_token_count, usage.candidates_token_count, request_id)

    def whole(self, model, prompt):
        return self._answer(self.client.models.generate_content(model=model, contents=prompt))

    def streamed(self, model, prompt):
        chunks = list(self.client.models.generate_content_stream(model=model, contents=prompt))
        text = "".join(chunk.text or "" for chunk in chunks)
        assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
        usage = chunks[-1].usage_metadata
        request_id = chunks[-1].sdk_http_response.headers[ID]
        return Answer(text, usage.prompt_token_count, usage.candidates_token_count, request_id)

    @contextlib.contextmanager
    def begun(self, model, prompt):
        chunks = self.client.models.generate_content_stream(model=model, contents=prompt)
        first = next(chunks)

        def texts():
            if first.text:
                yield first.text
            for chunk in chunks:
                if chunk.text:
                    yield chunk.text

        try:
            yield first.sdk_http_response.headers[ID], texts()
        finally:
            chunks.close()

    def call(self, model, prompt, streamed):
        function = types.FunctionDeclaration(
            name=TOOL,
            description="The weather in a city.",
            parameters_json_schema={name: value for name, value in SCHEMA.items() if name != "additionalProperties"},
        )
        config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[function])])
        contents = [types.Content(role="user", parts=[types.Part(text=prompt)])]
        if streamed:
            chunks = list(self.client.models.generate_content_stream(model=model, contents=contents, config=config))
            parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or []]
            request_id = chunks[-1].sdk_http_response.headers[ID]
        else:
            response = self.client.models.generate_content(model=model, contents=contents, config=config)
            parts = response.candidates[0].content.parts
            request_id = response.sdk_http_response.headers[ID]
        [used] = [part.function_call for part in parts if part.function_call]

        def go_on(said):
            result = types.Part.from_function_response(name=used.name, response={"result": said})
            result.function_response.id = used.id
            asked = types.Content(role="model", parts=[part for part in parts if part.text or part.function_call])
            final = self.client.models.generate_content(
                model=model, contents=[*contents, asked, types.Content(role="user", parts=[result])], config=config
            )
            return self._answer(final)

        return Call(used.name, used.args, request_id, go_on)

    def structured(self, model, prompt):
        config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Place)
        response = self.client.models.generate_content(model=model, contents=prompt, config=config)
        return response.parsed, response.sdk_http_response.headers[ID]

    def refused(self, error):
        headers = error.response.headers
        return Refused(error.code, error.message, headers.get("retry-after"), headers.get(ID))


LIBRARIES = [Messages, ChatCompletions, Responses, Gemini]
