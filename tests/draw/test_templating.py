"""Templates escape whatever they are given, and their line breaks draw nothing."""

from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError

from quantcore.draw import gallery
from quantcore.draw.templating import Templates

HOSTILE = "</b><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"


def templates(folder: Path, text: str, name: str = "a.html") -> Templates:
    (folder / f"{name}.j2").write_text(text)
    return Templates(folder)


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.txt", "a"])
def test_values_are_escaped_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    html = templates(tmp_path, '<b title="{{ x }}">{{ x }}</b>', name).render(name, x=HOSTILE)
    assert html.count("<") == 2
    assert html.count('"') == 2
    assert "49" not in html


def test_what_a_template_wrote_is_not_escaped_again(tmp_path: Path) -> None:
    both = templates(tmp_path, "<b>{{ x }}</b>")
    assert both.render("a.html", x=both.render("a.html", x="&")) == "<b><b>&amp;</b></b>"


def test_what_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        templates(tmp_path, "{{ x }}").render("a.html")


def test_line_breaks_draw_nothing_beside_tags_and_are_a_space_elsewhere(tmp_path: Path) -> None:
    text = (
        '<p>\n  {{ x }}\n  {% if x %}\n  <b\n id="b">of\n  it</b> <i>a</i>\n  {% endif %}\n</p>\n'
    )
    html = templates(tmp_path, text).render("a.html", x="y\n z")
    assert html == '<p>y\n z<b id="b">of it</b> <i>a</i></p>'


def test_an_error_names_the_line_of_the_template(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError) as caught:
        templates(tmp_path, "<p>\n\n  {{ x }}\n</p>").render("a.html")
    assert any(
        str(entry.path).endswith("a.html.j2") and entry.lineno == 2 for entry in caught.traceback
    )


def test_class_names_are_text_in_the_heat_map() -> None:
    html = gallery.confusion(np.eye(2, dtype=int), [HOSTILE, "b"])
    assert "<img" not in html
    assert html.count('"') == gallery.confusion(np.eye(2, dtype=int), ["a", "b"]).count('"')
