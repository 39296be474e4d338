// Lines over time or size, each with a legend that names the values, a sentence for screen readers, and a table.

/* global uPlot */

const HEIGHT = 200;
const dark = matchMedia("(prefers-color-scheme: dark)");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Elements with text or children, never markup from outside. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Sets an element's text, and the number it stands for, for machines. */
export function tell(id, text, raw) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
  if (raw !== undefined) element.dataset.raw = String(raw);
  return element;
}

/** Shows why there is nothing, or what there is. */
export function fill(id, why, shown) {
  const empty = document.getElementById(`${id}-empty`);
  empty.hidden = !why;
  if (why && empty.textContent !== why) empty.textContent = why;
  for (const element of shown) document.getElementById(element).hidden = Boolean(why);
}

const charts = new Set();
dark.addEventListener("change", () => charts.forEach((chart) => chart.build()));
new ResizeObserver(() => charts.forEach((chart) => chart.resize())).observe(document.body);

/**
 * @typedef {object} Line
 * @property {string} name as the legend has it
 * @property {string} color a custom property of the style sheet
 * @property {number[]} [dash] lines are told apart by more than their colour
 * @property {boolean} [edge] an edge of a band, without a line or a legend of its own
 * @property {boolean} [dots] whether its points are marked
 */
export class Chart {
  /**
   * @param {string} id of the elements `id-chart`, `id-legend`, `id-table`
   * @param {{lines: Line[], band?: [number, number], y: (value: number) => string, x: (value: number) => string, axis: string,
   *   time?: boolean, log?: boolean, height?: number, range?: (low: number, high: number) => [number, number]}} options
   */
  constructor(id, options) {
    this.options = options;
    this.root = document.getElementById(`${id}-chart`);
    this.legend = document.getElementById(`${id}-legend`);
    this.table = document.getElementById(`${id}-table`);
    this.details = this.table.closest("details");
    this.data = null;
    this.plot = null;
    this.root.setAttribute("role", "img");
    this.details.addEventListener("toggle", () => this.tabulate());
    charts.add(this);
  }

  /** @param {(number | null)[][]} data x, then each line */
  set(data) {
    this.data = data;
    if (this.plot) this.plot.setData(data);
    else this.build();
    this.value(null);
    this.root.setAttribute("aria-label", this.describe());
    this.tabulate();
  }

  /** Another name for a line, such as that of a policy. */
  rename(at, name) {
    this.options.lines[at].name = name;
  }

  build() {
    if (!this.data) return;
    this.plot?.destroy();
    const { lines, band, y, x, time, log } = this.options;
    const axis = { stroke: color("soft"), font: "12px system-ui, sans-serif", ticks: { show: false } };
    const grid = { stroke: color("grid"), width: 1 };
    const series = lines.map(({ color: name, dash, edge, dots }) => ({
      stroke: edge ? "transparent" : color(name),
      width: edge ? 0 : 2,
      dash,
      points: { show: Boolean(dots), size: 7, fill: color("card") },
    }));
    this.plot = new uPlot(
      {
        width: this.width(),
        height: this.options.height ?? HEIGHT,
        padding: [8, 26, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { size: 7 } },
        scales: {
          x: { time: Boolean(time), distr: log ? 3 : 1, log: 2 },
          y: { range: (_, low, high) => (low === null ? [0, 1] : (this.options.range?.(low, high) ?? [low, high])) },
        },
        series: [{}, ...series],
        bands: band ? [{ series: band, fill: color("band") }] : [],
        axes: [
          { ...axis, grid: { show: false }, size: 30, space: 76, values: (_, all) => all.map((at) => (at === null ? "" : x(at))) },
          { ...axis, grid, size: 58, space: 34, values: (_, all) => all.map((value) => y(value)) },
        ],
        hooks: { setCursor: [(plot) => this.value(plot.cursor.idx)] },
      },
      this.data,
      this.root,
    );
  }

  resize() {
    if (this.plot && this.plot.width !== this.width()) this.plot.setSize({ width: this.width(), height: this.plot.height });
  }

  width() {
    return Math.max(this.root.clientWidth, 120);
  }

  /** The legend with the values at a place, or the last. */
  value(at) {
    if (!this.legend || !this.data) return;
    const place = at ?? this.data[0].length - 1;
    const shown = this.options.lines.map((line, index) => ({ ...line, value: this.data[index + 1][place] })).filter((line) => !line.edge);
    const text = shown.map(({ name, value }) => [name, value === null || value === undefined ? "–" : this.options.y(value)]);
    if (this.legend.childElementCount !== shown.length) {
      this.legend.replaceChildren(...shown.map((line) => make("li", {}, swatch(line), make("span"), " ", make("b"))));
    }
    for (const [index, [name, value]] of text.entries()) {
      const [, label, number] = this.legend.children[index].children;
      label.textContent = name;
      number.textContent = value;
    }
  }

  describe() {
    const { lines, y, axis } = this.options;
    const told = lines.flatMap(({ name, edge }, index) => {
      const known = this.data[index + 1].filter((value) => value !== null && value !== undefined);
      if (edge || !known.length) return [];
      return `${name}: now ${y(known[known.length - 1])}, from ${y(Math.min(...known))} to ${y(Math.max(...known))}`;
    });
    return `By ${axis}. ${told.join("; ")}.`;
  }

  /** At most 30 rows, newest first over time. */
  tabulate() {
    if (!this.details.open || !this.data) return;
    const { lines, y, x, axis, time } = this.options;
    const named = lines.map(({ name }, index) => ({ name, values: this.data[index + 1] }));
    const head = make("tr", {}, ...[axis, ...named.map(({ name }) => name)].map((name) => make("th", { scope: "col" }, name)));
    const every = Math.max(1, Math.ceil(this.data[0].length / 30));
    const rows = [];
    for (let at = this.data[0].length - 1; at >= 0; at -= every) {
      const cells = named.map(({ values }) => make("td", {}, values[at] === null || values[at] === undefined ? "–" : y(values[at])));
      rows.push(make("tr", {}, make("th", { scope: "row" }, x(this.data[0][at])), ...cells));
    }
    if (!time) rows.reverse();
    this.table.replaceChildren(make("table", { class: "data" }, make("thead", {}, head), make("tbody", {}, ...rows)));
  }
}

function swatch({ color: name, dash }) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  for (const [key, value] of Object.entries({ width: 26, height: 6, "aria-hidden": "true" })) svg.setAttribute(key, value);
  const drawn = { x1: 0, x2: 26, y1: 3, y2: 3, "stroke-width": 3, stroke: `var(--${name})`, "stroke-dasharray": dash?.join(" ") ?? "" };
  for (const [key, value] of Object.entries(drawn)) line.setAttribute(key, value);
  svg.append(line);
  return svg;
}
