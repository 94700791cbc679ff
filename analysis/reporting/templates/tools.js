  const NUMBERS = JSON.parse(document.getElementById("numbers").textContent);
  const COLOURS = ["#16202a", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07C00", "#3C8DBC"];
  const SVG = "http" + "://www.w3.org/2000/svg";
  const state = { spectrum: null, printing: false };

  // --- small tools ---------------------------------------------------------------------------------------------------
  const element = (tag, attributes, parent, text) => {
    const made = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  };
  const html = (tag, attributes, parent, text) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  };
  const unique = values => [...new Set(values)];
  const cutName = cut => cut >= 1 ? "no cut" : `${Number((100 * cut).toPrecision(3))} %`;
  const SUPER = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  const power = n => "10" + String(n).split("").map(c => SUPER[c]).join("");
  const count = (value, digits = 1) => value === null ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits });
  const pText = p => {
    if (p === null) return "no fit";
    if (p >= 1e-3) return p.toFixed(3);
    if (p <= 0) return "< 10⁻³⁰⁰";
    const [digits, exponent] = p.toExponential(1).split("e");
    return `${digits} × ${power(Number(exponent))}`;
  };
  const signed = z => z === null ? "–" : (z < 0 ? "−" : "+") + Math.abs(z).toFixed(2);
  const tex = value => Math.abs(value) >= 1000 ? count(value, 0) : String(Number(value.toPrecision(6)));

  const linear = (domain, range) => {
    const [a, b] = domain, [c, d] = range;
    const scale = v => c + (v - a) / (b - a) * (d - c);
    const rough = (b - a) / Math.max(3, Math.abs(d - c) / 66);
    const base = 10 ** Math.floor(Math.log10(rough));
    const step = base * [1, 2, 2.5, 5, 10].find(m => m * base >= rough);
    scale.ticks = [];
    for (let t = Math.ceil(a / step) * step; t <= b + 1e-9 * step; t += step) scale.ticks.push(Number(t.toPrecision(12)));
    return scale;
  };
  const logarithmic = (domain, range) => {
    const [a, b] = domain.map(Math.log10), [c, d] = range;
    const scale = v => c + (Math.log10(Math.max(v, 1e-300)) - a) / (b - a) * (d - c);
    const decades = Math.floor(b) - Math.ceil(a) + 1, every = Math.max(1, Math.ceil(decades / Math.max(2, Math.abs(d - c) / 38)));
    scale.ticks = [];
    scale.minor = [];
    for (let n = Math.ceil(a); n <= Math.floor(b); n += 1) if (n % every === 0) scale.ticks.push(10 ** n);
    for (let n = Math.floor(a); n <= Math.floor(b) && decades < 9; n += 1)
      for (let k = 2; k < 10; k += 1) { const v = k * 10 ** n; if (v >= domain[0] && v <= domain[1]) scale.minor.push(v); }
    return scale;
  };
  const plainPower = v => { const n = Math.round(Math.log10(v)); return n >= 0 && n <= 3 ? String(10 ** n) : n === -1 ? "0.1" : power(n); };

  const axisLabel = (parent, parts, x, y, anchor, suffix) => {
    const text = element("text", { x, y, "text-anchor": anchor, class: "lab" }, parent);
    element("tspan", { "font-style": "italic" }, text, parts[0]);
    if (parts[1]) element("tspan", { dy: "4", "font-size": "10.5" }, text, parts[1]);
    element("tspan", parts[1] ? { dy: "-4" } : {}, text, ` [${parts[2]}]${suffix || ""}`);
  };
  const frame = (svg, box, x, y, { xLabels = true, yFormat = plainPower } = {}) => {
    const { left, right, top, bottom } = box;
    element("rect", { x: left, y: top, width: right - left, height: bottom - top, class: "ax" }, svg);
    for (const t of x.ticks) {
      element("path", { d: `M${x(t)} ${bottom}v-6M${x(t)} ${top}v6`, class: "ax" }, svg);
      if (xLabels) element("text", { x: x(t), y: bottom + 17, "text-anchor": "middle" }, svg, tex(t));
    }
    for (const t of y.minor || []) element("path", { d: `M${left} ${y(t)}h3M${right} ${y(t)}h-3`, class: "ax" }, svg);
    for (const t of y.ticks) {
      element("path", { d: `M${left} ${y(t)}h6M${right} ${y(t)}h-6`, class: "ax" }, svg);
      element("text", { x: left - 7, y: y(t) + 4, "text-anchor": "end" }, svg, yFormat(t));
    }
  };
  const yTitle = (svg, text, box) =>
    element("text", { transform: `translate(14 ${box.top}) rotate(-90)`, "text-anchor": "end", class: "lab" }, svg, text);

  const symbol = (shape, x, y, r) => ({
    o: `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
    s: `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
    "^": `M${x} ${y - 1.3 * r}L${x + 1.2 * r} ${y + r}H${x - 1.2 * r}z`,
    D: `M${x} ${y - 1.35 * r}L${x + 1.35 * r} ${y}L${x} ${y + 1.35 * r}L${x - 1.35 * r} ${y}z`,
    v: `M${x} ${y + 1.3 * r}L${x + 1.2 * r} ${y - r}H${x - 1.2 * r}z`,
  })[shape];
  const SHAPES = ["o", "s", "^", "D", "v"], DASHES = ["", "6 3", "2 2.5", "8 3 2 3", "1 4"];

  const tooltip = plot => {
    const tip = html("div", { class: "tip", role: "status", "aria-live": "polite" }, plot);
    tip.hidden = true;
    return {
      show(x, y, fill) {
        tip.replaceChildren();
        fill(tip);
        tip.hidden = false;
        const width = tip.offsetWidth, height = tip.offsetHeight, room = plot.clientWidth;
        tip.style.left = `${Math.max(0, x + 16 + width <= room ? x + 16 : Math.min(x - width - 16 >= 0 ? x - width - 16 : (room - width) / 2, room - width))}px`;
        tip.style.top = `${Math.max(0, y - height - 14 >= 0 ? y - height - 14 : y + 18)}px`;
      },
      hide() { tip.hidden = true; },
    };
  };
  const rows = (tip, title, pairs) => {
    html("b", {}, tip, title);
    const table = html("table", {}, tip);
    for (const cells of pairs) {
      const row = html("tr", {}, table);
      for (const cell of cells) html("td", {}, row, cell);
    }
  };
  const canvas = (plot, height, title) => {
    plot.querySelectorAll("svg").forEach(old => old.remove());
    const width = Math.max(280, Math.round(plot.clientWidth));
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
    plot.prepend(svg);
    return [svg, width];
  };
  const chips = (parent, label, values, pressed, name, look, changed) => {
    const group = html("span", { class: "chips", role: "group", "aria-label": label }, parent);
    html("span", {}, group, label);
    for (const value of values) {
      const button = html("button", { type: "button", "aria-pressed": pressed.has(value), "data-value": value }, group);
      if (look) button.append(look(value));
      button.append(name(value));
      button.addEventListener("click", () => {
        if (pressed.has(value)) { if (pressed.size > 1) pressed.delete(value); } else pressed.add(value);
        for (const each of group.querySelectorAll("button")) each.setAttribute("aria-pressed", pressed.has(values[[...group.querySelectorAll("button")].indexOf(each)]));
        changed();
      });
    }
  };
  const swatch = tone => html("span", { class: "swatch", style: `background:${tone}` });
  const lineSample = place => {
    const sample = element("svg", { width: 30, height: 12, viewBox: "0 0 30 12", class: "sample", "aria-hidden": "true" });
    element("path", { d: "M0 6H30", stroke: "currentColor", "stroke-width": 1.4, "stroke-dasharray": DASHES[place % DASHES.length] }, sample);
    element("path", { d: symbol(SHAPES[place % SHAPES.length], 15, 6, 4), fill: "currentColor" }, sample);
    return sample;
  };
  const chooser = (parent, label, options, chosen, changed) => {
    const holder = html("label", {}, parent, label);
    const select = html("select", {}, holder);
    for (const [value, text] of options) html("option", { value }, select, text);
    select.value = chosen;
    select.addEventListener("change", () => changed(select.value));
    return select;
  };
  const start = (name, draw) => {
    const figure = document.querySelector(`[data-chart=${name}]`);
    if (!figure || !NUMBERS[name]) return;
    figure.hidden = false;
    const plot = figure.querySelector("[data-plot]");
    const redraw = draw(figure.querySelector("[data-picker]"), plot, NUMBERS[name]);
    redraw();
    let width = plot.clientWidth;
    // Paper is narrower than most screens: drawn for its width, labels keep their size.
    addEventListener("beforeprint", () => { state.printing = true; plot.style.width = "660px"; redraw(); });
    addEventListener("afterprint", () => { state.printing = false; plot.style.width = ""; redraw(); });
    new ResizeObserver(() => { if (plot.clientWidth !== width) { width = plot.clientWidth; redraw(); } }).observe(plot);
  };
  const nearest = (svg, event, points) => {
    const box = svg.getBoundingClientRect(), ratio = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * ratio, y = (event.clientY - box.top) * ratio;
    let best = null, least = Infinity;
    for (const point of points) {
      const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (distance < least) { least = distance; best = point; }
    }
    return [best, Math.sqrt(least), x, y];
  };
