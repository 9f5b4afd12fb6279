"use strict";
(() => {
  const [form, name, waiting, found] = ["filter", "name", "waiting", "found"].map((id) => document.getElementById(id));
  const tiles = [...document.querySelectorAll(".t i")].map((tile) => {
    const group = tile.closest(".g").querySelector("h4");
    return { tile, text: `${group ? group.textContent : ""} ${tile.title}`.toLowerCase(), ready: !/\b[wonl]\b/.test(tile.className) };
  });
  const rows = [...document.querySelectorAll(".filtered tbody tr")].map((row) => ({ row, text: row.textContent.toLowerCase() }));
  const show = () => {
    const words = name.value.trim().toLowerCase();
    let shown = 0;
    for (const { tile, text, ready } of tiles) {
      const fits = text.includes(words) && !(waiting.checked && ready);
      tile.classList.toggle("dim", !fits);
      shown += fits;
    }
    for (const { row, text } of rows) row.hidden = !text.includes(words);
    found.textContent = words || waiting.checked ? `${shown} of ${tiles.length} machines` : "";
  };
  name.addEventListener("input", show);
  waiting.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
})();
