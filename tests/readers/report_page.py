"""The page of `lookback report --html` in a browser.

usage: report_page.py path/to/lookback [folder for the pictures]

Makes a demo world and its page, and opens the page in headless Chromium, wide and narrow, light and
dark. Asks that nothing is fetched and nothing complains; that a phone need not scroll sideways;
that each figure of a table is what its own query gives in `lookback query`; that the keyboard
reaches everything; that a link to a rule opens it; that texts stand out from the paper. Then a
publisher with a hostile name. With a folder it writes the pictures of the documents.

Needs Chromium, Debian's or Playwright's own. Without one it says SKIPPED.
"""

import decimal
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from playwright.sync_api import Error, sync_playwright

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


def lookback(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def browser(playwright):
    found = shutil.which("chromium") or shutil.which("google-chrome")
    return playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


def opened(chromium, page_file, viewport, scheme):
    """The page, and what it fetched and complained of."""
    context = chromium.new_context(viewport=viewport, color_scheme=scheme)
    page = context.new_page()
    fetched, complaints = [], []
    page.on("request", lambda request: fetched.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(page_file.as_uri())
    assert fetched == [page_file.as_uri()], fetched
    assert not complaints, complaints
    return page


def does_not_scroll_sideways(page):
    """Also with all details open."""
    for open_all in [False, True]:
        if open_all:
            page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{wide} pixels too wide"


def equals_its_queries(page, program, job):
    """Each cell of the table by key, the others included, against the query that the page shows."""
    compared = 0
    for section in page.query_selector_all("section[aria-labelledby]"):
        query = section.query_selector("code[id^=query-]")
        if query is None:
            continue
        sql = query.text_content()
        rows = json.loads(
            lookback(program, "query", job, sql, "--format", "json"), parse_float=decimal.Decimal
        )
        table = section.query_selector(":scope > .scroll table")
        links = [link.get_attribute("href") for link in table.query_selector_all("thead a")]
        columns = [link.split("-", 2)[2] for link in links]
        shown = table.query_selector_all("tbody tr") + table.query_selector_all("tfoot tr")[:-1]
        assert len(rows) == len(shown) > 3, (len(rows), len(shown))
        for row, line in zip(rows, shown):
            cells = line.query_selector_all("data, td > .none")
            assert len(cells) == len(columns)
            for column, cell in zip(columns, cells):
                value = cell.get_attribute("value")
                asked = row[column]
                same = value is None if asked is None else decimal.Decimal(value) == decimal.Decimal(asked)
                assert same, f"{column}: {value} on the page, {asked} by the query"
                compared += 1
    return compared


def owed_is_the_ledgers(page, program, job):
    """The first figure of the page against the ledger itself, by another query."""
    first, last = page.evaluate(
        """[...document.querySelectorAll('#overview-days tbody th')].map(it => it.textContent)"""
    )[:: len(page.query_selector_all("#overview-days tbody th")) - 1]
    sql = f"""select sum(approved_commission) as owed from report.transaction_details
        where report_date between date '{first}' and date '{last}'"""
    rows = json.loads(
        lookback(program, "query", job, sql, "--format", "json"), parse_float=decimal.Decimal
    )
    shown = page.query_selector(".tiles data").get_attribute("value")
    assert decimal.Decimal(shown) == decimal.Decimal(rows[0]["owed"]), (shown, rows)
    return shown


def keyboard_reaches_everything(page):
    """Tab goes through links, tables and details, and what has the focus shows it."""
    wanted = page.evaluate(
        """() => [...document.querySelectorAll('a[href], summary, [tabindex="0"]')]
            .filter(it => it.checkVisibility()).length"""
    )
    seen = 0
    for _ in range(wanted + 1):
        page.keyboard.press("Tab")
        style = page.evaluate(
            """() => document.activeElement === document.body ? null
                : getComputedStyle(document.activeElement).outlineStyle"""
        )
        if style is None:
            break
        assert style != "none", page.evaluate("document.activeElement.outerHTML")
        seen += 1
    assert seen == wanted, f"{seen} of {wanted} have been reached"
    return seen


def a_screen_reader_finds_words(page):
    """Headings in order, tables with captions and scopes, drawings with a text."""
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(it => +it.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1 and set(levels) == {1, 2}, levels
    assert page.evaluate("document.documentElement.lang") == "en"
    for table in page.query_selector_all(".scroll table"):
        assert table.query_selector("caption").text_content()
    bare = "[...document.querySelectorAll('.scroll th')].filter(it => !it.scope).length"
    assert page.evaluate(bare) == 0
    for drawing in page.query_selector_all("svg"):
        assert drawing.get_attribute("role") == "img"
        assert "most" in drawing.get_attribute("aria-label")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(it => it.id)")
    assert len(ids) == len(set(ids)), "an id is there twice"
    dead = page.evaluate(
        """[...document.querySelectorAll('a[href^="#"]')].map(it => it.getAttribute('href').slice(1))
            .filter(it => !document.getElementById(it))"""
    )
    assert not dead, dead


def texts_stand_out(page):
    """WCAG's contrast of 4.5 for each text that is shown."""
    least = page.evaluate(
        """() => {
            const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
            const light = colour => {
                canvas.fillStyle = colour;
                canvas.fillRect(0, 0, 1, 1);
                const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(it => {
                    const part = it / 255;
                    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const paper = light(getComputedStyle(document.body).backgroundColor);
            const seen = [...document.querySelectorAll('body *')].filter(it => it.checkVisibility()
                && [...it.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
            return Math.min(...seen.map(it => {
                const ink = light(getComputedStyle(it).color);
                return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
            }));
        }"""
    )
    assert least >= 4.5, least
    return round(least, 1)


def a_link_opens_its_rule(page):
    page.evaluate("document.querySelectorAll('details').forEach(it => it.open = false)")
    page.click(".tiles a >> nth=0")
    page.locator(".meanings a[href='#rule-M6']").first.click()
    rule = page.locator("#rule-M6")
    rule.wait_for(state="visible")
    assert "Each event is one movement" in rule.text_content()


def take_pictures(chromium, page_file, folder):
    for name, viewport, scheme in [
        ("report.png", {"width": 1280, "height": 1000}, "light"),
        ("report-dark.png", {"width": 1280, "height": 1000}, "dark"),
        ("report-phone.png", PHONE, "light"),
    ]:
        page = opened(chromium, page_file, viewport, scheme)
        file = folder / name
        page.screenshot(path=file)
        size = file.stat().st_size
        assert size < 150_000, f"{file}: {size} bytes"
        print(f"picture {file}: {size} bytes")


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    pictures = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        try:
            chromium = browser(playwright)
        except Error as error:
            print(f"SKIPPED: no Chromium to open the page with: {error}")
            return
        world = pathlib.Path(folder) / "demo"
        lookback(program, "demo", str(world), "--quiet")
        job = str(world / "job.toml")
        page_file = world / "report.html"
        for viewport in [WIDE, PHONE]:
            for scheme in ["light", "dark"]:
                page = opened(chromium, page_file, viewport, scheme)
                contrast = texts_stand_out(page)
                does_not_scroll_sideways(page)
                print(f"{viewport['width']} wide, {scheme}: fits, fetches nothing, contrast {contrast}")
        page = opened(chromium, page_file, WIDE, "light")
        print(f"{equals_its_queries(page, program, job)} figures are those of the queries shown")
        print(f"{owed_is_the_ledgers(page, program, job)} is owed by the ledger, too")
        a_screen_reader_finds_words(page)
        print(f"the keyboard reaches {keyboard_reaches_everything(page)} places; all tables and drawings have words")
        a_link_opens_its_rule(page)
        print("a figure leads to its meaning, and that to its rule")
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
            take_pictures(chromium, page_file, pictures)

        hostile = pathlib.Path(folder) / "hostile"
        lookback(program, "demo", str(hostile), "--days", "4", "--clicks-per-day", "300", "--no-run", "--quiet")
        links = hostile / "reference" / "links.csv"
        header, first, *others = links.read_text().splitlines()
        publisher = first.split(",")[header.split(",").index("publisher_id")]
        quoted = '"' + HOSTILE.replace('"', '""') + '"'
        links.write_text("\n".join([header, first, *others]).replace(publisher, quoted) + "\n")
        job = str(hostile / "job.toml")
        lookback(program, "backfill", job, "--from", "2026-03-01", "--to", "2026-03-04", "--quiet")
        page_file = hostile / "report.html"
        lookback(program, "report", job, "--top", "1000", "--html", str(page_file))
        page = opened(chromium, page_file, WIDE, "light")
        names = page.evaluate("[...document.querySelectorAll('bdi')].map(it => it.textContent)")
        assert any(HOSTILE in name for name in names), "the name is not there"
        assert not page.query_selector("main img, script") and len(page.title()) > 1
        print("a publisher named like markup is shown as text")
        chromium.close()


main()
