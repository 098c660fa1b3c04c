// The threshold slider: shows what the server has replayed for each threshold.
(() => {
  "use strict";
  const told = document.getElementById("replayed");
  if (!told) return;
  const steps = JSON.parse(told.textContent);
  const slider = document.getElementById("threshold");
  const now = slider.dataset.now === "" ? null : steps[Number(slider.dataset.now)];
  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  const usd = (value) => `$${value.toFixed(value >= 1 ? 2 : 6)}`;
  const seconds = (value) => `${value.toFixed(2)} s`;
  const shown = { accuracy: percent, usd, latency_s: seconds, changed: percent };
  const checked = (value) =>
    value ? `${percent(value.right)} of ${value.n} (${percent(value.low)} to ${percent(value.high)})` : "too few judged";

  const draw = () => {
    const step = steps[Number(slider.value)];
    document.getElementById("stated").textContent = step.threshold.toFixed(2);
    slider.setAttribute("aria-valuetext", `${step.threshold.toFixed(2)}: ${percent(step.accuracy)}, ${usd(step.usd)} a request`);
    for (const cell of document.querySelectorAll("[data-of]")) {
      const name = cell.dataset.of;
      cell.textContent = name === "checked" ? checked(step.checked) : shown[name](step[name]);
    }
    for (const cell of document.querySelectorAll("[data-change]")) {
      const name = cell.dataset.change;
      if (!now) { cell.textContent = ""; continue; }
      const change = step[name] - now[name];
      const told = name === "accuracy" ? `${(100 * change).toFixed(1)} points` : `${((100 * change) / now[name]).toFixed(0)} %`;
      cell.textContent = Math.abs(change) < 1e-12 ? "as now" : `${change > 0 ? "+" : ""}${told}`;
    }
    const shares = document.createElement("table");
    for (const [name, share] of Object.entries(step.shares).sort((a, b) => b[1] - a[1])) {
      const row = shares.insertRow();
      row.insertCell().textContent = name;
      const cell = row.insertCell();
      cell.className = "n";
      cell.textContent = percent(share);
    }
    document.getElementById("shares").replaceChildren(shares);
    for (const dot of document.querySelectorAll("circle[data-step]")) {
      const isChosen = dot.dataset.step === slider.value;
      dot.classList.toggle("chosen", isChosen);
      dot.setAttribute("r", isChosen ? "6" : "3");
    }
  };
  slider.addEventListener("input", draw);
  draw();
})();
