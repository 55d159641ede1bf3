"use strict";
(() => {
  const root = document.documentElement;
  const { figures, variants } = JSON.parse(document.getElementById("figures").textContent);
  // colours of charts.py, and what they are on a dark ground
  const brighter = {
    "#0072b2": "#4da6de", "#d55e00": "#f5854a", "#009e73": "#2fc99e", "#a8527f": "#dc94bc",
    "#b87d00": "#efb548", "#3a93c9": "#93d1f7", "#737373": "#9aa3ad",
  };
  const media = (query) => window.matchMedia(query);
  const prefersDark = media("(prefers-color-scheme: dark)");
  let printing = false;

  const isDark = () => !printing && (root.dataset.theme
    ? root.dataset.theme === "dark" : prefersDark.matches);
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function recoloured(value) {
    if (typeof value === "string") return brighter[value] || value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, recoloured(one)]));
    }
    return value;
  }

  // --- charts: drawn when they come near, drawn again when the theme changes ------------------
  function themed(figure, element) {
    const axis = {
      gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--dim"),
    };
    const template = { layout: {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--text"), size: 12, family: "system-ui, sans-serif" },
      hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--dim"),
        font: { color: colour("--text") }, namelength: -1 },
      legend: { bgcolor: "rgba(0,0,0,0)" },
      xaxis: axis, yaxis: axis,
    } };
    const copy = JSON.parse(JSON.stringify(figure));
    const shown = isDark() ? recoloured(copy) : copy;
    const layout = { ...shown.layout, template, autosize: true };
    // a finger that moves over a chart scrolls the page
    if (media("(pointer: coarse)").matches) layout.dragmode = false;
    const width = element.clientWidth;
    if (width) layout.width = width;
    return { data: shown.data, layout };
  }

  // charts that are drawn, with the promise that says when all of one is there
  const drawn = new Map();
  function draw(element) {
    const { data, layout } = themed(figures[element.id], element);
    drawn.set(element, Plotly.react(element, data, layout, { displayModeBar: false }));
  }
  const plots = [...document.querySelectorAll(".plot")];
  const watcher = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      // what is being printed is drawn already
      if (isIntersecting && !printing) {
        watcher.unobserve(target);
        draw(target);
      }
    }
  }, { rootMargin: "400px" });
  plots.forEach((plot) => watcher.observe(plot));
  const redraw = () => [...drawn.keys()].forEach(draw);
  const fitted = new ResizeObserver((changed) => {
    if (printing) return;
    for (const { target, contentRect } of changed) {
      const has = target.layout && target.layout.width;
      if (has && contentRect.width && Math.abs(contentRect.width - has) >= 1) draw(target);
    }
  });
  plots.forEach((plot) => fitted.observe(plot));

  // --- a chart's points with the arrow keys ---------------------------------------------------
  const said = document.getElementById("said");
  const plain = (html) => new DOMParser().parseFromString(
    String(html).replace(/<br>/g, ", "), "text/html").documentElement.textContent;
  function points(plot) {
    return Math.max(0, ...figures[plot.id].data.map((trace) => (trace.x || []).length));
  }
  for (const plot of plots) {
    let place = -1;
    plot.addEventListener("keydown", (event) => {
      const last = points(plot) - 1;
      const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
      if (event.key === "Escape") {
        if (drawn.has(plot)) Plotly.Fx.unhover(plot);
        place = -1;
        return;
      }
      if (event.key === "Home") place = 0;
      else if (event.key === "End") place = last;
      else if (step) place = Math.min(last, Math.max(0, place + step));
      else return;
      event.preventDefault();
      const { data } = figures[plot.id];
      const heat = data[0].type === "heatmap";
      const at = data.map((trace, curveNumber) => ({ curveNumber, pointNumber: place }))
        .filter(({ curveNumber }) => place < data[curveNumber].x.length);
      if (!drawn.has(plot)) draw(plot);
      drawn.get(plot).then(() => Plotly.Fx.hover(plot, heat ? at.map(({ curveNumber }) => (
        { curveNumber, pointNumber: [0, place] })) : at));
      said.textContent = at.map(({ curveNumber }) => {
        const trace = data[curveNumber];
        const y = trace.y[place];
        return `${plain(trace.name)}: ${plain(trace.x[place])}, ${y === null ? "none" : exact(y)}`;
      }).join("; ");
    });
    plot.addEventListener("blur", () => drawn.has(plot) && Plotly.Fx.unhover(plot));
  }

  // --- the data of a chart as a table, made when it is opened -----------------------------------
  const exact = (value) => typeof value === "number"
    ? value.toLocaleString("en-US", { maximumSignificantDigits: 6 }) : plain(value ?? "–");
  function tableOf(figure, name) {
    const { data, layout } = figure;
    const scroll = Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 });
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", name);
    const table = scroll.appendChild(document.createElement("table"));
    const row = (parent, cells, numbers) => {
      const line = parent.appendChild(document.createElement("tr"));
      cells.forEach((text, place) => {
        const kind = parent.tagName === "THEAD" || !place ? "th" : "td";
        const cell = line.appendChild(document.createElement(kind));
        if (kind === "th") cell.scope = parent.tagName === "THEAD" ? "col" : "row";
        if (place || numbers) cell.className = "num";
        cell.textContent = text;
      });
    };
    const title = (axis) => plain(layout[axis].title.text);
    const head = table.createTHead();
    const body = table.createTBody();
    if (data[0].type === "heatmap") {
      row(head, [`${title("yaxis")} \\ ${title("xaxis")}`, ...data[0].x.map(plain)]);
      data[0].y.forEach((one, at) => row(body, [plain(one), ...data[0].z[at].map(exact)]));
      return scroll;
    }
    const several = data.some((trace) => trace.text);
    if (several) {
      // dots with names of their own: one row each
      row(head, ["run", title("xaxis"), title("yaxis")]);
      for (const trace of data) {
        trace.x.forEach((x, at) => row(body, [plain(trace.text[at]), exact(x), exact(trace.y[at])]));
      }
      return scroll;
    }
    const rows = new Map();
    data.forEach((trace, curve) => trace.x.forEach((x, at) => {
      if (!rows.has(x)) rows.set(x, { name: trace.customdata ? trace.customdata[at] : x, ys: [] });
      rows.get(x).ys[curve] = trace.y[at];
    }));
    const keys = [...rows.keys()];
    if (keys.every((key) => typeof key === "number")) keys.sort((a, b) => a - b);
    row(head, [title("xaxis"), ...data.map((trace) => data.length > 1
      ? `${plain(trace.name)}, ${title("yaxis")}` : title("yaxis"))]);
    for (const key of keys) {
      const { name: x, ys } = rows.get(key);
      row(body, [exact(x), ...data.map((_, curve) => exact(ys[curve] ?? null))], true);
    }
    return scroll;
  }
  function fillTable(details) {
    if (details.open && details.children.length === 1) {
      const id = details.dataset.chart;
      const name = document.getElementById(`${id}-title`).textContent;
      details.append(tableOf(figures[id], name));
    }
  }
  for (const details of document.querySelectorAll("details[data-chart]")) {
    details.addEventListener("toggle", () => fillTable(details));
  }

  // --- charts of which the reader chooses what they show ----------------------------------------
  for (const choices of document.querySelectorAll(".choices")) {
    const form = choices.querySelector("form");
    const selects = [...form.querySelectorAll("select")];
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => {
      const chosen = selects.map((select) => select.selectedIndex).join(",");
      choices.querySelector(".chosen").textContent =
        selects.map((select) => select.value).join(", ");
      for (const plot of choices.querySelectorAll(".plot")) {
        figures[plot.id] = variants[plot.id][chosen];
        if (drawn.has(plot)) draw(plot);
        const details = plot.parentElement.querySelector("details[data-chart]");
        details.querySelector(".scroll")?.remove();
        fillTable(details);
      }
    });
  }

  // --- the table of runs: filter and sort -------------------------------------------------------
  for (const runs of document.querySelectorAll(".runs")) {
    const body = runs.querySelector("tbody");
    const rows = [...body.rows].map((row) => ({
      row, text: row.textContent.toLowerCase(), facets: JSON.parse(row.dataset.facets),
    }));
    const input = runs.querySelector(".filter-text");
    const selects = [...runs.querySelectorAll("select")];
    const shown = runs.querySelector(".shown");
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let n = 0;
      for (const { row, text, facets } of rows) {
        const fits = words.every((word) => text.includes(word)) && selects.every(
          (select) => !select.value || facets[Number(select.dataset.facet)] === select.value);
        row.hidden = !fits;
        n += fits;
      }
      shown.textContent = `${n.toLocaleString("en-US")} of ${rows.length.toLocaleString("en-US")} runs`;
    };
    input.addEventListener("input", filter);
    selects.forEach((select) => select.addEventListener("change", filter));
    runs.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    const heads = [...runs.querySelectorAll("thead th")];
    heads.forEach((head, place) => head.querySelector("button").addEventListener("click", () => {
      const way = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", way);
      const sign = way === "ascending" ? 1 : -1;
      const key = ({ row }) => row.cells[place].dataset.sort ?? row.cells[place].textContent;
      const compared = new Intl.Collator("en", { numeric: true }).compare;
      const isNumber = head.classList.contains("num");
      const order = isNumber ? (a, b) => Number(key(a)) - Number(key(b))
        : (a, b) => compared(key(a), key(b));
      rows.sort((a, b) => sign * order(a, b));
      body.append(...rows.map(({ row }) => row));
    }));
  }

  // --- theme, print -------------------------------------------------------------------------------
  const button = document.getElementById("theme");
  const name = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
    redraw();
  });
  prefersDark.addEventListener("change", () => { name(); redraw(); });
  name();

  // what is printed is light, has every chart that is not folded away, and fits the paper
  const PAPER_PX = 680;
  let before;
  window.addEventListener("beforeprint", () => {
    if (printing) return;
    before = root.dataset.theme;
    printing = true;
    root.dataset.theme = "light";
    for (const plot of plots) {
      const fold = plot.closest("details.fold");
      if (fold && !fold.open) continue;
      watcher.unobserve(plot);
      const { data, layout } = themed(figures[plot.id], plot);
      const printed = { ...layout, width: PAPER_PX };
      drawn.set(plot, Plotly.react(plot, data, printed, { displayModeBar: false }));
    }
  });
  window.addEventListener("afterprint", () => {
    if (!printing) return;
    printing = false;
    if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    redraw();
  });
})();
