// What `test_libraries.py` asks of the vendors' TypeScript libraries: one JSON document on standard output.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.env.CLIENTS_NODE}/package.json`));
const load = async (name) => (await import(pathToFileURL(require.resolve(name)).href)).default;
const [dialect, task, model] = process.argv.slice(2);
const said = "Say something.";
const messages = [{ role: "user", content: said }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const name = "weather";

// Reads a stream for what it says, and for the error it ends with.
async function untilItFails(stream, textOf) {
  let text = "";
  try {
    for await (const event of stream) text += textOf(event) ?? "";
  } catch (error) {
    return { said: text, error: error.message };
  }
  throw new Error(`it ended as if it were complete, after: ${text}`);
}

// The error that a refused request is.
async function refused(call) {
  try {
    await call();
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, message: error.message };
  }
  throw new Error("it was not refused");
}

async function anthropic() {
  const client = new (await load("@anthropic-ai/sdk"))({ maxRetries: 0 });
  const request = { model, max_tokens: 64, messages };
  const textOf = (event) => event.type === "content_block_delta" ? event.delta.text : "";
  return {
    async answers() {
      const plain = await client.messages.create(request);
      const streamed = await client.messages.stream(request).finalMessage();
      return { plain: plain.content[0].text, streamed: streamed.content[0].text, usage: streamed.usage };
    },
    async tool() {
      const tools = [{ name, input_schema: parameters }];
      const asked = await client.messages.stream({ ...request, tools }).finalMessage();
      const call = asked.content.find((block) => block.type === "tool_use");
      const result = { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "rain" }] };
      const history = [...messages, { role: "assistant", content: asked.content }, result];
      const told = await client.messages.create({ ...request, tools, messages: history });
      return { name: call.name, input: call.input, text: told.content[0].text };
    },
    async cut() {
      return untilItFails(await client.messages.create({ ...request, stream: true }), textOf);
    },
    async cancelled() {
      const stream = client.messages.stream(request);
      for await (const event of stream) {
        if (event.type === "content_block_delta") break;
      }
      return { cancelled: true };
    },
    refused: () => refused(() => client.messages.create(request)),
  };
}

async function chat() {
  const client = new (await load("openai"))({ maxRetries: 0 });
  const request = { model, messages };
  const textOf = (chunk) => chunk.choices[0]?.delta?.content;
  return {
    async answers() {
      const plain = await client.chat.completions.create(request);
      const stream = await client.chat.completions.create({
        ...request, stream: true, stream_options: { include_usage: true },
      });
      let streamed = "", usage = null;
      for await (const chunk of stream) {
        streamed += textOf(chunk) ?? "";
        usage = chunk.usage ?? usage;
      }
      return { plain: plain.choices[0].message.content, streamed, usage };
    },
    async tool() {
      const tools = [{ type: "function", function: { name, parameters } }];
      const { choices } = await client.chat.completions.stream({ ...request, tools }).finalChatCompletion();
      const { content, tool_calls: [{ id, function: call }] } = choices[0].message;
      const asked = { role: "assistant", content, tool_calls: [{ id, type: "function", function: call }] };
      const result = { role: "tool", tool_call_id: id, content: "rain" };
      const told = await client.chat.completions.create({ ...request, messages: [...messages, asked, result], tools });
      return { name: call.name, input: JSON.parse(call.arguments), text: told.choices[0].message.content };
    },
    async structured() {
      const schema = { ...parameters, additionalProperties: false };
      const response_format = { type: "json_schema", json_schema: { name: "place", strict: true, schema } };
      const answer = await client.chat.completions.create({ ...request, response_format });
      return { answer: JSON.parse(answer.choices[0].message.content) };
    },
    async cut() {
      return untilItFails(await client.chat.completions.create({ ...request, stream: true }), textOf);
    },
    refused: () => refused(() => client.chat.completions.create(request)),
  };
}

async function responses() {
  const client = new (await load("openai"))({ maxRetries: 0 });
  const request = { model, input: said };
  const textOf = (event) => {
    // The library leaves that to its user.
    if (event.type === "response.failed") throw new Error(event.response.error.message);
    return event.type === "response.output_text.delta" ? event.delta : "";
  };
  return {
    async answers() {
      const plain = await client.responses.create(request);
      const stream = await client.responses.create({ ...request, stream: true });
      let streamed = "", usage = null;
      for await (const event of stream) {
        streamed += textOf(event);
        if (event.type === "response.completed") usage = event.response.usage;
      }
      return { plain: plain.output_text, streamed, usage };
    },
    async tool() {
      const tools = [{ type: "function", name, parameters, strict: false }];
      const asked = await client.responses.stream({ ...request, tools }).finalResponse();
      const call = asked.output.find((item) => item.type === "function_call");
      const result = { type: "function_call_output", call_id: call.call_id, output: "rain" };
      const output = asked.output.map(({ parsed_arguments, ...item }) => item);
      const told = await client.responses.create({ ...request, input: [...messages, ...output, result], tools });
      return { name: call.name, input: JSON.parse(call.arguments), text: told.output_text };
    },
    async cut() {
      return untilItFails(await client.responses.create({ ...request, stream: true }), textOf);
    },
    refused: () => refused(() => client.responses.create(request)),
  };
}

const tasks = await { anthropic, chat, responses }[dialect]();
console.log(JSON.stringify(await tasks[task]()));
