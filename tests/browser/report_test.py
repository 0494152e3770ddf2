#!/usr/bin/env python3
"""Opens report pages in a headless browser: of made-up runs, and of runs of the program.

    report_test.py [--program FILE] [NAME]...      NAMEs of unittest choose tests
    report_test.py --page FILE...                  pages that are there, instead

Exits with 77 where Chromium, its driver or python3-selenium is missing."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as xml

import sample_runs

try:
    from selenium import webdriver
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.chrome.service import Service
except ImportError:
    print("skipped: python3-selenium is not installed")
    sys.exit(77)
DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium")
if not DRIVER or not BROWSER:
    print("skipped: chromium or chromium-driver is not installed")
    sys.exit(77)
if not (sample_runs.LIBRARY / "vega").is_dir() and "--page" not in sys.argv:
    print("skipped: libjs-vega is not installed")
    sys.exit(77)

GIVEN = []
PROGRAM = []  # the path of fedclock
# Figures that a page always has, drawn or with words in their place.
FIGURES = ["accuracy-time", "accuracy-rounds", "accuracy-traffic", "target-bars", "timeline-devices", "time-parts", "partition-rows", "clients-end"]
# Figures of a case that must be drawn, beyond those of every run that learned.
LEARNED = FIGURES + ["clients-rounds"]
DRAWN = {
    "quickstart": LEARNED, "three_methods": LEARNED + ["accuracy-energy", "assigned-depth", "assigned-rank"],
    "eighty_by_hundred": LEARNED + ["accuracy-energy", "assigned-depth", "assigned-rank", "assigned-group"],
    "no_rounds": ["partition-rows"], "round_zero": ["partition-rows", "clients-end"], "no_runs": [], "one_round": LEARNED,
    "null_accuracy": ["timeline-devices", "time-parts", "partition-rows"], "thousand_devices": LEARNED + ["assigned-depth"], "experts": LEARNED + ["assigned-experts"],
    "rouge": LEARNED, "centralized": ["accuracy-time", "accuracy-rounds", "target-bars", "timeline-devices", "partition-rows"], "hostile": LEARNED, "many_series": LEARNED,
    "two_tasks": LEARNED + ["accuracy-energy", "assigned-depth", "assigned-rank"],
}
NOT_SHOWN = re.compile(r"\b(NaN|undefined|null|Infinity|\[object)\b")


class Page:
    """A page in the browser."""
    browser = None
    folder = None

    @classmethod
    def start(cls):
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900", "--disable-dev-shm-usage"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        cls.browser = webdriver.Chrome(service=Service(DRIVER), options=options)
        cls.browser.set_script_timeout(60)
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def stop(cls):
        cls.browser.quit()
        cls.folder.cleanup()

    @classmethod
    def open_case(cls, case):
        data = sample_runs.CASES[case]()
        file = pathlib.Path(cls.folder.name) / f"{case}.html"
        file.write_text(sample_runs.assemble(data))
        cls.open_file(file)
        return data

    @classmethod
    def open_file(cls, file):
        cls.media()
        cls.browser.get_log("browser")
        cls.browser.get("about:blank")
        cls.browser.get(pathlib.Path(file).resolve().as_uri())
        cls.wait("return performance.getEntriesByName('first-figures').length > 0")

    @classmethod
    def run(cls, script, *arguments):
        return cls.browser.execute_script(script, *arguments)

    @classmethod
    def wait(cls, condition, seconds=30):
        end = time.monotonic() + seconds
        while not cls.run(condition):
            assert time.monotonic() < end, f"waited in vain: {condition}"
            time.sleep(0.05)

    @classmethod
    def media(cls, media="", scheme="light"):
        cls.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]})

    @classmethod
    def draw_all(cls):
        """As a reader does who scrolls through the page."""
        for place in range(cls.run("return figures.length")):
            cls.run("figures[arguments[0]].element.scrollIntoView({behavior: 'instant', block: 'center'})", place)
            cls.wait(f"return figures[{place}].drawn")
        # Vega renders after the tasks that are queued.
        cls.browser.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => setTimeout(done, 200))")

    @classmethod
    def complaints(cls):
        return [entry["message"] for entry in cls.browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    @classmethod
    def shown_figures(cls):
        """Ids of the figures that have a drawing with something in it."""
        return set(cls.run("""
          return figures.filter((figure) => {
            const svg = figure.plot.querySelector("svg"), canvas = figure.plot.querySelector("canvas");
            if (svg) return [...svg.querySelectorAll("path")].some((path) => (path.getAttribute("d") || "").length > 8) && svg.getBoundingClientRect().width > 100;
            if (!canvas || !canvas.width) return false;
            const seen = new Set(new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer));
            return seen.size > 3;
          }).map((figure) => figure.answers.id)"""))


class AnyPage(unittest.TestCase):
    """What must hold of every page."""

    def check_page(self, expected=None):
        Page.draw_all()
        self.assertEqual(Page.complaints(), [])
        everything = set(Page.run("return figures.map((figure) => figure.answers.id)"))
        self.assertLessEqual(set(expected if expected is not None else []), everything)
        shown = Page.shown_figures()
        if expected is not None:
            self.assertEqual(set(expected) - shown, set())
        for figure in everything - shown:
            words = Page.run("const box = document.querySelector(`#${arguments[0]} > .absent`); return box.hidden ? '' : box.textContent", figure)
            self.assertGreater(len(words), 15, f"{figure} is neither drawn nor said to be absent")
        Page.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        Page.wait("return figures.every((figure) => figure.absentNow || figure.rows.querySelector('tbody'))")
        text = Page.run("""
          document.querySelectorAll("pre").forEach((code) => code.remove());
          const names = [...document.querySelectorAll("[aria-label]")].map((element) => element.getAttribute("aria-label"));
          const drawn = [...document.querySelectorAll("svg text")].map((element) => element.textContent);
          return [document.body.innerText, ...names, ...drawn].join("\\n")""")
        self.assertIsNone(NOT_SHOWN.search(text), NOT_SHOWN.search(text) and text[max(0, NOT_SHOWN.search(text).start() - 80):][:160])
        self.assertEqual(Page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)"), [])
        outward = Page.run("return [...document.querySelectorAll('[src], link[href], a[href]')].map((one) => one.getAttribute('src') || one.getAttribute('href'))")
        self.assertEqual([address for address in outward if not address.startswith(("#", "data:"))], [])
        for figure in Page.run("return figures.filter((figure) => !figure.absentNow).map((figure) => [figure.answers.id, figure.picture.getAttribute('role'), figure.picture.getAttribute('aria-label')])"):
            self.assertEqual(figure[1], "img")
            self.assertGreater(len(figure[2]), 20, figure)
        self.assertEqual(Page.run("return [...document.querySelectorAll('th')].filter((cell) => !cell.getAttribute('scope')).length"), 0)
        self.assertEqual(Page.run("return [...document.querySelectorAll('table')].filter((one) => !one.caption || !one.caption.textContent).length"), 0)
        self.assertEqual(Page.run("return document.documentElement.lang"), "en")
        self.assertLessEqual(Page.run("return document.documentElement.scrollWidth - window.innerWidth"), 0, "the page scrolls sideways")
        ids = Page.run("return [...document.querySelectorAll('[id]')].map((element) => element.id)")
        self.assertEqual(len(ids), len(set(ids)))

    def check_tips(self):
        for figure in Page.run("return figures.filter((figure) => !figure.absentNow).map((figure) => figure.answers.id)"):
            Page.run("document.getElementById(arguments[0]).querySelector('.plot').scrollIntoView({behavior: 'instant', block: 'center'})", figure)
            told = False
            for across, down in ((0.5, 0.5), (0.31, 0.37), (0.12, 0.21), (0.7, 0.86)):
                place = Page.run("""
                  const {view, plot} = figures.find((one) => one.answers.id === arguments[0]);
                  const box = plot.querySelector("svg, canvas").getBoundingClientRect();
                  return {x: box.left + view.origin()[0] + view.width() * arguments[1], y: box.top + view.origin()[1] + view.height() * arguments[2]};""", figure, across, down)
                Page.browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", **place})
                told = told or Page.run("return !document.getElementById('tip').hidden && document.getElementById('tip').textContent.length > 5")
            self.assertTrue(told, f"no tooltip over {figure}")
            self.assertIsNone(NOT_SHOWN.search(Page.run("return document.getElementById('tip').textContent")))

    def check_saved(self):
        for place in range(Page.run("return figures.length")):
            if Page.run("return figures[arguments[0]].absentNow", place):
                continue
            saved = Page.browser.execute_async_script("""
              const done = arguments[1];
              const click = HTMLAnchorElement.prototype.click;
              HTMLAnchorElement.prototype.click = function () {
                HTMLAnchorElement.prototype.click = click;
                fetch(this.href).then((answer) => answer.text()).then((text) => done([this.download, text]));
              };
              figures[arguments[0]].element.querySelector(".save").click();""", place)
            tree = xml.fromstring(saved[1])
            self.assertEqual(tree.tag, "{http://www.w3.org/2000/svg}svg")
            self.assertTrue(saved[0].endswith(".svg"))
            self.assertTrue(tree.findtext("{http://www.w3.org/2000/svg}title"))
            self.assertGreater(sum(len(path.get("d", "")) > 8 for path in tree.iter("{http://www.w3.org/2000/svg}path")), 0, saved[0])
            self.assertIsNone(re.search(r"NaN|undefined|Infinity", saved[1]), saved[0])
        self.assertEqual(Page.complaints(), [])


class SamplePages(AnyPage):
    def test_every_case(self):
        for case in sample_runs.CASES:
            with self.subTest(case):
                Page.open_case(case)
                if case == "eighty_by_hundred":  # for people: no test measures time
                    took = Page.run("return performance.getEntriesByName('first-figures')[0].startTime") / 1000
                    print(f"80 devices x 100 rounds: first figures after {took:.2f} s", flush=True)
                self.check_page(DRAWN[case])

    def test_tips(self):
        for case in ("three_methods", "eighty_by_hundred", "rouge"):
            with self.subTest(case):
                Page.open_case(case)
                Page.draw_all()
                self.check_tips()

    def test_saved_drawings(self):
        for case in ("three_methods", "experts"):
            with self.subTest(case):
                Page.open_case(case)
                self.check_saved()

    def test_many_scenarios_are_called_by_what_their_names_begin_with(self):
        title = lambda names: Page.run("return beginning(arguments[0])", names)
        Page.open_case("quickstart")
        self.assertEqual(title(["suite-news-0.1-fedit", "suite-news-0.1-hetlora", "suite-news-0.1-hetlora"]), "suite-news-0.1")
        self.assertEqual(title(["news-1", "news-10"]), "news")
        self.assertEqual(title(["alpha", "alphabet"]), "")
        self.assertEqual(title(["a-1", "a-2"]), "")
        self.assertEqual(title(["same", "same"]), "same")

    def test_runs_of_different_tasks_are_told_apart(self):
        head = "return document.querySelector('header').textContent"
        Page.open_case("two_tasks")
        self.assertIn("2 different tasks: their accuracies do not compare", Page.run(head))
        Page.open_case("three_methods")
        self.assertNotIn("different tasks", Page.run(head))

    def test_names_are_text(self):
        Page.open_case("hostile")
        self.assertEqual(Page.run("return document.querySelectorAll('main b, main u, main i:not(#tip i), main img').length"), 0)
        self.assertIn("<b>bold</b>", Page.run("return document.querySelector('h1').textContent"))

    def test_tables_equal_the_data(self):
        data = Page.open_case("quickstart")
        rounds = data["runs"][0]["rounds"]
        rows = self.table_of("accuracy-rounds")
        self.assertEqual(rows, [["fedit", f"round {at}", f"{value:.3f}"] for at, value in zip(rounds["round"], rounds["accuracy"])])
        clients = data["runs"][0]["clients"]
        self.assertEqual(self.table_of("partition-rows"), [[str(place), clients["device"][place], str(clients["trainRows"][place]), str(clients["testRows"][place]),
                                                            *map(str, clients["classRows"][place])] for place in range(len(clients["device"]))])
        events = data["runs"][0]["events"]
        self.assertEqual(len(self.table_of("timeline-devices")), 200)
        self.assertIn(f"The first 200 of {len(events['client']):,} rows", Page.run("return document.querySelector('#timeline-devices caption').textContent"))

    def test_bands_are_means_and_ranges_of_seeds(self):
        data = Page.open_case("three_methods")
        rows = [row for row in self.table_of("accuracy-rounds") if row[0] == "fedit"]
        for at, row in enumerate(rows):
            values = [data["runs"][place]["rounds"]["accuracy"][at] for place in data["series"][0]["runs"]]
            self.assertEqual(row[2:], [f"{sum(values) / 3:.3f}", f"{min(values):.3f}", f"{max(values):.3f}", "3 of 3"])
        first, second = ([data["target"]["reached"][place]["s"] for place in data["series"][at]["runs"]] for at in (0, 1))
        speed_up = (sum(first) / 3) / (sum(second) / 3)
        self.assertEqual(self.table_of("target-bars")[1][3], f"{speed_up:.2f}×")

    def table_of(self, figure):
        Page.run("document.querySelector(`#${arguments[0]} details.table`).open = true", figure)
        Page.wait(f"return document.querySelector('#{figure} tbody') !== null")
        return Page.run("return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map((row) => [...row.cells].map((cell) => cell.textContent))", figure)

    def test_timeline_zooms(self):
        Page.open_case("quickstart")
        # Figures that are drawn later move the ones below.
        Page.draw_all()
        figure = "figures.find((one) => one.answers.id === 'timeline-devices')"
        Page.run(f"{figure}.element.scrollIntoView({{behavior: 'instant'}})")
        Page.wait(f"return {figure}.drawn")
        domain = lambda: Page.run(f"return {figure}.view.scale('seconds').domain()")

        def changed(act):
            before = domain()
            act()
            Page.wait(f"return JSON.stringify({figure}.view.scale('seconds').domain()) !== '{json.dumps(before, separators=(',', ':'))}'", 5)
            return before, domain()

        size = lambda window: window[1] - window[0]
        whole = domain()
        before, after = changed(lambda: Page.browser.find_element(By.ID, "timeline-in").click())
        self.assertAlmostEqual(size(after), size(before) / 2, places=3)
        before, after = changed(lambda: Page.browser.find_element(By.ID, "timeline-later").click())
        self.assertGreater(after[0], before[0])
        picture = Page.browser.find_element(By.CSS_SELECTOR, "#timeline-devices .picture")
        before, after = changed(lambda: picture.send_keys("+"))
        self.assertLess(size(after), size(before))
        before, after = changed(lambda: picture.send_keys(Keys.ARROW_LEFT))
        self.assertLess(after[0], before[0])
        wheel = {"type": "mouseWheel", "deltaX": 0, "deltaY": -120, **Page.run("""
          const box = document.querySelector("#timeline-devices canvas").getBoundingClientRect(); return {x: box.left + box.width / 2, y: box.top + box.height / 2}""")}
        before, after = changed(lambda: Page.browser.execute_cdp_cmd("Input.dispatchMouseEvent", wheel))
        self.assertLess(size(after), size(before))
        canvas = Page.browser.find_element(By.CSS_SELECTOR, "#timeline-devices canvas")
        before, after = changed(lambda: ActionChains(Page.browser, 20).move_to_element(canvas).click_and_hold().move_by_offset(-60, 0).release().perform())
        self.assertAlmostEqual(size(after), size(before), places=3)
        self.assertGreater(after[0], before[0])
        self.assertIn("Shown:", Page.run("return document.querySelector('.state').textContent"))
        changed(lambda: Page.browser.find_element(By.ID, "timeline-whole").click())
        self.assertEqual(domain(), whole)
        self.assertEqual(Page.complaints(), [])

    def test_choices(self):
        Page.open_case("three_methods")
        Page.draw_all()
        for place in range(Page.run("return document.querySelectorAll('main select').length")):
            for choice in range(Page.run("return document.querySelectorAll('main select')[arguments[0]].options.length", place)):
                Page.run("""
                  const select = document.querySelectorAll("main select")[arguments[0]];
                  select.selectedIndex = arguments[1];
                  select.dispatchEvent(new Event("change"));""", place, choice)
        self.check_page()

    def test_dark_and_print(self):
        Page.open_case("quickstart")
        Page.draw_all()
        paper = "return getComputedStyle(document.querySelector('main > section')).backgroundColor"
        drawing = "return document.querySelector('#accuracy-time svg').outerHTML"
        light = Page.run(paper), Page.run(drawing)
        Page.media(scheme="dark")
        Page.wait("return currentTheme() === DARK")
        Page.wait("return figures.every((figure) => figure.absentNow || figure.drawnFor.theme === DARK)")
        dark = Page.run(paper), Page.run(drawing)
        self.assertNotEqual(light[0], dark[0])
        self.assertIn("#171b1f", dark[1])
        self.assertNotIn("#171b1f", light[1])
        Page.media("print", "dark")
        Page.wait("return figures.every((figure) => figure.absentNow || figure.drawnFor.theme === LIGHT)")
        self.assertEqual(Page.run("return [...document.querySelectorAll('button, select, nav, details.table')].filter((one) => one.getClientRects().length).length"), 0)
        self.assertEqual(Page.run(paper), "rgb(255, 255, 255)")

    def test_paper_has_every_figure(self):
        Page.open_case("three_methods")
        Page.browser.execute_cdp_cmd("Page.printToPDF", {})
        Page.wait("return figures.every((figure) => figure.drawn)")
        Page.wait("return !aboutToPrint")

    def test_keys_reach_every_control(self):
        Page.open_case("three_methods")
        Page.draw_all()
        Page.run("window.scrollTo({top: 0, behavior: 'instant'}); document.activeElement.blur()")
        wanted = Page.run("""
          window.controls = [...document.querySelectorAll("a[href], button, select, summary, [tabindex='0']")].filter((one) => one.checkVisibility());
          return window.controls.length""")
        reached = []
        for _ in range(wanted + 5):
            ActionChains(Page.browser, 10).send_keys(Keys.TAB).perform()
            reached.append(Page.run("return window.controls.indexOf(document.activeElement)"))
        reached = [place for place in reached if place >= 0]
        self.assertEqual(set(range(wanted)) - set(reached), set())
        self.assertEqual(reached[:wanted], sorted(reached[:wanted]))
        self.assertEqual(Page.run("return [...window.controls].filter((one) => one.matches('button, select') && !(one.getAttribute('aria-label') || one.labels?.length || one.textContent.trim())).length"), 0)

    def test_narrow_window(self):
        Page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 480, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        try:
            for case in ("three_methods", "eighty_by_hundred", "many_series", "hostile"):
                with self.subTest(case):
                    Page.open_case(case)
                    self.check_page(DRAWN[case])
        finally:
            Page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


class ProgramPages(AnyPage):
    """Pages of real runs, whose names and texts try to be more than text."""

    EVIL = "</script><script>window.escaped = 1</script><img src=x onerror='window.escaped = 1'><!-- <script> \\u2028 \\\\ &lt;"

    @classmethod
    def setUpClass(cls):
        if not PROGRAM:
            raise unittest.SkipTest("no --program")
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        tiny = (pathlib.Path(__file__).resolve().parents[1] / "data" / "good" / "tiny.textproto").read_text()
        assert tiny.count('"large board"') == 1
        evil = json.dumps(cls.EVIL)
        (cls.folder / "tiny.textproto").write_text(tiny.replace('"large board"', evil) + f"\ndescription: {evil}\nassumptions: {evil}\n")
        cls.fedclock("run", "tiny.textproto", "--out", "runs/a <b>bold</b> one/seed-3")
        cls.fedclock("run", "tiny.textproto", "--out", "runs/a <b>bold</b> one/seed-4", "--set", "seed=4")
        cls.fedclock("run", "tiny.textproto", "--out", "runs/ffa", "--set", "method=ffa_lora")
        cls.fedclock("run", "tiny.textproto", "--out", "clock", "--timing-only")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def fedclock(cls, *arguments):
        places = {"FEDCLOCK_CACHE": str(cls.folder / "cache"), "FEDCLOCK_STORE": str(cls.folder / "store.sqlite")}
        ran = subprocess.run([PROGRAM[0], *arguments], cwd=cls.folder, env={**os.environ, **places}, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr

    def open_report(self, *folders):
        self.fedclock("report", *folders, "-o", "report.html")
        Page.open_file(self.folder / "report.html")

    def test_several_runs(self):
        self.open_report("runs")
        self.assertEqual(Page.run("return FEDCLOCK.runs.length"), 3)
        self.assertEqual(Page.run("return FEDCLOCK.series.length"), 2)
        self.check_page(LEARNED)
        self.check_tips()
        self.check_saved()
        self.assertIsNone(Page.run("return window.escaped || null"))

    def test_one_run(self):
        self.open_report("runs/a <b>bold</b> one/seed-3")
        self.check_page(LEARNED)
        self.assertIsNone(Page.run("return window.escaped || null"))
        self.assertEqual(Page.run("return document.querySelectorAll('main img').length"), 0)
        self.assertIn(self.EVIL, Page.run("return FEDCLOCK.runs[0].assumptions.join()"))
        self.assertIn(self.EVIL.split(" ")[0], Page.run("return document.body.textContent"))

    def test_the_clock_alone(self):
        self.open_report("clock")
        self.check_page(["timeline-devices", "time-parts", "partition-rows"])


class GivenPages(AnyPage):
    """Pages that the program wrote."""

    def test_given_pages(self):
        for file in GIVEN:
            with self.subTest(str(file)):
                Page.open_file(file)
                self.check_saved()
                self.check_page()
                self.check_tips()


def setUpModule():
    Page.start()


def tearDownModule():
    Page.stop()


def load_tests(loader, tests, pattern):
    cases = [GivenPages] if GIVEN else [SamplePages, ProgramPages]
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in cases)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    for name, values in (("--page", GIVEN), ("--program", PROGRAM)):
        while name in arguments:
            at = arguments.index(name)
            values.append(pathlib.Path(arguments[at + 1]).resolve())
            del arguments[at:at + 2]
    names = [name if "." in name else f"SamplePages.{name}" for name in arguments]
    unittest.main(argv=[sys.argv[0], *names], verbosity=2)
