// The openai and anthropic npm packages: their helpers for streams and tools.
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const { GATEWAY, KEY } = process.env;
const got = {};
const messages = [{ role: "user", content: "hello" }];
const schema = z.object({ city: z.string(), people: z.number() });

const openai = new OpenAI({ baseURL: `${GATEWAY}/v1`, apiKey: KEY, maxRetries: 0 });
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { type: "function", function: { name: "weather", parse: JSON.parse, parameters, function: ({ city }) => `sunny in ${city}` } };
got["openai: runTools"] = await openai.chat.completions.runTools({ model: "model", messages, tools: [weather] }).finalContent();
const streamed = openai.chat.completions.runTools({ model: "model", messages, tools: [weather], stream: true });
got["openai: runTools, streamed"] = (await streamed.finalContent()).trim();
const form = { model: "model", messages, response_format: zodResponseFormat(schema, "city") };
got["openai: parse"] = (await openai.chat.completions.parse(form)).choices[0].message.parsed;
got["openai: stream"] = (await openai.chat.completions.stream({ model: "model", messages }).finalContent()).trim();
got["openai: responses.stream"] = (await openai.responses.stream({ model: "model", input: "hello" }).finalResponse()).output_text.trim();

const anthropic = new Anthropic({ baseURL: GATEWAY, apiKey: KEY, maxRetries: 0 });
const asked = { model: "model", max_tokens: 50, messages };
got["anthropic: stream"] = (await anthropic.messages.stream(asked).finalText()).trim();
const tool = betaZodTool({ name: "weather", description: "w", inputSchema: z.object({ city: z.string() }), run: ({ city }) => `sunny in ${city}` });
const ran = await anthropic.beta.messages.toolRunner({ ...asked, tools: [tool] });
got["anthropic: toolRunner"] = ran.content.at(-1).text;
const calls = anthropic.messages.stream({ ...asked, tools: [{ name: "weather", input_schema: parameters }] });
got["anthropic: streamed call"] = (await calls.finalMessage()).content[0].input;
console.log(JSON.stringify(got));
