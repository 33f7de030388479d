"""The report is one file: complete, escaped, in order, and of the size that a mail takes."""

import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from plotly.offline import get_plotlyjs

from quantcore import report
from quantcore.decide import Budgets
from quantcore.report import page
from quantcore.schema import Comparison, Turn
from tests.support import fixtures

MAX_BYTES = 6_000_000
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&]]><!-- {{7*7}}"
VOID = {"meta", "link", "img", "br", "input", "rect"}
BUDGETS = Budgets(size_bytes=5e6, latency_ms=4, accuracy_lost_points=1, peak_memory_bytes=4e7)


class Reader(HTMLParser):
    """What a browser would read: tags with attributes, headings, texts, scripts."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts, self.scripts = [], [], [], {}
        self.headings = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert tag == self.open.pop()

    def handle_data(self, data):
        if "script" in self.open:
            named = self.tags[-1][1].get("id")
            self.scripts[named] = self.scripts.get(named, "") + data
        elif "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def read(source, budgets=None, link="", **more):
    """Return the report as read, without plotly's own five megabytes."""
    html = report.to_html(source, budgets, link, **more)
    return Reader(html.replace(get_plotlyjs(), "")), html


@pytest.mark.parametrize("budgets", [None, BUDGETS], ids=["free", "limited"])
@pytest.mark.parametrize("name", fixtures.NAMED)
def test_every_state_is_described_completely(name, budgets):
    source = fixtures.NAMED[name]()
    found, html = read(source, budgets)
    assert len(html.encode()) < MAX_BYTES
    assert found.headings[0] == 1
    assert found.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(found.headings))
    rows = [tag for tag in found.tags if tag == ("th", {"scope": "row"})]
    assert len(rows) == len(source.results)
    for failure in source.failures:
        assert failure.reason in found.text
        assert failure.remedy in found.text
    assert source.environment.cpu in found.text
    assert "24 Nov 2026" in found.text


@pytest.mark.parametrize("name", fixtures.NAMED)
def test_nothing_is_loaded_from_anywhere(name):
    found, html = read(fixtures.NAMED[name](), BUDGETS, "https://example.org/?job=7")
    for tag, attributes in found.tags:
        for place in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
            value = attributes.get(place) or ""
            link = (tag, place) == ("a", "href")
            assert link or not value or value.startswith("data:"), (tag, attributes)
    own = html.replace(get_plotlyjs(), "")
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", own))
    assert addresses == {"https://example.org/?job=7"} | (
        {"http://www.w3.org/2000/svg"} if fixtures.NAMED[name]().results else set()
    )
    assert "@import" not in own
    assert "url(" not in own
    assert "default-src 'none'" in own


def test_the_policy_forbids_every_connection():
    allowed = dict(part.split(" ", 1) for part in page.POLICY.split("; "))
    assert allowed["default-src"] == "'none'"
    assert not any("http" in value or "*" in value for value in allowed.values())
    assert not {"connect-src", "font-src", "frame-src"} & set(allowed)


def hostile():
    row = replace(fixtures.result(observer=HOSTILE), notes=(HOSTILE,))
    other = fixtures.result(observer="minmax")
    failure = replace(
        fixtures.failure(details=HOSTILE, refused=False), reason=HOSTILE, remedy=HOSTILE
    )
    source = fixtures.comparison([fixtures.float32(), row, other], [failure])
    environment = replace(
        source.environment, cpu=HOSTILE, libraries=source.environment.libraries | {"x": HOSTILE}
    )
    return replace(source, environment=environment, created=HOSTILE)


def test_hostile_text_stays_text():
    found, html = read(hostile(), name=HOSTILE, link=f"https://example.org/?{HOSTILE}")
    assert html.count("<script") - get_plotlyjs().count("<script") == 4 + 1 + 1 + 1
    assert not [tag for tag in found.tags if tag[0] == "img" and tag[1].get("src") == "x"]
    assert not [name for _, attributes in found.tags for name in attributes if name[:2] == "on"]
    assert found.text.count("alert(1)") >= 6
    assert "49" not in found.text


def test_what_scripts_read_is_what_was_measured():
    source = hostile()
    found, _ = read(source, name=HOSTILE)
    assert Comparison.from_json(found.scripts["data-json"]) == source
    assert json.loads(found.scripts["data-csv"]) == report.to_csv(source)
    assert json.loads(found.scripts["data-facts"])["title"] == " ".join(HOSTILE.split())
    assert re.fullmatch(r"[a-z0-9-]+", json.loads(found.scripts["data-facts"])["name"])
    for figure in json.loads(found.scripts["data-figures"]):
        for trace in figure["data"]:
            assert all("<img" not in text for text in trace.get("text", ()))
    assert all("<" not in text for name, text in found.scripts.items() if name)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "//example.org", ""])
def test_only_a_web_address_is_linked(link):
    found, _ = read(fixtures.one_variant(), link=link)
    assert not [tag for tag in found.tags if tag[0] == "a"]


def test_plotly_ends_no_script():
    assert "</script" not in get_plotlyjs()


def test_the_verdict_keeps_the_budgets():
    free, _ = read(fixtures.typical())
    assert "No budget was set, so every variant counts." in free.text
    limited, _ = read(fixtures.typical(), Budgets(size_bytes=2.5e6, latency_ms=20))
    assert "Ship QAT on QNNPACK" in limited.text
    assert "File size: at most 2.5 MB" in limited.text
    assert "What ships takes 2.4 MB." in limited.text
    assert "3 of 14 variants keep every budget." in limited.text


def test_what_would_help_is_said_where_nothing_keeps_the_budgets():
    found, _ = read(fixtures.perfect(), Budgets(size_bytes=1e6))
    assert "Nothing keeps these budgets" in found.text
    assert "0 of 4 variants keep the budget." in found.text
    assert "QAT on FBGEMM would, with a size budget of 2.5 MB (1.5 MB more)." in found.text


def test_a_figure_within_its_noise_is_too_close_to_call():
    found, _ = read(fixtures.one_variant(), Budgets(latency_ms=2.75))
    assert "◐ too close to call" in found.text


def test_an_unknown_figure_breaks_no_budget():
    found, _ = read(fixtures.random_weights(), Budgets(accuracy_lost_points=1))
    assert "? unknown What ships has no such figure." in found.text


def test_the_promises_are_those_of_what_ships():
    found, _ = read(fixtures.typical())
    assert "held against QAT on oneDNN , which ships." in found.text
    assert "Promised: 4× smaller ◐ half kept 3.4× smaller." in found.text
    assert "Promised: 2 to 4× faster ✓ kept 2.7× faster." in found.text


def test_the_promises_are_those_of_the_nearest_where_float32_stays():
    source = fixtures.comparison([fixtures.float32(), fixtures.result(ratio=0.4, top1=0.7)])
    found, _ = read(source)
    assert "Keep float32" in found.text
    assert "held against Static on x86 , the nearest in 8 bits." in found.text


def test_what_is_not_visible_is_neither_shown_nor_judged_but_counted():
    source = fixtures.typical()
    visible = {row.key for row in source.results if row.workflow in ("float32", "dynamic")}
    found, _ = read(source, visible=visible)
    rows = [tag for tag in found.tags if tag == ("th", {"scope": "row"})]
    assert len(rows) == len(visible) == 5
    assert "9 further variants are not shown here." in found.text
    assert "QAT on oneDNN" not in found.text


def test_the_name_of_the_comparison_is_its_heading():
    found, html = read(fixtures.sweep(), name="Spring release")
    assert "<h1>Spring release</h1>" in html
    assert "MobileNet v2, Row LSTM. Measured 24 Nov 2026" in found.text
    assert "<h1>MobileNet v2 and Row LSTM in 8 bits</h1>" in report.to_html(fixtures.sweep())


def test_the_plot_is_described_in_words_and_its_marks_have_shapes():
    found, _ = read(fixtures.one_variant())
    assert "Static on x86: latency 2.73 ms, accuracy 93.0 %." in found.text
    pictures = [attributes for tag, attributes in found.tags if tag == "svg"]
    assert len(pictures) == 3
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)


def test_raw_samples_too_many_for_a_mail_are_left_out():
    row = fixtures.result()
    samples = tuple(1.0 + place / 7 for place in range(60_000))
    longer = replace(row, turns=(Turn(row.artifact.sha256, 0, 0, 0.3, 0.0, samples),))
    found, html = read(fixtures.comparison([fixtures.float32(), longer]))
    assert found.scripts["data-json"] == "null"
    assert "too large for this file" in found.text
    assert len(html.encode()) < MAX_BYTES


def test_a_report_of_200_variants_is_soon_written():
    source = fixtures.many()
    report.to_html(fixtures.one_variant())
    began = time.process_time()
    report.to_html(source)
    assert time.process_time() - began < 5


def test_it_is_printed_on_a4_with_the_table_whole():
    style = (page.HERE / "page.css").read_text()
    assert "@page { size: A4" in style
    assert ".qw-scroll { overflow: visible; }" in style
