// Draws each figure in the colours of the page, and anew when those change.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const inColours = (layout) => {
    const colours = getComputedStyle(document.documentElement);
    const text = colours.getPropertyValue("--text").trim(), line = colours.getPropertyValue("--line").trim();
    const font = { color: text, family: getComputedStyle(document.body).fontFamily, size: 12 };
    const drawn = { ...layout, font };
    for (const name of Object.keys(drawn).filter((key) => /^[xy]axis/.test(key))) {
      drawn[name] = { ...drawn[name], gridcolor: line, linecolor: line, tickcolor: line };
    }
    return drawn;
  };
  const options = { displayModeBar: false, displaylogo: false, responsive: true };
  const draw = () => document.querySelectorAll("figure.chart").forEach((chart) => {
    const { data, layout } = JSON.parse(chart.querySelector("script").textContent);
    Plotly.react(chart.querySelector(".plot"), data, inColours(layout), options);
  });
  draw();
  dark.addEventListener("change", draw);
})();
