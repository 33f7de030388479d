"""Text that is not our own stays text, whatever Markdown and Streamlit make of it elsewhere."""

from urllib.parse import quote

import pytest
from markdown_it import MarkdownIt
from playwright.sync_api import Page

from ui.common.markdown import WORD_JOINER, Markdown, markdown, reason_and_remedy

INLINE = [
    "*a* **b** _c_ __d__ ~~e~~ `f` ~g~",
    "a_b_c _d_e_ f__g__h _i_ (_j_) __k_l __m",
    "[a](https://evil.example) ![b](https://evil.example/b.png) [c]: https://evil.example",
    "<img src=x onerror=alert(1)> <b>a</b> <https://evil.example> <!-- a -->",
    "https://evil.example www.evil.example HTTPS://EVIL.EXAMPLE a@evil.example",
    "&lt;b&gt; &#91;a&#93;&#40;https:&#47;&#47;evil.example&#41; &amp;",
    "$a^2$ $$b$$ \\(c\\) costs $5 and $6",
    ":material/speed: :smile: :streamlit: :red[a] :blue-background[b] :small[c] ::d :e{f=g}",
    "a\\b \\*c\\* \\\\*d* [^1] a|b|c --- ***",
    "a;![b](https:&#47;&#47;evil.example&#47;beacon.png) [Log in](https:&#47;&#47;evil.example).pt",
]
AT_THE_START = [
    "# a", "- a", "+ a", "* a", "1. a", "12) a", "> a", "---", "===", "    a", "\ta", "```a", "~~~",
    "| a | b |\n|---|---|\n| c | d |", "a\n===", "a\n\n- b", ":::a", "[a]: b", "$$a$$",
]  # fmt: skip


def seen(text: str) -> str:
    """Return a text as it is read: white space is one blank, and signs of no width are nothing."""
    return " ".join(text.replace(WORD_JOINER, "").split())


@pytest.mark.parametrize("text", [*INLINE, *AT_THE_START])
def test_text_is_one_paragraph_of_nothing_but_text(text: str) -> None:
    parser = MarkdownIt("gfm-like", {"linkify": False})
    for source in (markdown(text), Markdown("{}").format(text), Markdown("- {}").format(text)):
        blocks = parser.parse(source)
        inline = next(block for block in blocks if block.type == "inline")
        expected = ["paragraph_open", "inline", "paragraph_close"]
        if source.startswith("- "):
            expected = ["bullet_list_open", "list_item_open", *expected]
            expected += ["list_item_close", "bullet_list_close"]
        assert [block.type for block in blocks] == expected
        children = inline.children or []
        assert {child.type for child in children} <= {"text", "text_special"}
        assert seen("".join(child.content for child in children)) == seen(text)


def test_what_is_escaped_once_stays_as_it_is() -> None:
    once = markdown("*a*")
    assert markdown(once) is once
    assert Markdown("**{}**").format(once) == f"**{once}**"
    assert Markdown(" ").join(["*a*", Markdown("*b*")]) == r"\*a\* *b*"


def test_numbers_are_written_as_asked_and_text_is_escaped_with_its_width() -> None:
    assert Markdown("{:,} {:.1f} {x:>3}").format(1234, 0.25, x="**") == r"1,234 0.2  \*\*"


def test_labels_are_readable_as_they_are_written() -> None:
    text = "Image size, px (224 by default): 12.5 % of 3 files, torch 2.13.0, a_b.ptl, @random."
    assert markdown(text) == text


def test_a_reason_is_bold_and_both_are_text() -> None:
    assert reason_and_remedy("*a*", "[b]") == r"**\*a\*** \[b\]"


@pytest.mark.browser
def test_a_browser_shows_the_text_and_nothing_else(server: str, page: Page) -> None:
    text, asked = " ".join(INLINE), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server}/Words?find={quote(text)}")
    alert = page.get_by_test_id("stAlert").get_by_test_id("stMarkdownContainer")
    alert.wait_for()
    assert seen(alert.inner_text()) == seen(f"No word here goes with “{text}”.")
    assert alert.evaluate("e => [...e.querySelectorAll('*')].map(each => each.tagName)") == ["P"]
    assert not [url for url in asked if "evil" in url.partition("?")[0]]
