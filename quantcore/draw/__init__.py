"""A comparison as it is seen, on pages and in reports alike: plot, table, lists, and their words.

HTML comes as text in which everything is escaped; `marks.STYLE` is the style sheet it is made for.
"""

__all__ = [
    "axes",
    "charts",
    "curve",
    "exported",
    "gallery",
    "lists",
    "marks",
    "method",
    "picture",
    "playground",
    "promises",
    "tables",
    "templating",
    "titles",
    "tuning",
    "verification",
]
