if (vegaNames.length) throw new Error("modules of Vega are missing: " + vegaNames.join(", "));
Object.assign(vegaModules["vega-dataflow"].transforms, vegaModules["vega-transforms"], vegaModules["vega-view-transforms"],
  vegaModules["vega-encode"]);
window.vega = { parse: vegaModules["vega-parser"].parse, View: vegaModules["vega-view"].View };
// Nothing else on the page should take these for a module loader.
define = vegaModules = vegaNames = undefined;
