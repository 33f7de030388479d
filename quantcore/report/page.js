"use strict";
// Draws the plot in the colours of the theme, and hands out the figures and pictures of this file.
(() => {
  const held = (name) => JSON.parse(document.getElementById(`data-${name}`).textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 760px)");
  const pointer = matchMedia("(hover: hover) and (pointer: fine)");
  const facts = held("facts");
  const figures = held("figures");
  const plot = document.getElementById("plot");
  const across = document.getElementById("across");
  const pictures = [...document.querySelectorAll(".rp-picture")];

  // What a colour of the style sheet is in the theme of now.
  const color = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(--qw-${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };

  const axis = (given, line) => ({
    ...given, gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line,
    fixedrange: !pointer.matches,
  });

  const layout = (given) => {
    const [text, muted, line, ground] = ["text", "muted", "line", "ground"].map(color);
    return {
      ...given,
      height: narrow.matches ? 400 : 480,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: muted },
      hoverlabel: { ...given.hoverlabel, bgcolor: ground, bordercolor: muted, font: { color: text } },
      dragmode: pointer.matches ? "zoom" : false,
      xaxis: axis(given.xaxis, line),
      yaxis: axis(given.yaxis, line),
    };
  };

  const draw = () => {
    const place = Number(across.value);
    const config = { displayModeBar: false, responsive: true, scrollZoom: false };
    Plotly.react(plot, figures[place].data, layout(figures[place].layout), config);
    pictures.forEach((picture, index) => { picture.hidden = index !== place; });
  };

  const save = (content, kind, ending) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: kind }));
    link.download = `${facts.name}.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };

  // A picture that leaves the page takes its own colours with it, which are the light ones.
  const svg = () => {
    const shown = pictures[Number(across.value)].querySelector("svg");
    return new XMLSerializer().serializeToString(shown).replace(/var\(--[\w-]+, (#\w+)\)/g, "$1");
  };

  const png = () => {
    const image = new Image();
    const canvas = document.createElement("canvas");
    image.onload = () => {
      canvas.width = 2 * image.width;
      canvas.height = 2 * image.height;
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(blob, "image/png", "png"));
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg())}`;
  };

  const savers = {
    png,
    svg: () => save(svg(), "image/svg+xml", "svg"),
    csv: () => save(held("csv"), "text/csv", "csv"),
    json: () => save(JSON.stringify(held("json"), null, 2), "application/json", "json"),
  };
  for (const button of document.querySelectorAll("button[data-save]")) {
    button.addEventListener("click", () => savers[button.dataset.save]());
  }
  if (plot) {
    across.addEventListener("change", draw);
    dark.addEventListener("change", draw);
    narrow.addEventListener("change", draw);
    try {
      draw();
    } catch (error) {
      // The pictures say the same.
      document.documentElement.classList.remove("js");
      throw error;
    }
  }
})();
