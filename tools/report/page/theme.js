"use strict";
// Colours and Vega's configuration for light, dark and print. Okabe and Ito's palette, lightened on dark.

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';

const LIGHT = {
  name: "light", paper: "#ffffff", ink: "#1d242b", soft: "#5a6672", line: "#c9d0d6", grid: "#e8ecef",
    target: "#1d242b",
  series: ["#0072b2", "#d55e00", "#009e73", "#b5539a", "#b88200", "#3a9fd8", "#6b6b6b"],
  groups: ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c", "#b8a800"],
  ramp: ["#d3eaf2", "#93cbe0", "#4ea6c8", "#2379a6", "#164f80", "#0c2b54"],
  phases: { download: "#56b4e9", train: "#0072b2", upload: "#e69f00", wait: "#d5dade", off: "#8b949c",
    merge: "#009e73",
    groupDownload: "#b9a3d6", groupUpload: "#cc79a7", broken: "#d55e00", cancelled: "#e8b08a" },
};

const DARK = {
  name: "dark", paper: "#171b1f", ink: "#e8ecef", soft: "#a3adb7", line: "#48525b", grid: "#2a3137",
    target: "#e8ecef",
  series: ["#58b2ee", "#f58b4c", "#35c99d", "#e092c8", "#e8b53e", "#a9dcfa", "#b4b4b4"],
  groups: ["#3d9fdd", "#e8b03a", "#2fb98f", "#dd92be", "#8fd0f5", "#ec7f3c", "#a0a0a0", "#d6ca3c"],
  ramp: ["#17384d", "#1d5876", "#2a7fa3", "#4fa9c9", "#8fd0e4", "#dff5fb"],
  phases: { download: "#86ccf4", train: "#3a93d0", upload: "#eeb03f", wait: "#3a434b", off: "#77818a",
    merge: "#35c99d",
    groupDownload: "#b8a2dc", groupUpload: "#dd92be", broken: "#f0773a", cancelled: "#8a5a3c" },
};

const darkWanted = window.matchMedia("(prefers-color-scheme: dark)");
const printing = window.matchMedia("print");
let aboutToPrint = false;

function onPaper() {
  return aboutToPrint || printing.matches;
}

function currentTheme() {
  return darkWanted.matches && !onPaper() ? DARK : LIGHT;
}

// Series beyond the palette repeat its colours with other dashes.
function seriesColour(theme, place) {
  return theme.series[place % theme.series.length];
}

function seriesDash(place) {
  return [[], [6, 3], [2, 2], [8, 3, 2, 3]][Math.floor(place / LIGHT.series.length) % 4];
}

const SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right"];

function seriesShape(place) {
  return SHAPES[place % SHAPES.length];
}

// A colour of the ramp, part 0 to 1.
function rampColour(theme, part) {
  const place = Math.min(1, Math.max(0, part)) * (theme.ramp.length - 1);
  const below = Math.min(Math.floor(place), theme.ramp.length - 2);
  const channel = (text, at) => parseInt(text.slice(at, at + 2), 16);
  return "#" + [1, 3, 5].map((at) => {
    const from = channel(theme.ramp[below], at);
    const to = channel(theme.ramp[below + 1], at);
    return Math.round(from + (place - below) * (to - from)).toString(16).padStart(2, "0");
  }).join("");
}

function vegaConfig(theme) {
  return {
    background: theme.paper,
    aria: false,
    axis: {
      labelFont: FONT, titleFont: FONT, labelFontSize: 11, titleFontSize: 11.5, titleFontWeight: 500,
        labelColor: theme.soft,
      titleColor: theme.ink, domainColor: theme.line, tickColor: theme.line, gridColor: theme.grid, tickSize: 4,
      labelPadding: 4, titlePadding: 8, labelOverlap: true, labelBound: false,
    },
    legend: {
      labelFont: FONT, titleFont: FONT, labelFontSize: 11.5, titleFontSize: 11.5, titleFontWeight: 500,
        labelColor: theme.ink,
      titleColor: theme.soft, symbolSize: 110, columnPadding: 16, rowPadding: 4, labelLimit: 260,
        symbolDirection: "horizontal", titleLimit: 300,
    },
    text: { font: FONT, fontSize: 11.5, fill: theme.ink },
  };
}

// Columns of a legend above a picture, so that it wraps instead of being cut off.
function legendColumns(labels, width) {
  const longest = Math.min(260, Math.max(...labels.map((label) => textWidth(label)), 10)) + 44;
  return Math.max(1, Math.min(labels.length, Math.floor(width / longest)));
}

// Steps of labels, 1, 2, 5, 10, 20, ...: the least that is not below.
function stepOf(least) {
  for (let size = 1; ; size *= 10) for (const step of [1, 2, 5]) if (step * size >= least) return step * size;
}

const measuring = document.createElement("canvas").getContext("2d");

function textWidth(text, size = 11.5) {
  measuring.font = `${size}px ${FONT}`;
  return measuring.measureText(text).width;
}

// Cut to so many pixels, with an ellipsis.
function fitted(text, limit, size = 11.5) {
  if (textWidth(text, size) <= limit) return text;
  let length = text.length;
  while (length > 1 && textWidth(text.slice(0, length) + "…", size) > limit) --length;
  return text.slice(0, length) + "…";
}
