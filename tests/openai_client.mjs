// The openai npm package against the gateway: prints what it got as one line of JSON.
import OpenAI from "openai";

const [, , baseURL, apiKey] = process.argv;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "Where is the Louvre?" }];
const tools = [{ type: "function", function: { name: "look_up", parameters: { type: "object", properties: { city: { type: "string" } } } } }];
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const got = {};

got.chat = (await client.chat.completions.create({ model: "small", messages })).choices[0].message.content;

got.stream = "";
for await (const chunk of await client.chat.completions.create({ model: "small", messages, stream: true, stream_options: { include_usage: true } })) {
  got.stream += chunk.choices[0]?.delta?.content ?? "";
  got.usage = chunk.usage?.total_tokens ?? got.usage;
}

got.searched = "";
const asked = [{ role: "user", content: "What is 6 * 7?" }];
for await (const chunk of await client.chat.completions.create({ model: "auto", messages: asked, stream: true })) {
  got.searched += chunk.choices[0]?.delta?.content ?? "";
}

const called = await client.chat.completions.create({ model: "small", messages, tools });
got.tool = JSON.parse(called.choices[0].message.tool_calls[0].function.arguments).city;

const format = { type: "json_schema", json_schema: { name: "city", strict: true, schema } };
const structured = await client.chat.completions.parse({ model: "small", messages, response_format: format });
got.structured = structured.choices[0].message.parsed.city;

got.dimensions = (await client.embeddings.create({ model: "orchestrator/static", input: "a lantern" })).data[0].embedding.length;
got.response = (await client.responses.create({ model: "small", input: "Where is the Louvre?" })).output_text;

got.responseStream = "";
for await (const event of await client.responses.create({ model: "small", input: "Where?", stream: true })) {
  if (event.type === "response.output_text.delta") got.responseStream += event.delta;
}

got.models = (await client.models.list()).data.map((model) => model.id);

const failures = [
  ["missing", () => client.chat.completions.create({ model: "nothing", messages })],
  ["wrong", () => client.chat.completions.create({ model: "small", messages, temperature: 9 })],
  ["stranger", () => new OpenAI({ baseURL, apiKey: "orc-wrong", maxRetries: 0 }).models.list()],
];
for (const [name, call] of failures) {
  try {
    await call();
  } catch (error) {
    got[name] = [error.constructor.name, error.status, error.code];
  }
}
console.log(JSON.stringify(got));
