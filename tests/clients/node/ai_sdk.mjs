// Vercel's AI SDK over its providers for OpenAI (responses and chat), Anthropic and compatible servers.
import { embed, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { z } from "zod";

const baseURL = `${process.env.GATEWAY}/v1`;
const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const got = {};
const models = (apiKey, name) => ({
  responses: createOpenAI({ baseURL, apiKey }).responses(name),
  chat: createOpenAI({ baseURL, apiKey }).chat(name),
  anthropic: createAnthropic({ baseURL, apiKey })(name),
  compatible: createOpenAICompatible({ baseURL, apiKey, name: "gateway", supportsStructuredOutputs: true, includeUsage: true })(name),
});
const weather = tool({ description: "weather", inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` });
const schema = z.object({ city: z.string(), people: z.number() });

for (const [name, model] of Object.entries(models(process.env.KEY, "model"))) {
  const asked = { model, maxRetries: 0, onError: () => {} };
  const said = await generateText({ ...asked, prompt: "hello" });
  got[`${name}: chat`] = [said.text, said.usage.outputTokens, said.finishReason];
  const stream = streamText({ ...asked, prompt: "hello" });
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  got[`${name}: stream`] = [text.trim(), (await stream.usage).outputTokens, await stream.finishReason];
  const called = await generateText({ ...asked, prompt: "weather?", tools: { weather }, stopWhen: stepCountIs(3) });
  got[`${name}: tools`] = [called.text, called.steps.length];
  const calling = streamText({ ...asked, prompt: "weather?", tools: { weather }, stopWhen: stepCountIs(3) });
  got[`${name}: streamed tools`] = [(await calling.text).trim(), (await calling.steps).length];
  got[`${name}: object`] = (await generateObject({ ...asked, schema, prompt: "a city" })).object;
  const object = streamObject({ ...asked, schema, prompt: "a city" });
  for await (const _ of object.partialObjectStream);
  got[`${name}: streamed object`] = await object.object;
  const content = [{ type: "text", text: "what?" }, { type: "image", image: Buffer.from(PIXEL, "base64") }];
  got[`${name}: picture`] = (await generateText({ ...asked, messages: [{ role: "user", content }] })).text;
}
for (const [name, model] of Object.entries(models(process.env.POOR, "model"))) {
  const error = await generateText({ model, prompt: "hello", maxRetries: 2 }).catch((error) => error);
  got[`${name}: spent`] = [error.statusCode, error.isRetryable];
}
const embedding = await embed({ model: createOpenAI({ baseURL, apiKey: process.env.KEY }).embedding("embedder"), value: "x" });
got.embedding = embedding.embedding.length;
console.log(JSON.stringify(got));
