// What `test_libraries.py` asks of the vendors' TypeScript libraries: one JSON document on standard output.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.env.CLIENTS_NODE}/package.json`));
const load = async (name) => (await import(pathToFileURL(require.resolve(name)).href)).default;
const [what, model] = process.argv.slice(2);
const messages = [{ role: "user", content: "Say something." }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

const tasks = {
  async anthropic() {
    const Anthropic = await load("@anthropic-ai/sdk");
    const client = new Anthropic({ maxRetries: 0 });
    const plain = await client.messages.create({ model, max_tokens: 64, messages });
    const streamed = await client.messages.stream({ model, max_tokens: 64, messages }).finalMessage();
    return { plain: plain.content[0].text, streamed: streamed.content[0].text, usage: streamed.usage };
  },
  async chat() {
    const OpenAI = await load("openai");
    const client = new OpenAI({ maxRetries: 0 });
    const plain = await client.chat.completions.create({ model, messages });
    const stream = await client.chat.completions.create({
      model, messages, stream: true, stream_options: { include_usage: true },
    });
    let streamed = "", usage = null;
    for await (const chunk of stream) {
      streamed += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    return { plain: plain.choices[0].message.content, streamed, usage };
  },
  async responses() {
    const OpenAI = await load("openai");
    const client = new OpenAI({ maxRetries: 0 });
    const plain = await client.responses.create({ model, input: "Say something." });
    const stream = await client.responses.create({ model, input: "Say something.", stream: true });
    let streamed = "", usage = null;
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") streamed += event.delta;
      if (event.type === "response.completed") usage = event.response.usage;
    }
    return { plain: plain.output_text, streamed, usage };
  },
  async tool() {
    const OpenAI = await load("openai");
    const client = new OpenAI({ maxRetries: 0 });
    const tools = [{ type: "function", function: { name: "weather", parameters } }];
    const asked = await client.chat.completions.create({ model, messages, tools });
    const { message } = asked.choices[0];
    const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "rain" };
    const told = await client.chat.completions.create({ model, messages: [...messages, message, result], tools });
    return { called: message.tool_calls[0].function, finish: told.choices[0].finish_reason };
  },
  async structured() {
    const OpenAI = await load("openai");
    const client = new OpenAI({ maxRetries: 0 });
    const schema = { ...parameters, additionalProperties: false };
    const response_format = { type: "json_schema", json_schema: { name: "place", strict: true, schema } };
    const answer = await client.chat.completions.create({ model, messages, response_format });
    return { answer: JSON.parse(answer.choices[0].message.content) };
  },
  async cancelled() {
    const Anthropic = await load("@anthropic-ai/sdk");
    const client = new Anthropic({ maxRetries: 0 });
    const stream = client.messages.stream({ model, max_tokens: 64, messages });
    for await (const event of stream) {
      if (event.type === "content_block_delta") break;
    }
    return { cancelled: true };
  },
  async refused() {
    const Anthropic = await load("@anthropic-ai/sdk");
    const client = new Anthropic({ maxRetries: 0 });
    try {
      await client.messages.create({ model: "nobody-has-this", max_tokens: 64, messages });
    } catch (error) {
      return { kind: error.constructor.name, status: error.status, message: error.message };
    }
    throw new Error("it was not refused");
  },
};

console.log(JSON.stringify(await tasks[what]()));
