"use strict";
// The frame of a figure: heading, what it shows, its finding in words, controls, picture, and the table behind it.
//
// A figure answers, given what is chosen in its controls: about (what it shows), controls, absent (why there is
// no picture), finding (in words), height (of the plot), spec (for Vega), tip (at a point of the plot), table.

const figures = [];

class Figure {
  constructor(answers) {
    this.answers = answers;
    this.chosen = { ...answers.chosen };
    this.drawn = false;
    this.view = null;
    const { id } = answers;
    this.findingLine = element("p", { class: "finding", id: `${id}-finding` });
    this.controls = element("div", { class: "controls" });
    this.plot = element("div", { class: "plot" });
    this.picture = element("div", { class: "picture", role: "img" }, this.plot);
    this.absence = element("p", { class: "absent", hidden: true });
    this.rows = element("div", { class: "rows" });
    this.details = element("details", { class: "table", ontoggle: () => this.fillTable() },
      element("summary", {}, "Table", element("span", { class: "unseen" }, `: ${answers.title}`)), this.rows);
    this.element = element("figure", { id, class: answers.half ? "half" : null, "aria-labelledby": `${id}-title` },
      element("figcaption", {}, element("div", { class: "heading" },
        element("h3", { id: `${id}-title` }, answers.title),
        button("Save as SVG", () => this.save(), { class: "save", "aria-label": `Save as SVG: ${answers.title}` })),
        element("p", { class: "about" }, answers.about), this.findingLine),
      this.controls, this.picture, this.absence, this.details);
    this.plot.addEventListener("pointermove", (event) => this.showTip(event));
    this.plot.addEventListener("pointerdown", (event) => this.showTip(event));
    this.plot.addEventListener("pointerleave", () => this.hideTip());
    this.fillControls();
    this.describe();
    figures.push(this);
  }

  // Of the whole drawing; on paper a page's width, whatever the window's is.
  width() {
    if (onPaper()) return this.answers.half ? 340 : 690;
    return Math.max(260, Math.floor(this.picture.clientWidth));
  }

  fillControls() {
    const controls = (this.answers.controls?.(this) ?? []).filter((control) => control !== null);
    this.controls.replaceChildren(...controls);
    this.controls.hidden = !controls.length;
  }

  choose(changes) {
    Object.assign(this.chosen, changes);
    this.describe();
    this.draw();
    if (this.details.open) this.fillTable();
  }

  describe() {
    const why = this.answers.absent?.(this.chosen) ?? null;
    this.absentNow = why !== null;
    this.absence.hidden = !this.absentNow;
    this.absence.textContent = why ?? "";
    this.picture.hidden = this.details.hidden = this.absentNow;
    this.element.classList.toggle("empty", this.absentNow);
    const finding = this.absentNow ? "" : this.answers.finding(this.chosen);
    this.findingLine.textContent = finding;
    this.findingLine.hidden = finding === "";
    this.picture.setAttribute("aria-label", `${this.answers.title}. ${finding}`.trim());
    if (!this.absentNow) this.plot.style.minHeight = `${this.answers.height(this.chosen, 900) + 60}px`;
  }

  fillTable() {
    if (!this.details.open || this.absentNow) return;
    this.rows.replaceChildren(table(this.answers.table(this.chosen)));
  }

  spec(theme, width) {
    return {
      width, padding: 2, autosize: { type: "fit-x", contains: "padding" },
        height: this.answers.height(this.chosen, width),
      config: vegaConfig(theme), ...this.answers.spec(this.chosen, theme, width),
    };
  }

  draw() {
    this.hideTip();
    if (this.view) this.view.finalize();
    this.view = null;
    this.plot.replaceChildren();
    this.drawn = true;
    if (this.absentNow) return;
    this.drawnFor = { theme: currentTheme(), width: this.width() };
    this.view = new vega.View(vega.parse(this.spec(this.drawnFor.theme, this.drawnFor.width)), {
      renderer: this.answers.renderer ?? "svg", container: this.plot, hover: false, logLevel: 1,
    });
    this.view.run();
    this.plot.style.minHeight = "";
    this.answers.afterDraw?.(this);
  }

  // Where the theme or the width is another than it was drawn for.
  refresh() {
    if (!this.drawn || this.absentNow) return;
    const was = this.drawnFor;
    if (was.theme !== currentTheme() || Math.abs(was.width - this.width()) > 2) this.draw();
  }

  // Saved on white, with its title and finding inside.
  async save() {
    const view = new vega.View(vega.parse(this.spec(LIGHT, this.width())), { renderer: "none", logLevel: 1 });
    const drawing = await view.toSVG();
    view.finalize();
    const parsed = new DOMParser().parseFromString(drawing, "image/svg+xml");
    const name = (tag, text) => Object.assign(parsed.createElementNS("http://www.w3.org/2000/svg", tag),
      { textContent: text });
    parsed.documentElement.prepend(name("title", this.answers.title), name("desc", this.findingLine.textContent));
    parsed.documentElement.setAttribute("role", "img");
    const address = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(parsed)],
      { type: "image/svg+xml" }));
    element("a", { href: address, download: `${this.answers.id}.svg` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }

  // A pointer's place within the plot's axes.
  point(event) {
    const drawing = this.plot.querySelector("svg, canvas").getBoundingClientRect();
    const [left, top] = this.view.origin();
    const inset = this.view.padding();
    return { x: event.clientX - drawing.left - left - inset.left, y: event.clientY - drawing.top - top - inset.top };
  }

  showTip(event) {
    if (!this.view || !this.answers.tip) return;
    const { x, y } = this.point(event);
    const inside = x >= 0 && y >= 0 && x <= this.view.width() && y <= this.view.height();
    const told = inside ? this.answers.tip(this.chosen, this.view, x, y) : null;
    if (told) tipAt(event, told);
    else this.hideTip();
  }

  hideTip() {
    hideTip();
    this.answers.tipGone?.(this.view);
  }
}

// told: {title, lines: [[colour or null, text]]}
function tipAt(event, told) {
  const tip = document.getElementById("tip");
  tip.replaceChildren(element("strong", {}, told.title), ...told.lines.map(([colour, text]) => {
    const swatch = element("i", {});
    swatch.style.background = colour ?? "transparent";
    return element("span", {}, colour ? swatch : "", text);
  }));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 14 + width > window.innerWidth - 8 ? event.clientX - width - 14 : event.clientX + 14;
  const top = event.clientY + 16 + height > window.innerHeight - 8 ? event.clientY - height - 12 : event.clientY + 16;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

function hideTip() {
  document.getElementById("tip").hidden = true;
}

function runChoice(figure, runs) {
  if (runs.length < 2) return null;
  return choice("Run", runs.map((run, place) => ({ value: String(place), label: run.name })), figure.chosen.run,
    (run) => figure.answers.runChosen ? figure.answers.runChosen(figure, run) : figure.choose({ run }));
}
