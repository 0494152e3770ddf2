"use strict";
// Elements of the page. Text goes in as text, so that names from scenarios are never markup.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

let lastId = 0;

// A labelled choice; `changed` gets the new value.
function choice(label, options, value, changed) {
  const id = `choice-${++lastId}`;
  const select = element("select", { id, onchange: () => changed(select.value) },
    options.map((option) => element("option", { value: option.value, selected: option.value === value },
      option.label)));
  return element("span", { class: "choice" }, element("label", { for: id }, label), select);
}

function button(label, pressed, attributes = {}) {
  return element("button", { type: "button", onclick: pressed, ...attributes }, label);
}

const MOST_TABLE_ROWS = 200;

// columns: {title, text} where text means words, which line up left; the first cell of a row is its heading.
function table({ caption, columns, rows, count = rows.length }) {
  const head = element("tr", {}, columns.map((column) => element("th",
    { scope: "col", class: column.text ? "text" : null }, column.title)));
  const body = rows.slice(0, MOST_TABLE_ROWS).map((row) => element("tr", {}, row.map((cell, place) => {
    const shown = cell === null || cell === undefined || cell === "" ? ABSENT : String(cell);
    const look = columns[place].text ? "text" : null;
    const [first, ...others] = shown.split("\n");
    const content = [first, ...others.map((line) => element("span", { class: "range" }, "\n" + line))];
    return place === 0 ? element("th", { scope: "row", class: look }, content)
      : element("td", { class: look }, content);
  })));
  const note = count > MOST_TABLE_ROWS ? ` The first ${MOST_TABLE_ROWS} of ${whole(count)} rows.` : "";
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table: ${caption}` },
    element("table", {}, element("caption", {}, caption + note), element("thead", {}, head),
      element("tbody", {}, body)));
}

// Columns that call for no value in any row are left out.
function withoutEmptyColumns({ columns, rows, ...others }) {
  const kept = columns.map((_, place) => place === 0 || rows.some((row) => ![null, undefined, "",
    ABSENT].includes(row[place])));
  return { ...others, columns: columns.filter((_, place) => kept[place]),
    rows: rows.map((row) => row.filter((_, place) => kept[place])) };
}
