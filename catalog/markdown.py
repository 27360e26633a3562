"""Descriptions come from outside: Markdown without raw HTML, then a sanitiser with a short list of what may stay."""

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

_TAGS = {
    "p", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "a", "em", "strong", "code", "pre", "blockquote", "hr", "br",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title"}}
_parser = MarkdownIt("commonmark", {"html": False}).enable("table")


def render(text: str, top: int = 3) -> SafeString:
    """Return `text` as HTML that is safe to show: no images, scripts, styles or foreign schemes; headings from level
    `top`, which is where "## …" comes out.
    """
    tokens = _parser.parse(text)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(max(int(token.tag[1]) + top - 2, top), 6)}"
            if token.nesting == 1:
                token.attrSet("class", "gh-h2" if token.tag == "h2" else "gh-h3")
    html = _parser.renderer.render(tokens, _parser.options, {})
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes={"h2": {"gh-h2"}} | {f"h{level}": {"gh-h3"} for level in range(3, 7)},
        url_schemes={"https", "http", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return mark_safe(clean)  # noqa: S308 - sanitised in the line above
