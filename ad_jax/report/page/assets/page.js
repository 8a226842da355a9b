"use strict";
(() => {
  const PAGE = 50, FILTERED = 15;
  const element = (name, properties = {}, ...children) => {
    const one = Object.assign(document.createElement(name), properties);
    one.append(...children);
    return one;
  };

  // Figures before words before nothing; nothing stays last in either order.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  };

  const number = (v, digits) => {
    if (v === null) return "–";
    if (Math.abs(v) < 1e-8) v = 0;
    let text = v.toFixed(digits);
    if (Number(text) === 0 && v !== 0) text = v.toExponential(1);
    return text.replaceAll("-", "−");
  };

  // Rows that stand in the page, or as columns of JSON where there are too many.
  const inPage = (body) => {
    const rows = [...body.rows];
    return {
      count: rows.length,
      value: (i, column) => {
        const cell = rows[i].cells[column];
        const v = cell.dataset.v;
        if (v !== undefined) return v === "" ? null : Number(v);
        return cell.textContent || null;
      },
      text: (i) => rows[i].textContent.toLowerCase(),
      row: (i) => rows[i],
    };
  };

  const inData = (data) => {
    const { columns, count, marked } = data;
    const of = (column, i) => {
      const { kind, values, words } = columns[column];
      return kind === "words" ? words[values[i]] : values[i];
    };
    const shown = (column, i) => {
      const { kind, digits, low, high } = columns[column];
      const v = of(column, i);
      if (kind === "words") return v;
      if (kind === "whole") return v === null ? "" : String(v);
      const bounds = low && low[i] !== null
        ? ` [${number(low[i], digits)}, ${number(high[i], digits)}]` : "";
      return number(v, digits) + bounds;
    };
    const special = new Set(marked);
    return {
      count,
      value: (i, column) => { const v = of(column, i); return v === "" ? null : v; },
      text: (i) => columns.map((c, k) => (c.kind === "words" ? of(k, i) : "")).join(" ").toLowerCase(),
      row: (i) => {
        const row = element("tr", { className: special.has(i) ? "marked" : "" });
        row.dataset.row = i;
        columns.forEach((c, k) => {
          const cell = element(k ? "td" : "th", k ? {} : { scope: "row" }, shown(k, i));
          const many = cell.textContent.length > (k ? 28 : 24);
          if (c.kind === "words") cell.className = [k ? "words" : "", many ? "long" : ""].join(" ").trim();
          row.append(cell);
        });
        return row;
      },
    };
  };

  const setUp = (box) => {
    const table = box.querySelector("table"), body = table.tBodies[0];
    const stored = document.getElementById("data-" + box.id);
    let source = stored ? null : inPage(body);
    const get = () => (source ??= inData(JSON.parse(stored.textContent)));
    const count = stored ? Number(stored.dataset.count) : source.count;
    let order = null, from = 0, wanted = "";
    const line = (row) => {
      if (box.dataset.linked) row.tabIndex = 0;
      return row;
    };
    const said = element("span", { role: "status" });
    const back = element("button", { type: "button", textContent: "Previous" });
    const on = element("button", { type: "button", textContent: "Next" });
    const draw = () => {
      const rows = get();
      order ??= Array.from({ length: rows.count }, (_, i) => i);
      const seen = wanted ? order.filter((i) => rows.text(i).includes(wanted)) : order;
      from = Math.max(0, Math.min(from, PAGE * Math.floor((seen.length - 1) / PAGE)));
      const now = stored ? seen.slice(from, from + PAGE) : seen;
      body.replaceChildren(...now.map((i) => line(rows.row(i))));
      said.textContent = stored
        ? `${seen.length ? from + 1 : 0}–${from + now.length} of ${seen.length} rows`
        : `${seen.length} of ${rows.count} rows`;
      back.disabled = from === 0;
      on.disabled = from + PAGE >= seen.length;
    };
    const turn = (by) => () => { from += by * PAGE; draw(); };
    back.addEventListener("click", turn(-1));
    on.addEventListener("click", turn(1));
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = element("button", { type: "button", title: head.title });
      button.append(...head.childNodes);
      head.append(button);
      head.classList.add("sorting");
      button.addEventListener("click", () => {
        const sign = head.ariaSort === "ascending" ? -1 : 1;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
        const rows = get();
        const keyed = Array.from({ length: rows.count }, (_, i) => [rows.value(i, column), i]);
        keyed.sort(([a, i], [b, j]) => compare(a, b, sign) || i - j);
        order = keyed.map(([, i]) => i);
        from = 0;
        draw();
      });
    });
    const tools = box.querySelector(".tools");
    if (count > FILTERED) {
      const label = element("label", {}, "Filter ");
      const input = element("input", { type: "search" });
      label.append(input);
      let waiting;
      input.addEventListener("input", () => {
        clearTimeout(waiting);
        waiting = setTimeout(() => { wanted = input.value.trim().toLowerCase(); from = 0; draw(); }, 120);
      });
      tools.append(label, said);
      if (stored) {
        tools.append(back, on);
        said.textContent = `1–${body.rows.length} of ${count} rows`;
        back.disabled = true;
        table.caption.querySelector(".lacking")?.remove();
      }
      tools.hidden = false;
    }
    for (const row of body.rows) line(row);
    if (box.dataset.linked) link(box, body);
  };

  // A row under the pointer or with the focus shows its line.
  const link = (box, body) => {
    const drawing = document.querySelector(`.parallel[data-key="${box.dataset.linked}"]`);
    const show = (event) => {
      drawing?.querySelector(".line.now")?.classList.remove("now");
      const row = event.target.closest("tr[data-row]");
      const found = row && drawing?.querySelector(`.line[data-line="${row.dataset.row}"]`);
      if (found) {
        found.classList.add("now");
        found.parentNode.append(found);
      }
    };
    for (const name of ["mouseover", "focusin", "mouseleave", "focusout"]) body.addEventListener(name, show);
  };

  const brush = (box) => {
    const input = box.querySelector("input"), output = box.querySelector("output");
    const lines = [...box.querySelectorAll(".line")]
      .sort((a, b) => a.dataset.line - b.dataset.line);
    const draw = () => {
      const top = Number(input.value);
      output.textContent = top;
      lines.forEach((one, i) => one.classList.toggle("top", i < top));
    };
    input.addEventListener("input", draw);
    draw();
  };

  const theme = () => {
    const button = document.getElementById("theme"), root = document.documentElement;
    const names = { "": "as the system", light: "light", dark: "dark" };
    const order = Object.keys(names);
    let now = "";
    const put = (name) => {
      now = order.includes(name) ? name : "";
      if (now) root.dataset.theme = now; else delete root.dataset.theme;
      button.textContent = "Theme: " + names[now];
    };
    try { put(localStorage.getItem("ad-jax-theme") ?? ""); } catch { put(""); }
    button.addEventListener("click", () => {
      put(order[(order.indexOf(now) + 1) % order.length]);
      try { localStorage.setItem("ad-jax-theme", now); } catch { /* a page without storage */ }
    });
    button.hidden = false;
  };

  document.querySelectorAll(".table").forEach(setUp);
  document.querySelectorAll(".parallel").forEach(brush);
  theme();
  // A link into a folded section opens it.
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const folded = target && target.closest("details");
    if (folded) folded.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
