"use strict";
(() => {
  const root = document.documentElement;
  const status = document.getElementById("status");
  root.classList.add("js");

  // Light, dark: what the system says, until the button is used.
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    button.setAttribute("aria-pressed", String(dark));
  };
  button.addEventListener("click", () => {
    root.dataset.theme = button.getAttribute("aria-pressed") === "true" ? "light" : "dark";
    show();
  });
  system.addEventListener("change", show);
  show();

  // A cell without a value comes last in either direction; equal ones stay in order.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const value = (cell) => {
    if (cell.dataset.order !== undefined) return Number(cell.dataset.order);
    const text = cell.textContent.trim();
    return text === "" || text === "–" ? null : text;
  };
  const sort = (header) => {
    const table = header.closest("table");
    const headers = Array.from(header.parentElement.children);
    const column = headers.indexOf(header);
    const order = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    const sign = order === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => [value(row.cells[column]), row]);
    rows.sort((one, other) => compare(one[0], other[0], sign));
    body.append(...rows.map(([, row]) => row));
    headers.forEach((other) => other.setAttribute("aria-sort", other === header ? order : "none"));
    status.textContent = `Sorted by ${header.textContent.trim()}, ${order}`;
  };
  document.querySelectorAll("th[aria-sort] > button").forEach((sorter) => {
    sorter.addEventListener("click", () => sort(sorter.parentElement));
  });

  // On paper everything is shown.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = Array.from(document.querySelectorAll("details:not([open])"));
    closed.forEach((part) => { part.open = true; });
  });
  window.addEventListener("afterprint", () => closed.forEach((part) => { part.open = false; }));
})();
