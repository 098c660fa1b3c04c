// Keeps the tables of the live page up to date. Every text is set as text, never as HTML.
(() => {
  "use strict";
  const base = document.querySelector("a.brand").getAttribute("href");
  const state = document.getElementById("state");
  const seen = new Set([...document.querySelectorAll("#ended a")].map((a) => a.getAttribute("href").split("/").pop()));

  const cell = (row, text, kind = "") => {
    const found = row.insertCell();
    found.className = kind;
    found.textContent = text;
    return found;
  };
  const usd = (value) => (value === null ? "unknown" : `$${value.toFixed(value >= 1 ? 2 : 6)}`);
  const status = (row) =>
    row.error ? [row.error, "bad"] : row.cached ? ["cached", ""] : row.escalated ? ["escalated", ""] : ["ok", "good"];

  const source = new EventSource(`${base}live/events`);
  source.onopen = () => { state.textContent = "up to date"; };
  source.onerror = () => { state.textContent = "connecting again"; };
  source.onmessage = (event) => {
    const told = JSON.parse(event.data);
    const named = (id) => told.names[id] ?? id;
    const running = document.getElementById("running");
    running.replaceChildren();
    for (const each of told.running) {
      const row = running.insertRow();
      cell(row, `${each.seconds} s`);
      cell(row, each.model);
      cell(row, named(each.key));
      cell(row, each.api);
      cell(row, each.id, "mono");
    }
    document.getElementById("running-count").textContent = `(${told.running.length})`;
    const ended = document.getElementById("ended");
    for (const each of told.ended.reverse()) {
      if (seen.has(each.id)) continue;
      seen.add(each.id);
      document.getElementById("quiet")?.remove();
      const row = ended.insertRow(0);
      const link = document.createElement("a");
      link.href = `${base}traces/${each.id}`;
      link.textContent = `${new Date(each.at * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
      cell(row, "", "nowrap").append(link);
      cell(row, each.model);
      cell(row, named(each.key));
      cell(row, each.api);
      const [text, kind] = status(each);
      const tag = document.createElement("span");
      tag.className = `tag ${kind}`;
      tag.textContent = text;
      cell(row, "").append(tag);
      cell(row, usd(each.cost_usd), "n");
      cell(row, `${each.latency_s.toFixed(2)} s`, "n");
      while (ended.rows.length > 200) ended.deleteRow(-1);
    }
  };
})();
