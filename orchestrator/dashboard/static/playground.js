// The playground: asks through the page's own address and shows the search as it thinks. Texts are set as text only.
(() => {
  "use strict";
  const base = document.querySelector("a.brand").getAttribute("href");
  const form = document.getElementById("ask");
  const panels = Object.fromEntries([...document.querySelectorAll("[data-which]")].map((p) => [p.dataset.which, p]));
  const keep = document.getElementById("keep");
  const stop = document.getElementById("stop");
  let running = null;
  const results = {};

  const field = (panel, name) => panel.querySelector(`[name=${name}]`).value;
  const shown = {
    model: (v) => v,
    verifier: (v) => `by ${v}`,
    reason: (v) => v,
    cost_usd: (v) => `$${v.toFixed(6)}`,
    seconds: (v) => `${v.toFixed(2)} s`,
    output_tokens: (v) => `${v} tokens written`,
    records: (v) => `${v} facts`,
    score: (v) => `score ${v.toFixed(2)}`,
    passed: (v) => (v ? "passed" : "failed"),
    confidence: (v) => `P(correct) ${(100 * v).toFixed(1)} %`,
  };
  const described = (event) => {
    const told = Object.keys(shown).filter((name) => event[name] !== null && event[name] !== undefined);
    return `${event.at_s.toFixed(2)} s  ${event.kind}: ${told.map((name) => shown[name](event[name])).join(", ")}`;
  };
  const body = (panel) => {
    const options = {};
    if (field(panel, "strategy")) options.strategy = field(panel, "strategy");
    if (field(panel, "scope")) options.scope = field(panel, "scope");
    if (field(panel, "quality")) options.quality = Number(field(panel, "quality"));
    if (field(panel, "max_cost_usd")) options.budget = { usd: Number(field(panel, "max_cost_usd")) };
    const messages = [{ role: "user", content: form.question.value }];
    if (form.system.value.trim()) messages.unshift({ role: "system", content: form.system.value });
    return { model: field(panel, "model"), messages, ...(Object.keys(options).length ? { orchestrator: options } : {}) };
  };
  const showCode = (panel) => {
    const { orchestrator, ...asked } = body(panel);
    const extra = orchestrator ? `,\n    extra_body=${JSON.stringify({ orchestrator })}` : "";
    panel.querySelector(".python").textContent =
      `from openai import OpenAI\n\nclient = OpenAI(base_url="${location.origin}/v1", api_key="YOUR_KEY")\n` +
      `answer = client.chat.completions.create(\n    model=${JSON.stringify(asked.model)},\n    messages=${JSON.stringify(asked.messages)}${extra},\n)\n` +
      "print(answer.choices[0].message.content)";
    const quoted = JSON.stringify(body(panel)).replaceAll("'", "'\\''");
    panel.querySelector(".curl").textContent =
      `curl ${location.origin}/v1/chat/completions -H "authorization: Bearer $KEY" \\\n  -H "content-type: application/json" -d '${quoted}'`;
  };

  const read = async (panel, signal) => {
    const events = panel.querySelector(".events");
    const answer = panel.querySelector(".stream");
    const told = panel.querySelector(".told");
    events.replaceChildren();
    answer.textContent = "";
    told.textContent = "asking";
    const began = performance.now();
    const asked = { question: form.question.value, system: form.system.value };
    for (const name of ["model", "strategy", "quality", "max_cost_usd", "scope"]) asked[name] = field(panel, name);
    const fail = (text) => { told.textContent = text; return { ...asked, error: text }; };
    const response = await fetch(`${base}playground/ask`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-form-token": form.dataset.token, accept: "application/json" },
      body: JSON.stringify(asked),
      signal,
    });
    if (!response.ok) return fail((await response.json()).error.message);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let details = null;
    const take = (block) => {
      const data = block.split("\n").filter((l) => l.startsWith("data:")).map((l) => l.slice(5).trim()).join("\n");
      if (!data || data === "[DONE]") return null;
      const value = JSON.parse(data);
      if (block.includes("event: orchestrator.progress")) {
        const item = document.createElement("li");
        item.textContent = described(value);
        events.append(item);
        return null;
      }
      if (value.error) return value.error.message;
      answer.textContent += value.choices?.[0]?.delta?.content ?? value.choices?.[0]?.delta?.refusal ?? "";
      if (value.orchestrator) details = value.orchestrator;
      return null;
    };
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      rest += value;
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const error = take(block) ?? null;
        if (error) return fail(error);
      }
    }
    if (!answer.textContent && !details && rest.trim().startsWith("{")) return fail(JSON.parse(rest).error.message);
    const parts = [`${((performance.now() - began) / 1000).toFixed(2)} s`];
    if (details) {
      parts.unshift(`by ${details.route.chosen}: ${details.route.reason}`);
      if (details.confidence !== null) parts.push(`P(correct) ${(100 * details.confidence).toFixed(1)} %`);
      parts.push(details.cost_usd === null ? "price unknown" : `$${details.cost_usd.toFixed(6)}`);
    }
    const summary = parts.join(" · ");
    told.textContent = summary;
    if (details) {
      const link = document.createElement("a");
      link.href = `${base}traces/${details.trace_id}`;
      link.textContent = "its trace";
      told.append(" · ", link);
    }
    return { ...asked, answer: answer.textContent, summary, trace: details?.trace_id };
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    running = new AbortController();
    stop.disabled = false;
    const chosen = document.getElementById("only").checked ? ["a"] : ["a", "b"];
    await Promise.all(chosen.map(async (which) => {
      showCode(panels[which]);
      try {
        results[which] = await read(panels[which], running.signal);
      } catch (error) {
        panels[which].querySelector(".told").textContent = error.name === "AbortError" ? "stopped" : "the gateway cannot be reached";
      }
    }));
    stop.disabled = true;
    keep.querySelector("button").disabled = !results.a;
    keep.comparison.value = JSON.stringify({ question: form.question.value, system: form.system.value, ...results });
  });
  stop.addEventListener("click", () => running?.abort());
  for (const panel of Object.values(panels)) {
    panel.addEventListener("input", () => showCode(panel));
    showCode(panel);
  }
  const opened = document.getElementById("shown");
  if (opened) {
    const kept = JSON.parse(opened.textContent);
    for (const [which, panel] of Object.entries(panels)) {
      const one = kept[which];
      if (!one) continue;
      for (const name of ["model", "strategy", "quality", "max_cost_usd", "scope"]) {
        if (one[name] !== undefined) panel.querySelector(`[name=${name}]`).value = one[name];
      }
      panel.querySelector(".stream").textContent = one.answer ?? one.error ?? "";
      panel.querySelector(".told").textContent = one.summary ?? "";
      showCode(panel);
    }
  }
})();
