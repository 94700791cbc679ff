  // --- the p-value scan ----------------------------------------------------------------------------------------------
  const drawScan = (picker, plot, data) => {
    const cuts = unique(data.entries.map(e => e.cut)).sort((a, b) => b - a);
    const methods = unique(data.entries.filter(e => e.cut < 1).map(e => e.method));
    const shownCuts = new Set(cuts), shownMethods = new Set(methods);
    const colour = cut => COLOURS[cuts.indexOf(cut) % COLOURS.length];
    const tip = tooltip(plot);
    const redraw = () => {
      const height = state.printing ? 285 : plot.clientWidth < 560 ? 330 : 430;
      const [svg, width] = canvas(plot, height, "Local p-value against mass");
      svg.setAttribute("tabindex", "0");
      const box = { left: 58, right: width - 30, top: 10, bottom: height - 44 };
      const ends = [Math.min(...data.entries.map(e => e.low)), Math.max(...data.entries.map(e => e.high))];
      const margin = 0.02 * (ends[1] - ends[0]);
      const x = linear([ends[0] - margin, ends[1] + margin], [box.left, box.right]);
      const y = logarithmic([data.lowest, 1.6], [box.bottom, box.top]);
      for (const [z, p] of data.sigmas) {
        element("path", { d: `M${box.left} ${y(p)}H${box.right}`, class: "sig" }, svg);
        element("text", { x: box.right + 5, y: y(p) + 4 }, svg, `${z}σ`);
      }
      frame(svg, box, x, y);
      axisLabel(svg, data.axis, box.right, height - 8, "end");
      yTitle(svg, "Local p-value", box);
      const points = [];
      const shown = data.entries.filter(e => shownCuts.has(e.cut) && (e.cut >= 1 || shownMethods.has(e.method)));
      for (const key of unique(shown.map(e => `${e.method}|${e.cut}`))) {
        const line = shown.filter(e => `${e.method}|${e.cut}` === key).sort((a, b) => a.low - b.low);
        const tone = colour(line[0].cut), place = line[0].cut < 1 ? methods.indexOf(line[0].method) : 0;
        const at = line.map(e => [x(Math.sqrt(e.low * e.high)), y(e.local_p)]);
        element("path", { d: "M" + at.map(p => p.join(" ")).join("L"), fill: "none", stroke: tone, "stroke-width": 1.4, "stroke-dasharray": DASHES[place % DASHES.length] }, svg);
        line.forEach((entry, k) => {
          const [px, py] = at[k];
          element("path", { d: `M${x(entry.low)} ${py}H${x(entry.high)}`, stroke: tone, "stroke-width": 1, opacity: 0.55 }, svg);
          const mark = element("path", { d: symbol(SHAPES[place % SHAPES.length], px, py, 4), fill: tone, "data-point": `${entry.name}|${entry.method}|${entry.cut}` }, svg);
          points.push({ x: px, y: py, entry, mark });
        });
      }
      points.sort((a, b) => a.x - b.x || a.y - b.y);
      const ring = element("circle", { r: 8, fill: "none", stroke: "#16202a", "stroke-width": 1.5, visibility: "hidden" }, svg);
      let current = -1;
      const show = k => {
        current = k;
        const { x: px, y: py, entry } = points[k], ratio = plot.clientWidth / width;
        ring.setAttribute("cx", px); ring.setAttribute("cy", py); ring.setAttribute("visibility", "visible");
        tip.show(px * ratio, py * ratio, box => rows(box, `${entry.name} GeV`, [
          ["method", entry.cut >= 1 ? "all events" : entry.method], ["cut", cutName(entry.cut)], ["observed", count(entry.observed, 0)],
          ["expected", `${count(entry.expected)} ± ${count(entry.expected_error)}`], ["local p", pText(entry.local_p)], ["local Z", `${signed(entry.local_significance)}σ`],
        ]));
      };
      const hide = () => { current = -1; ring.setAttribute("visibility", "hidden"); tip.hide(); };
      const choose = () => { if (current >= 0 && state.spectrum) state.spectrum(points[current].entry); };
      svg.addEventListener("pointermove", event => {
        const [best, distance] = nearest(svg, event, points);
        if (best && distance < 42) { show(points.indexOf(best)); svg.style.cursor = "pointer"; } else { hide(); svg.style.cursor = ""; }
      });
      svg.addEventListener("pointerdown", event => { const [best, distance] = nearest(svg, event, points); if (best && distance < 42) show(points.indexOf(best)); else hide(); });
      svg.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") hide(); });
      svg.addEventListener("click", choose);
      svg.addEventListener("blur", hide);
      svg.addEventListener("keydown", event => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step && points.length) { event.preventDefault(); show((current + step + points.length) % points.length); }
        if (event.key === "Enter") choose();
        if (event.key === "Escape") hide();
      });
    };
    if (cuts.length > 1) chips(picker, "Cut", cuts, shownCuts, cutName, cut => swatch(colour(cut)), redraw);
    if (methods.length > 1) chips(picker, "Method", methods, shownMethods, m => m, m => lineSample(methods.indexOf(m)), redraw);
    return redraw;
  };

  // --- spectra -------------------------------------------------------------------------------------------------------
  const drawSpectra = (picker, plot, data) => {
    const learnt = unique(data.entries.filter(e => e.cut < 1).map(e => e.method));
    const methods = learnt.length ? learnt : unique(data.entries.map(e => e.method));
    const windows = unique(data.entries.map(e => e.name)).sort((a, b) => data.entries.find(e => e.name === a).low - data.entries.find(e => e.name === b).low);
    const cuts = unique(data.entries.map(e => e.cut)).sort((a, b) => b - a);
    const colour = cut => COLOURS[cuts.indexOf(cut) % COLOURS.length];
    const best = NUMBERS.best, first = best && data.entries.find(e => e.low === best.low && e.high === best.high);
    let window = first ? first.name : windows[0], method = best && methods.includes(best.method) ? best.method : methods[0];
    const shown = new Set(cuts), tip = tooltip(plot), edges = data.edges, bins = edges.length - 1;
    const centres = edges.slice(1).map((e, k) => Math.sqrt(e * edges[k]));
    const entries = () => data.entries.filter(e => e.name === window && shown.has(e.cut) && (e.cut >= 1 || e.method === method)).sort((a, b) => b.cut - a.cut);
    const redraw = () => {
      plot.parentElement.querySelector("[data-what]").textContent = `${window} GeV, ${method}. `;
      const found = entries(), small = plot.clientWidth < 560, main = state.printing ? 270 : small ? 290 : 400, pull = state.printing ? 44 : 58;
      const height = main + found.length * pull + 48;
      const [svg, width] = canvas(plot, height, `Mass spectrum, ${window} GeV, ${method}`);
      const box = { left: 58, right: width - 12, top: 10, bottom: main };
      const x = linear([edges[0], edges[bins]], [box.left, box.right]);
      const top = Math.max(1, ...found.flatMap(e => e.counts)), y = logarithmic([0.3, top * 6 * 1.9 ** found.length], [box.bottom, box.top]);
      const floor = v => Math.min(box.bottom, y(Math.max(v, 0.3)));
      if (found.length) {
        const { low, high } = found[0], end = height - 48;
        element("rect", { x: x(Math.max(low, edges[0])), y: box.top, width: x(Math.min(high, edges[bins])) - x(Math.max(low, edges[0])), height: end - box.top, fill: "#e9edf0" }, svg);
      }
      found.forEach((e, row) => {
        const tone = colour(e.cut), known = e.expected.every(v => v !== null);
        if (known) {
          const steps = sign => edges.slice(1).map((edge, k) => [[x(edges[k]), floor(e.expected[k] + sign * (e.error[k] || 0))], [x(edge), floor(e.expected[k] + sign * (e.error[k] || 0))]]).flat();
          element("path", { d: "M" + [...steps(1), ...steps(-1).reverse()].map(p => p.join(" ")).join("L") + "z", fill: tone, opacity: 0.2 }, svg);
          element("path", { d: "M" + steps(0).map(p => p.join(" ")).join("L"), fill: "none", stroke: tone, "stroke-width": 1.5 }, svg);
        }
        e.counts.forEach((n, k) => {
          if (n === null || n <= 0) return;
          element("path", { d: `M${x(centres[k])} ${floor(e.error_low[k])}V${floor(e.error_high[k])}`, stroke: tone, "stroke-width": 1.1 }, svg);
          element("circle", { cx: x(centres[k]), cy: floor(n), r: small ? 2.4 : 3.3, fill: e.fitted[k] ? tone : "#fff", stroke: tone, "stroke-width": 1.3 }, svg);
        });
        const ly = box.top + 20 + row * 18;
        element("circle", { cx: box.right - 12, cy: ly - 4, r: 4, fill: tone }, svg);
        element("text", { x: box.right - 22, y: ly, "text-anchor": "end" }, svg, `${cutName(e.cut)}: ${e.z !== null ? signed(e.z) + "σ" : e.counts.includes(null) ? "blinded" : "no fit"}${e.quality ? ", " + e.quality : ""}`);
        const strip = { left: box.left, right: box.right, top: main + 6 + row * pull, bottom: main + row * pull + pull };
        const py = linear([-4.5, 4.5], [strip.bottom, strip.top]);
        py.ticks = [-3, 0, 3];
        if (known) e.counts.forEach((n, k) => {
          if (n === null) return;
          const value = (n - e.expected[k]) / Math.sqrt(Math.max(e.expected[k], 1e-9) + (e.fitted[k] ? 0 : (e.error[k] || 0) ** 2));
          const reach = Math.max(-4.5, Math.min(4.5, value));
          element("rect", { x: x(edges[k]), y: Math.min(py(0), py(reach)), width: x(edges[k + 1]) - x(edges[k]), height: Math.abs(py(reach) - py(0)), fill: tone, opacity: 0.62 }, svg);
        });
        element("path", { d: `M${strip.left} ${py(0)}H${strip.right}`, class: "ax" }, svg);
        frame(svg, strip, x, py, { xLabels: row === found.length - 1, yFormat: v => v < 0 ? `−${-v}` : String(v) });
        element("text", { x: strip.right - 10, y: strip.top + 13, "text-anchor": "end", "font-size": 11 }, svg, cutName(e.cut));
      });
      frame(svg, box, x, y, { xLabels: !found.length });
      axisLabel(svg, data.axis, box.right, height - 8, "end");
      yTitle(svg, "Events / bin", box);
      if (found.length) element("text", { transform: `translate(14 ${main + 8 + found.length * pull / 2}) rotate(-90)`, "text-anchor": "middle", class: "lab" }, svg, "Pull");
      const line = element("path", { stroke: "#16202a", "stroke-width": 1, "stroke-dasharray": "2 3", visibility: "hidden" }, svg);
      const hide = () => { line.setAttribute("visibility", "hidden"); tip.hide(); };
      const show = event => {
        const [, , px, py] = nearest(svg, event, []);
        const k = edges.findIndex((edge, i) => i < bins && px >= x(edge) && px < x(edges[i + 1]));
        if (k < 0) return hide();
        line.setAttribute("d", `M${x(centres[k])} ${box.top}V${height - 48}`);
        line.setAttribute("visibility", "visible");
        const ratio = plot.clientWidth / width;
        tip.show(x(centres[k]) * ratio, py * ratio, box => {
          html("b", {}, box, `${tex(Math.round(edges[k] * 10) / 10)}–${tex(Math.round(edges[k + 1] * 10) / 10)} GeV${found[0] && !found[0].fitted[k] ? ", not in the fit" : ""}`);
          const table = html("table", {}, box);
          for (const cells of [["cut", "observed", "expected"], ...found.map(e => [cutName(e.cut), e.counts[k] === null ? "hidden" : count(e.counts[k], 0), e.expected[k] === null ? "–" : `${count(e.expected[k])} ± ${count(e.error[k])}`])]) {
            const row = html("tr", {}, table);
            cells.forEach(cell => html("td", {}, row, cell));
          }
        });
      };
      svg.addEventListener("pointermove", show);
      svg.addEventListener("pointerdown", show);
      svg.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") hide(); });
      mark();
    };
    const mark = () => document.querySelectorAll("[data-entries] tbody tr").forEach(row => {
      const entry = data.entries.find(e => e.name === window);
      row.classList.toggle("here", Boolean(entry) && Number(row.dataset.low) === entry.low);
    });
    const windowSelect = chooser(picker, "Window", windows.map(w => [w, `${w} GeV`]), window, value => { window = value; redraw(); });
    for (const [text, step, name] of [["‹", -1, "previous window"], ["›", 1, "next window"]]) {
      const button = html("button", { type: "button", class: "step", "aria-label": name }, picker, text);
      button.addEventListener("click", () => {
        window = windows[(windows.indexOf(window) + step + windows.length) % windows.length];
        windowSelect.value = window;
        redraw();
      });
    }
    const methodSelect = methods.length > 1 ? chooser(picker, "Method", methods.map(m => [m, m]), method, value => { method = value; redraw(); }) : null;
    if (cuts.length > 1) chips(picker, "Cut", cuts, shown, cutName, cut => swatch(colour(cut)), redraw);
    state.spectrum = entry => {
      window = entry.name;
      windowSelect.value = window;
      if (methods.includes(entry.method)) { method = entry.method; if (methodSelect) methodSelect.value = method; }
      redraw();
      document.getElementById("spectra").scrollIntoView();
    };
    return redraw;
  };

  // --- limits --------------------------------------------------------------------------------------------------------
  const drawLimits = (picker, plot, data) => {
    let signal = data.signals[0];
    const tip = tooltip(plot);
    const redraw = () => {
      const height = plot.clientWidth < 560 ? 320 : 400;
      const [svg, width] = canvas(plot, height, `Upper limits, ${signal.signal}`);
      const box = { left: 58, right: width - 14, top: 10, bottom: height - 44 }, points = signal.points;
      const seen = points.filter(p => p.observed !== null), digits = v => v === null ? "hidden" : Number(v.toPrecision(3));
      const all = points.flatMap(p => [p.observed, ...p.expected]).filter(v => v > 0);
      const masses = points.map(p => p.mass), spread = Math.max(masses[masses.length - 1] - masses[0], 0.04 * masses[0]);
      const x = linear([masses[0] - 0.03 * spread, masses[masses.length - 1] + 0.03 * spread], [box.left, box.right]);
      const y = logarithmic([Math.min(...all) / 1.6, Math.max(...all) * 3.2], [box.bottom, box.top]);
      const band = (low, high, fill) => points.length > 1
        ? element("path", { d: "M" + [...points.map(p => [x(p.mass), y(p.expected[high])]), ...[...points].reverse().map(p => [x(p.mass), y(p.expected[low])])].map(p => p.join(" ")).join("L") + "z", fill }, svg)
        : element("rect", { x: x(masses[0]) - 7, y: y(points[0].expected[high]), width: 14, height: y(points[0].expected[low]) - y(points[0].expected[high]), fill }, svg);
      band(0, 4, "#F5BB54");
      band(1, 3, "#85A35C");
      element("path", { d: "M" + points.map(p => `${x(p.mass)} ${y(p.expected[2])}`).join("L"), fill: "none", stroke: "#16202a", "stroke-width": 1.5, "stroke-dasharray": "6 4" }, svg);
      if (seen.length) element("path", { d: "M" + seen.map(p => `${x(p.mass)} ${y(p.observed)}`).join("L"), fill: "none", stroke: "#16202a", "stroke-width": 1.5 }, svg);
      for (const p of seen) element("circle", { cx: x(p.mass), cy: y(p.observed), r: 3.6, fill: "#16202a" }, svg);
      frame(svg, box, x, y);
      axisLabel(svg, data.axis, box.right, height - 8, "end");
      yTitle(svg, `Upper limit [${data.unit}]`, box);
      const legend = [["observed", "#16202a", ""], ["expected", "#16202a", "6 4"], ["± 1σ", "#85A35C", null], ["± 2σ", "#F5BB54", null]];
      let lx = box.left + 12, ly = box.top + 18;
      for (const [text, tone, dash] of legend) {
        const label = element("text", {}, svg, text), room = 25 + label.getComputedTextLength();
        if (lx + room > box.right - 8) { lx = box.left + 12; ly += 19; }
        element("path", { d: `M${lx} ${ly}h20`, stroke: tone, "stroke-width": dash === null ? 10 : 1.6, ...(dash ? { "stroke-dasharray": dash } : {}) }, svg);
        label.setAttribute("x", lx + 25);
        label.setAttribute("y", ly + 4);
        lx += room + 14;
      }
      const show = event => {
        const [, , px] = nearest(svg, event, []), ratio = plot.clientWidth / width;
        const p = points.reduce((a, b) => Math.abs(x(b.mass) - px) < Math.abs(x(a.mass) - px) ? b : a);
        tip.show(x(p.mass) * ratio, y(p.observed === null ? p.expected[2] : p.observed) * ratio, tipBox => rows(tipBox, `${tex(Math.round(p.mass * 10) / 10)} GeV`, [
          ["observed", digits(p.observed)], ["expected", digits(p.expected[2])],
          ["± 1σ", `${digits(p.expected[1])} – ${digits(p.expected[3])}`], ["± 2σ", `${digits(p.expected[0])} – ${digits(p.expected[4])}`],
        ]));
      };
      svg.addEventListener("pointermove", show);
      svg.addEventListener("pointerdown", show);
      svg.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") tip.hide(); });
    };
    if (data.signals.length > 1) chooser(picker, "Limit on", data.signals.map((s, k) => [k, s.signal]), 0, value => { signal = data.signals[value]; redraw(); });
    return redraw;
  };

  // --- the table of all entries --------------------------------------------------------------------------------------
  const table = () => {
    const element = document.querySelector("[data-entries]"), filter = document.querySelector("[data-filter]");
    if (!element) return;
    const body = element.tBodies[0], lines = [...body.rows];
    const methods = unique(lines.map(row => row.dataset.method)), cuts = unique(lines.map(row => Number(row.dataset.cut))).sort((a, b) => b - a);
    const shownMethods = new Set(methods), shownCuts = new Set(cuts);
    const apply = () => lines.forEach(row => { row.hidden = !(shownMethods.has(row.dataset.method) && shownCuts.has(Number(row.dataset.cut))); });
    if (lines.length > 6) {
      filter.hidden = false;
      if (methods.length > 1) chips(filter, "Method", methods, shownMethods, m => m, null, apply);
      if (cuts.length > 1) chips(filter, "Cut", cuts, shownCuts, cutName, null, apply);
    }
    [...element.tHead.rows[0].cells].slice(0, 11).forEach((head, column) => {
      head.setAttribute("data-sort", "");
      head.setAttribute("tabindex", "0");
      const key = row => column === 1 ? row.dataset.method : JSON.parse(row.dataset.values)[column];
      const sort = () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of element.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const order = (a, b) => a === null ? 1 : b === null ? -1 : (a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1);
        lines.sort((a, b) => order(key(a), key(b))).forEach(row => body.appendChild(row));
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
    });
  };

  start("scan", drawScan);
  start("spectra", drawSpectra);
  start("limits", drawLimits);
  table();
  const links = [...document.querySelectorAll(".toc a")];
  const seen = new IntersectionObserver(found => {
    for (const each of found) if (each.isIntersecting) for (const link of links) link.toggleAttribute("aria-current", link.hash === `#${each.target.id}`);
  }, { rootMargin: "0px 0px -70% 0px" });
  document.querySelectorAll("main h2[id]").forEach(head => seen.observe(head));
