"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  const byId = (id) => document.getElementById(id);

  // The table: rows open by their button, sort by their headings, and are filtered.
  const table = byId("image-table");
  if (table) {
    const bodies = all("tbody.image", table);
    const open = (body, yes) => {
      const button = body.querySelector("button[aria-expanded]");
      button.setAttribute("aria-expanded", String(yes));
      body.querySelector(".detail").hidden = !yes;
    };
    for (const body of bodies) {
      open(body, false);
      body.querySelector("button[aria-expanded]").addEventListener("click", (e) => {
        open(body, e.currentTarget.getAttribute("aria-expanded") !== "true");
      });
    }
    const headings = all("thead th[data-sort]", table);
    for (const th of headings) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = th.textContent;
      th.replaceChildren(button);
      button.addEventListener("click", () => {
        const key = th.dataset.sort;
        const text = key === "name";
        const before = th.getAttribute("aria-sort");
        // Names and statuses are read from the first, figures from the largest.
        const up = before ? before === "descending" : text || key === "rank";
        for (const other of headings) other.removeAttribute("aria-sort");
        th.setAttribute("aria-sort", up ? "ascending" : "descending");
        const value = (b) => (text ? b.dataset.name : Number(b.dataset[key]));
        const compare = (a, b) => (text ? value(a).localeCompare(value(b)) : value(a) - value(b));
        bodies.sort((a, b) => (up ? compare(a, b) : compare(b, a)) || a.dataset.name.localeCompare(b.dataset.name));
        table.append(...bodies);
      });
    }
    const filter = byId("image-filter"), status = byId("image-status"), shown = byId("image-count");
    const apply = () => {
      const want = filter.value.trim().toLowerCase();
      let n = 0;
      for (const b of bodies) {
        const text = b.querySelector(".main").textContent.toLowerCase();
        const yes = (!want || text.includes(want)) && (!status.value || b.dataset.status === status.value);
        b.hidden = !yes;
        if (yes) n++;
      }
      shown.textContent = n === bodies.length ? "" : n + " of " + bodies.length;
    };
    filter.addEventListener("input", apply);
    status.addEventListener("change", apply);

    // A link to an image opens its row, whatever the filter says.
    const follow = () => {
      let name = location.hash.slice(1);
      try { name = decodeURIComponent(name); } catch { return; }
      const body = byId(name);
      if (!body || !body.matches("tbody.image")) return;
      if (body.hidden) { filter.value = ""; status.value = ""; apply(); }
      open(body, true);
      body.scrollIntoView({ block: "center" });
      body.querySelector("button[aria-expanded]").focus({ preventScroll: true });
    };
    addEventListener("hashchange", follow);
    // The same link twice changes no hash.
    document.addEventListener("click", (e) => {
      const a = e.target.closest("a[href^='#image-']");
      if (a && a.getAttribute("href") === location.hash) follow();
    });
    follow();
  }

  // The timeline gets wider; its bars are in percent and follow.
  const lane = byId("timeline-svg");
  if (lane) {
    let width = 100;
    for (const button of all("[data-timeline]")) {
      button.addEventListener("click", () => {
        const how = button.dataset.timeline;
        width = how === "fit" ? 100 : Math.min(3200, Math.max(100, how === "in" ? width * 1.6 : width / 1.6));
        lane.setAttribute("width", width + "%");
      });
    }
  }

  // The graph: zoom, drag, search, and arrow keys from image to image.
  const box = byId("graph-box"), svg = byId("graph-svg");
  if (!box || !svg) return;
  const nodes = all(".node", svg);
  const named = new Map(nodes.map((n) => [n.dataset.name, n]));
  const natural = { w: Number(svg.dataset.width), h: Number(svg.dataset.height) };
  let scale = 1;
  const zoom = (next, at) => {
    next = Math.min(4, Math.max(0.1, next));
    const x = at ? at.x : box.clientWidth / 2, y = at ? at.y : box.clientHeight / 2;
    const px = (box.scrollLeft + x) / scale, py = (box.scrollTop + y) / scale;
    scale = next;
    svg.setAttribute("width", Math.round(natural.w * scale));
    svg.setAttribute("height", Math.round(natural.h * scale));
    box.scrollLeft = px * scale - x;
    box.scrollTop = py * scale - y;
  };
  const fit = () => zoom(Math.min(1.25, (box.clientWidth - 2) / natural.w));
  const steps = { in: () => zoom(scale * 1.25), out: () => zoom(scale / 1.25), one: () => zoom(1), fit };
  for (const button of all("[data-graph]")) button.addEventListener("click", () => steps[button.dataset.graph]());
  // The whole picture, unless its text would be too small to read.
  if (natural.w > box.clientWidth) zoom(Math.max(0.62, (box.clientWidth - 2) / natural.w));
  box.scrollLeft = 0;
  box.scrollTop = 0;
  box.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    const r = box.getBoundingClientRect();
    zoom(scale * (e.deltaY < 0 ? 1.12 : 1 / 1.12), { x: e.clientX - r.left, y: e.clientY - r.top });
  }, { passive: false });

  let drag = null, moved = false;
  box.addEventListener("pointerdown", (e) => {
    if (e.button !== 0 || e.pointerType === "touch") return;
    drag = { x: e.clientX, y: e.clientY, left: box.scrollLeft, top: box.scrollTop };
    moved = false;
  });
  addEventListener("pointermove", (e) => {
    if (!drag) return;
    if (Math.hypot(e.clientX - drag.x, e.clientY - drag.y) > 4) { moved = true; box.classList.add("dragging"); }
    box.scrollLeft = drag.left - (e.clientX - drag.x);
    box.scrollTop = drag.top - (e.clientY - drag.y);
  });
  addEventListener("pointerup", () => { drag = null; box.classList.remove("dragging"); });
  svg.addEventListener("click", (e) => { if (moved) { e.preventDefault(); e.stopPropagation(); moved = false; } }, true);
  svg.addEventListener("dragstart", (e) => e.preventDefault());

  const show = (n) => {
    const r = n.getBoundingClientRect(), b = box.getBoundingClientRect();
    box.scrollLeft += r.left - b.left - b.width / 2 + r.width / 2;
    box.scrollTop += r.top - b.top - b.height / 2 + r.height / 2;
  };
  const find = byId("graph-find"), found = byId("graph-found");
  let hits = [], hit = 0;
  const tell = () => { found.textContent = find.value.trim() ? (hits.length ? hit + 1 + " of " + hits.length : "none") : ""; };
  find.addEventListener("input", () => {
    const want = find.value.trim().toLowerCase();
    hits = [];
    hit = 0;
    for (const n of nodes) {
      const yes = Boolean(want) && n.dataset.name.toLowerCase().includes(want);
      n.classList.toggle("found", yes);
      if (yes) hits.push(n);
    }
    hits.sort((a, b) => a.dataset.name.length - b.dataset.name.length);
    box.classList.toggle("finding", Boolean(want));
    if (hits.length) show(hits[0]);
    tell();
  });
  find.addEventListener("keydown", (e) => {
    if (e.key === "Escape") { find.value = ""; find.dispatchEvent(new Event("input")); }
    if (e.key !== "Enter" || !hits.length) return;
    e.preventDefault();
    hit = (hit + (e.shiftKey ? hits.length - 1 : 1)) % hits.length;
    show(hits[hit]);
    tell();
  });

  // Highlights the ancestors and descendants of an image.
  const children = new Map();
  for (const n of nodes) {
    const list = children.get(n.dataset.parent) || [];
    list.push(n);
    children.set(n.dataset.parent, list);
  }
  const trace = (n) => {
    for (const o of nodes) o.classList.remove("kin");
    box.classList.toggle("tracing", Boolean(n));
    if (!n) return;
    for (let up = n; up; up = named.get(up.dataset.parent)) up.classList.add("kin");
    const down = (o) => { for (const c of children.get(o.dataset.name) || []) { c.classList.add("kin"); down(c); } };
    down(n);
  };
  for (const n of nodes) {
    n.addEventListener("mouseenter", () => trace(n));
    n.addEventListener("mouseleave", () => trace(null));
    n.addEventListener("focus", () => trace(n));
    n.addEventListener("blur", () => trace(null));
  }

  // One stop of the Tab key for the whole graph; arrows go on from there.
  let current = nodes.find((n) => n.classList.contains("s-error")) || nodes[0];
  for (const n of nodes) n.setAttribute("tabindex", n === current ? "0" : "-1");
  const go = (n) => {
    if (!n) return;
    current.setAttribute("tabindex", "-1");
    current = n;
    current.setAttribute("tabindex", "0");
    current.focus({ preventScroll: true });
    show(current);
  };
  const place = (n) => { const r = n.querySelector("rect"); return { x: Number(r.getAttribute("x")), y: Number(r.getAttribute("y")) }; };
  box.addEventListener("keydown", (e) => {
    if (e.key === "+" || e.key === "=") return steps.in();
    if (e.key === "-") return steps.out();
    if (e.key === "0") return fit();
    if (!nodes.includes(document.activeElement)) return;
    const siblings = (children.get(current.dataset.parent) || []).slice().sort((a, b) => place(a).x - place(b).x || place(a).y - place(b).y);
    const i = siblings.indexOf(current);
    const next = {
      ArrowLeft: () => named.get(current.dataset.parent),
      ArrowRight: () => (children.get(current.dataset.name) || []).slice().sort((a, b) => place(a).x - place(b).x || place(a).y - place(b).y)[0],
      ArrowUp: () => siblings[i - 1],
      ArrowDown: () => siblings[i + 1],
    }[e.key];
    if (!next) return;
    e.preventDefault();
    go(next());
  });
})();
