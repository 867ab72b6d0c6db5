// Tables whose rows keep their elements while their values change, so that focus and selection stay.

/**
 * A column: `title`; `text(item)`; and perhaps `number: true`, `head: true` (names the row),
 * `tone(item)` (good, warn, bad, rest), or instead of text `action`: {label, name(item), shown(item), run(item)}.
 */
export class KeyedTable {
  #table;
  #columns;
  #key;
  #rows = new Map();
  #body;

  constructor(table, columns, key) {
    this.#table = table;
    this.#columns = columns;
    this.#key = key;
    const head = document.createElement("thead");
    const row = head.insertRow();
    for (const column of columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = column.title;
      if (column.number) cell.className = "number";
      row.append(cell);
    }
    this.#body = document.createElement("tbody");
    table.replaceChildren(head, this.#body);
    table.dataset.rows = "0";
  }

  /** Shows these items in this order. */
  show(items) {
    const gone = new Set(this.#rows.keys());
    let before = null;
    for (const item of items) {
      const key = this.#key(item);
      gone.delete(key);
      const row = this.#rows.get(key) ?? this.#make(key);
      row.item = item;
      row.update.forEach((update) => update(item));
      const place = before ? before.nextSibling : this.#body.firstChild;
      if (place !== row.element) this.#body.insertBefore(row.element, place);
      before = row.element;
    }
    for (const key of gone) {
      this.#rows.get(key).element.remove();
      this.#rows.delete(key);
    }
    this.#table.dataset.rows = String(items.length);
  }

  #make(key) {
    const element = document.createElement("tr");
    element.dataset.key = key;
    const row = { element, item: null, update: [] };
    for (const column of this.#columns) {
      const cell = document.createElement(column.head ? "th" : "td");
      if (column.head) cell.scope = "row";
      if (column.number) cell.className = "number";
      row.update.push(column.action ? action(cell, column.action, row) : value(cell, column));
      element.append(cell);
    }
    this.#rows.set(key, row);
    return row;
  }
}

function value(cell, column) {
  if (column.tone) cell.classList.add("tag");
  return (item) => {
    const text = column.text(item);
    if (cell.textContent !== text) cell.textContent = text;
    if (column.tone) cell.dataset.tone = column.tone(item);
  };
}

function action(cell, { label, name, shown, run }, row) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await run(row.item);
    } finally {
      button.disabled = false;
    }
  });
  cell.append(button);
  return (item) => {
    button.hidden = !shown(item);
    button.setAttribute("aria-label", name(item));
  };
}
