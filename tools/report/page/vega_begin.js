/*
 * Debian ships Vega as modules without a bundle. The files of vega.txt, of which this is the first, are
 * one script when they follow each other; it sets window.vega.
 *
 * Vega, https://github.com/vega/vega, and d3 within it, https://d3js.org, under these terms:
 * Copyright 2015-2022 University of Washington Interactive Data Lab (BSD-3-Clause);
 * Copyright 2010-2022 Mike Bostock (ISC, d3); expressions after Esprima, copyright 2012-2013
 * Ariya Hidayat and others (BSD-2-Clause).
 *
 * Its parser of expressions is based on Esprima (http://esprima.org/)
 * License: BSD-2-Clause
 * Copyright:
 *  2013 Ariya Hidayat <ariya.hidayat@gmail.com>
 *  2013 Thaddee Tyl <thaddee.tyl@gmail.com>
 *  2013 Mathias Bynens <mathias@qiwi.be>
 *  2012 Ariya Hidayat <ariya.hidayat@gmail.com>
 *  2012 Mathias Bynens <mathias@qiwi.be>
 *  2012 Joost-Wim Boekesteijn <joost-wim@boekesteijn.nl>
 *  2012 Kris Kowal <kris.kowal@cixar.com>
 *  2012 Yusuke Suzuki <utatane.tea@gmail.com>
 *  2012 Arpad Borsos <arpad.borsos@googlemail.com>
 *  2011 Ariya Hidayat <ariya.hidayat@gmail.com>
 *
 * topojson-client
 * Copyright: 2012-2019 Michael Bostock
 * License: ISC
 *
 * License: BSD-2-Clause
 * Redistribution and use in source and binary forms, with or without
 * modification, are permitted provided that the following conditions are met:
 *
 *   * Redistributions of source code must retain the above copyright
 *     notice, this list of conditions and the following disclaimer.
 *   * Redistributions in binary form must reproduce the above copyright
 *     notice, this list of conditions and the following disclaimer in the
 *     documentation and/or other materials provided with the distribution.
 *
 * THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
 * AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
 * IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE
 * ARE DISCLAIMED. IN NO EVENT SHALL (COPYRIGHT HOLDER) BE LIABLE FOR ANY
 * DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES
 * (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES;
 * LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND
 * ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT
 * (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
 * THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
 *
 * License: BSD-3-Clause
 * Redistribution and use in source and binary forms, with or without
 * modification, are permitted provided that the following conditions
 * are met:
 * 1. Redistributions of source code must retain the above copyright
 *    notice, this list of conditions and the following disclaimer.
 * 2. Redistributions in binary form must reproduce the above copyright
 *    notice, this list of conditions and the following disclaimer in the
 *    documentation and/or other materials provided with the distribution.
 * 3. Neither the name of the University nor the names of its contributors
 *    may be used to endorse or promote products derived from this software
 *    without specific prior written permission.
 *
 * THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS
 * ``AS IS'' AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT
 * LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR
 * A PARTICULAR PURPOSE ARE DISCLAIMED.  IN NO EVENT SHALL THE HOLDERS OR
 * CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL,
 * EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO,
 * PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR
 * PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF
 * LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING
 * NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS
 * SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
 *
 *
 * ISC: Permission to use, copy, modify, and/or distribute this software for any purpose with or
 * without fee is hereby granted, provided that the above copyright notice and this permission notice
 * appear in all copies. THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH
 * REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT
 * SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
 * WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE
 * OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
 */
// Each module calls define() without its name: they come in this order.
var vegaNames = ["vega-util", "vega-time", "vega-canvas", "vega-format", "vega-loader", "vega-dataflow", "vega-scale",
  "vega-scenegraph", "vega-expression", "vega-statistics", "vega-selections", "vega-functions", "vega-event-selector",
  "vega-runtime", "vega-encode", "vega-transforms", "vega-view-transforms", "vega-parser", "vega-view"];
var vegaModules = {};
var define = function (needs, make) {
  var exported = vegaModules[vegaNames.shift()] = {};
  make.apply(null, needs.map(function (name) {
    if (name === "exports") return exported;
    if (!vegaModules[name]) throw new Error("a module of Vega comes before " + name + ", which it needs");
    return vegaModules[name];
  }));
};
define.amd = true;
