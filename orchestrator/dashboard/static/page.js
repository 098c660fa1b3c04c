// Of every page: the theme, moments in the reader's own zone, forms that ask before they delete, copying.
(() => {
  "use strict";
  const root = document.documentElement;
  const kept = localStorage.getItem("theme");
  if (kept) root.dataset.theme = kept;
  document.addEventListener("DOMContentLoaded", () => {
    const theme = document.getElementById("theme");
    theme?.addEventListener("click", () => {
      const isDark = root.dataset.theme
        ? root.dataset.theme === "dark"
        : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = isDark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
    });
    for (const time of document.querySelectorAll("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (!Number.isNaN(moment.getTime())) {
        time.title = `${moment.toLocaleString()} (${Intl.DateTimeFormat().resolvedOptions().timeZone})`;
      }
    }
    for (const form of document.querySelectorAll("form[data-ask]")) {
      form.addEventListener("submit", (event) => {
        if (!confirm(form.dataset.ask)) event.preventDefault();
      });
    }
    for (const select of document.querySelectorAll("select[data-go]")) {
      select.addEventListener("change", () => select.form.requestSubmit());
    }
    for (const button of document.querySelectorAll("button[data-copy]")) {
      button.addEventListener("click", async () => {
        const from = document.getElementById(button.dataset.copy);
        await navigator.clipboard?.writeText(from.innerText);
        button.textContent = "Copied";
      });
    }
  });
})();
