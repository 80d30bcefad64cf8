// The plots of the last hour.

const series = [
  ["created", "made", "--made"],
  ["completed", "completed", "--good"],
  ["failed", "failed", "--bad"],
  ["cancelled", "cancelled", "--muted"],
];

const dark = matchMedia("(prefers-color-scheme: dark)");
const drawn = new WeakMap(); // by the element that holds the plots
let latest = null; // what was drawn last, to be drawn again in other colours

// drawRates draws the rates into an element, or gives its plots other data.
export function drawRates(holder, rates) {
  latest = { holder, rates };
  const from = Date.parse(rates.from) / 1000;
  const at = rates.created.map((_, i) => from + 60 * (i + 1)); // where each minute ends
  const data = [
    [at, ...series.map(([name]) => rates[name])],
    [at, rates.active],
  ];
  let plots = drawn.get(holder);
  if (!plots) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    plots = [
      draw(holder, "Tasks per minute", data[0], series.map(([, label, c]) => line(label, colour(c))), colour),
      draw(holder, "Active tasks", data[1], [{ ...line("active", colour("--accent")), fill: colour("--accent-soft") }], colour),
    ];
    drawn.set(holder, plots);
  }
  plots.forEach(({ plot, figure }, i) => {
    plot.setData(data[i]);
    figure.setAttribute("aria-label", describe(i, rates));
  });
}

function line(label, stroke) {
  return { label, stroke, width: 1.75, points: { show: false }, value: (_, v) => (v == null ? "–" : `${v}`) };
}

function draw(holder, title, data, lines, colour) {
  const box = document.createElement("div");
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  box.setAttribute("role", "img");
  figure.append(caption, box);
  holder.append(figure);
  const axis = { stroke: colour("--text-soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "11px system-ui, sans-serif" };
  const plot = new uPlot(
    {
      width: Math.max(box.clientWidth, 200),
      height: 170,
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 4)] } },
      axes: [
        { ...axis, space: 60, values: (_, ticks) => ticks.map(hourAndMinute) },
        { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6] },
      ],
      series: [{ label: "at", value: (_, v) => (v == null ? "–" : hourAndMinute(v)) }, ...lines],
    },
    data,
    box,
  );
  new ResizeObserver(() => box.clientWidth && plot.setSize({ width: box.clientWidth, height: 170 })).observe(box);
  return { plot, figure: box };
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });

function hourAndMinute(seconds) {
  return clock.format(new Date(seconds * 1000));
}

// describe says in words what a plot shows.
function describe(i, rates) {
  const sum = (name) => rates[name].reduce((a, b) => a + b, 0);
  if (i === 1) return `Active tasks in the last hour: at most ${Math.max(...rates.active)}, now ${rates.active.at(-1)}`;
  return `Tasks per minute in the last hour: ${series.map(([name, label]) => `${sum(name)} ${label}`).join(", ")} in all`;
}

dark.addEventListener("change", () => {
  if (!latest) return;
  drawn.get(latest.holder)?.forEach(({ plot }) => plot.destroy());
  drawn.delete(latest.holder);
  latest.holder.replaceChildren();
  drawRates(latest.holder, latest.rates);
});
