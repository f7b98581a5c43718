// A list of any length: only the rows in view exist.
"use strict";

class LongList {
  // row(item, number) makes the content of a row; chosen(number) is told what the reader picks.
  constructor(height, row, chosen, label) {
    Object.assign(this, { height, row, chosen, items: [], at: -1 });
    this.filler = make("div", { class: "filler" });
    this.place = make("div", { class: "list", role: "listbox", tabindex: "0", "aria-label": label }, this.filler);
    this.place.addEventListener("scroll", () => this.draw(), { passive: true });
    this.place.addEventListener("click", (event) => {
      const row = event.target.closest("[data-row]");
      if (row) this.pick(Number(row.dataset.row), true);
    });
    new ResizeObserver(() => this.draw()).observe(this.place);
  }

  show(items, at) {
    this.items = items;
    this.filler.style.height = `${items.length * this.height}px`;
    this.at = items.length ? Math.max(0, Math.min(at, items.length - 1)) : -1;
    this.place.scrollTop = 0;
    this.reveal();
    this.draw();
  }

  pick(number, opened = false) {
    if (!this.items.length) return;
    this.at = Math.max(0, Math.min(number, this.items.length - 1));
    this.reveal();
    this.draw();
    this.chosen(this.at, opened);
  }

  reveal() {
    const [top, room] = [this.at * this.height, this.place.clientHeight];
    if (top < this.place.scrollTop) this.place.scrollTop = top;
    else if (top + this.height > this.place.scrollTop + room) this.place.scrollTop = top + this.height - room;
  }

  draw() {
    const first = Math.max(0, Math.floor(this.place.scrollTop / this.height) - 4);
    const last = Math.min(this.items.length, Math.ceil((this.place.scrollTop + this.place.clientHeight) / this.height) + 4);
    const rows = [];
    for (let number = first; number < last; number++) {
      const picked = number === this.at;
      const row = make("div", { class: "row", role: "option", id: `${this.place.id}-${number}`, "aria-selected": String(picked), "data-row": number }, ...this.row(this.items[number], number));
      row.style.top = `${number * this.height}px`;
      row.style.height = `${this.height}px`;
      rows.push(row);
    }
    this.filler.replaceChildren(...rows);
    if (this.at >= 0) this.place.setAttribute("aria-activedescendant", `${this.place.id}-${this.at}`);
  }
}
