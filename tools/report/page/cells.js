"use strict";
// Maps of cells. All cells of a colour are one path in units of rows and columns, which Vega stretches to the plot:
// thousands of cells cost as little as a few.

function rectangle(x, y, width, height) {
  return `M${+x.toFixed(4)} ${+y.toFixed(4)}h${+width.toFixed(4)}v${+height.toFixed(4)}h${-+width.toFixed(4)}Z`;
}

// Runs of equal cells in a row become one rectangle, unless cells are apart. `value(row, column)` is null for no cell.
function cellPaths(rows, columns, value, gap, apart = 0) {
  const paths = new Map();
  for (let row = 0; row < rows; ++row) {
    for (let column = 0; column < columns;) {
      const here = value(row, column);
      let end = column + 1;
      while (!apart && end < columns && value(row, end) === here) ++end;
      if (here !== null) paths.set(here, (paths.get(here) ?? "")
        + rectangle(column + apart / 2, row + gap / 2, end - column - apart, 1 - gap));
      column = end;
    }
  }
  return paths;
}

// levels: [{name, colour}] of the legend; paths: level's name -> path; marked: a path above, in the colour `mark`.
function cellsSpec({ theme, width, rows, columns, levels, paths, marked, mark, legendTitle, axes }) {
  return {
    data: [
      { name: "cells", values: levels.filter((level) => paths.has(level.name))
        .map((level) => ({ name: level.name, path: paths.get(level.name) })) },
      { name: "marked", values: marked ? [{ path: marked }] : [] },
    ],
    scales: [
      { name: "column", type: "linear", domain: [0, columns], range: "width", nice: false, zero: false },
      { name: "row", type: "linear", domain: [0, rows], range: [0, { signal: "height" }], nice: false, zero: false },
      { name: "colour", type: "ordinal", domain: levels.map((level) => level.name),
        range: levels.map((level) => level.colour) },
    ],
    axes,
    legends: [{ fill: "colour", orient: "top", title: legendTitle, symbolType: "square", symbolStrokeWidth: 0,
      offset: 8,
      columns: legendColumns(levels.map(({ name }) => name), width - 60) }],
    marks: [
      { type: "rect", interactive: false, encode: { update: { x: { value: 0 }, y: { value: 0 },
        x2: { signal: "width" }, y2: { signal: "height" },
        stroke: { value: theme.line }, strokeWidth: { value: 0.5 } } } },
      { type: "path", from: { data: "cells" }, encode: { update: { path: { field: "path" },
        fill: { scale: "colour", field: "name" },
        scaleX: { signal: `width / ${columns}` }, scaleY: { signal: `height / ${rows}` } } } },
      { type: "path", from: { data: "marked" }, encode: { update: { path: { field: "path" }, fill: { value: mark },
        scaleX: { signal: `width / ${columns}` }, scaleY: { signal: `height / ${rows}` } } } },
    ],
  };
}
