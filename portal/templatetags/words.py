"""Django's tags for translations; settings give them the name `i18n`.

A `translate` of fixed words looks them up once in each language: a list asks for the same few in every row.
"""

from django.template import Context, Library, Node
from django.template.base import Parser, Token
from django.templatetags import i18n
from django.utils.translation import get_language

register = Library()
register.tags.update(i18n.register.tags)
register.filters.update(i18n.register.filters)
del register.tags["language"]  # all of a page is in one language, which `FixedWords` relies on


class FixedWords(Node):
    """A `translate` without variables, context or `as`."""

    child_nodelists = ()

    def __init__(self, node: i18n.TranslateNode) -> None:
        self.node = node
        self.known: dict[tuple[str, bool], str] = {}

    def render(self, context: Context) -> str:
        """Return the words in the language of this thread."""
        # Asked once for each template: that costs more than to write the words, and a page writes hundreds of them.
        language = vars(context).get("language")
        if language is None:
            language = vars(context)["language"] = get_language() or ""
        key = language, context.autoescape
        words = self.known.get(key)
        if words is None:
            words = self.known[key] = self.node.render(context)
        return words


@register.tag("translate")
@register.tag("trans")
def translate(parser: Parser, token: Token) -> Node:
    """Mark words for translation, as Django's tag of this name."""
    node = i18n.do_translate(parser, token)
    expression = node.filter_expression
    fixed = getattr(expression.var, "literal", None) is not None and not expression.filters
    return FixedWords(node) if fixed and node.asvar is None and node.message_context is None else node
