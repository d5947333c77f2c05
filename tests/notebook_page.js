// What a page with renderings is like, told as JSON in the page itself.
function rgba(text) {
  const n = text.match(/[\d.]+/g).map(Number);
  return n.length < 4 ? [...n, 1] : n;
}
function over(front, back) {
  return [0, 1, 2].map((k) => front[k] * front[3] + back[k] * (1 - front[3])).concat(1);
}
function luminance(colour) {
  const [r, g, b] = colour.slice(0, 3).map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(a, b) {
  const [low, high] = [luminance(a), luminance(b)].sort((p, q) => p - q);
  return (high + 0.05) / (low + 0.05);
}
function behind(element) {
  let chain = [];
  for (let e = element; e; e = e.parentElement) chain.push(e);
  let colour = [255, 255, 255, 1];
  for (const e of chain.reverse()) colour = over(rgba(getComputedStyle(e).backgroundColor), colour);
  if (element.tagName !== "text") return colour;
  const box = element.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
  for (const rect of element.ownerSVGElement.querySelectorAll("rect")) {
    const r = rect.getBoundingClientRect();
    if (r.left <= x && x <= r.right && r.top <= y && y <= r.bottom) colour = over(rgba(getComputedStyle(rect).fill), colour);
  }
  return colour;
}
function texts(root) {
  return [...root.querySelectorAll("*")].filter((e) => [...e.childNodes].some((c) => c.nodeType === 3 && c.data.trim()));
}
function looked(root) {
  const found = { pale: [], outside: [], texts: 0, drawings: 0 };
  for (const svg of root.querySelectorAll("svg")) {
    const s = svg.getBoundingClientRect();
    found.drawings += s.width > 20 && s.height > 20;
    for (const t of svg.querySelectorAll("text")) {
      const b = t.getBoundingClientRect();
      if (b.left < s.left || b.right > s.right + 1 || b.top < s.top || b.bottom > s.bottom + 1) found.outside.push(t.textContent);
    }
  }
  for (const e of texts(root)) {
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    if (!box.width) continue;
    found.texts += 1;
    const ratio = contrast(rgba(e.tagName === "text" ? style.fill : style.color), behind(e));
    if (ratio < 4.5) found.pale.push(e.textContent + ": " + ratio.toFixed(2));
  }
  return found;
}
function styles(root) {
  return [...root.querySelectorAll("*")].map((e) => [...getComputedStyle(e)].map((k) => getComputedStyle(e)[k]).join("|")).join("\n");
}
function painted(root) {
  return [...root.querySelectorAll("svg, svg text, svg path, svg rect, svg polyline, svg circle")].map((e) => {
    const style = getComputedStyle(e), seen = [e.tagName];
    if (e.tagName === "svg") return seen.concat(style.backgroundColor).join(" ");
    seen.push(style.fill, style.stroke);
    if (style.stroke !== "none") seen.push(style.strokeWidth, style.strokeDasharray);
    if (e.tagName === "text") seen.push(style.fontSize, style.fontFamily, style.textAnchor);
    return seen.join(" ");
  });
}
const host = document.getElementById("host"), output = document.getElementById("output");
const result = {};
for (const theme of ["light", "dark"]) {
  document.body.className = theme;
  output.innerHTML = "";
  const before = styles(host);
  output.innerHTML = JSON.parse(document.getElementById("renderings").textContent).join("<hr>");
  for (const d of output.querySelectorAll("details")) d.open = true;
  const drawn = painted(output);
  document.body.classList.add("hostile");
  const repainted = painted(output);
  document.body.classList.remove("hostile");
  result[theme] = {
    ...looked(output),
    leaks: before !== styles(host),
    wide: document.documentElement.scrollWidth > window.innerWidth,
    changed: drawn.flatMap((style, k) => (style === repainted[k] ? [] : [style + " became " + repainted[k]])),
    elements: output.querySelectorAll("style, link, script").length,
  };
}
document.getElementById("result").textContent = JSON.stringify(result);
