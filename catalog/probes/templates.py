"""Chat templates: Jinja that an engine runs on every call. They are read, never rendered.

Engines render them in a sandbox, and sandboxes have had holes: a template has no need of the ways out that are looked
for here. A template that only says other words to the model, which is the subtler attack, is for a person to read.
"""

import re
from collections.abc import Iterator

from catalog.probes.findings import Findings, Stop, shown

MOST_CHARACTERS, MOST_NUMBER, MOST_ROUNDS, MOST_REPEAT = 500_000, 10_000_000, 1_000_000, 100_000
_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<number>\d[\w.]*)|(?P<name>[^\W\d]\w*)|(?P<op>\*\*|.)""",
    re.DOTALL,
)
_OPENING = re.compile(r"\{\{|\{%|\{#")
_ENDRAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_LOADS = {"import", "from", "include", "extends"}
_KNOWN = {
    "if", "elif", "else", "endif", "for", "endfor", "set", "endset", "macro", "endmacro", "call", "endcall", "filter",
    "endfilter", "generation", "endgeneration", "break", "continue", "do", "with", "endwith", "raw", "endraw", "block",
    "endblock", "autoescape", "endautoescape",
}  # fmt: skip
_GLOBALS = {"lipsum", "cycler", "joiner", "self", "caller_frame", "environment"}  # lead to Python's own
_ATTRIBUTES = {
    "mro", "gi_frame", "gi_code", "cr_frame", "cr_code", "ag_frame", "f_globals", "f_locals", "f_builtins", "f_back",
    "func_globals", "func_code", "im_class", "im_func", "im_self", "tb_frame", "popen", "system", "subclasses",
}  # fmt: skip
_DUNDER = re.compile(
    r"__(class|base|bases|mro|subclasses|globals|builtins|init|import|getattribute|getattr|getitem|dict|code|closure|"
    r"reduce|reduce_ex|module|self|func|call|new|wrapped|loader|spec|defaults|subclasshook)__"
)
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\U000e0100-\U000e01ef]")
_FAINT = re.compile("[\u00ad\u180e\u200b\u2060-\u2064\ufeff]")

Token = tuple[str, str]


def judge(text: str, name: str, found: Findings) -> None:
    """Add what is wrong with the template `text`, which is called `name`."""
    title = f"chat template {shown(name)}" if name else "the chat template"
    if len(text) > MOST_CHARACTERS:
        found.fail(f"{title} has {len(text):,} characters; the limit is {MOST_CHARACTERS:,}")
        return
    hidden(text, title, found)
    rounds = 1
    try:
        for kind, tokens in _blocks(text):
            if kind == "{%" and tokens:
                _statement(tokens[0][1], title, found)
            _expression(tokens, title, found)
            for count in _ranges(tokens):
                rounds *= max(count, 1)
    except Stop as stop:
        found.fail(f"{title} {stop}")
    if rounds > MOST_ROUNDS:
        found.fail(f"{title} counts up to {shown(rounds, 40)} in its loops: it holds the engine up")


def hidden(text: str, title: str, found: Findings) -> None:
    """Add the characters that nobody sees but a model or a parser reads."""
    match = _HIDDEN.search(text)
    if match:
        found.fail(f"{title} holds invisible characters (U+{ord(match.group()):04X})")
    elif match := _FAINT.search(text.removeprefix("\ufeff")):
        found.warn(f"{title} holds characters of no width (U+{ord(match.group()):04X})")


def _blocks(text: str) -> Iterator[tuple[str, list[Token]]]:
    """Yield each expression and statement with its tokens. Raises Stop where the text is no template."""
    at = 0
    while match := _OPENING.search(text, at):
        kind, at = match.group(), match.end()
        if kind == "{#":
            at = _after(text, "#}", at)
            continue
        tokens, at = _tokens(text, at, "}}" if kind == "{{" else "%}")
        yield kind, tokens
        if kind == "{%" and tokens[:1] == [("name", "raw")]:
            end = _ENDRAW.search(text, at)
            if end is None:
                raise Stop("has a raw block without an end")
            at = end.end()


def _after(text: str, mark: str, at: int) -> int:
    end = text.find(mark, at)
    if end < 0:
        raise Stop(f"has a block that does not end with {mark}")
    return end + len(mark)


def _tokens(text: str, at: int, end: str) -> tuple[list[Token], int]:
    """Return the tokens of a block that begins at `at`, and where the text goes on behind it."""
    found: list[Token] = []
    depth = 0
    if text[at : at + 1] in {"-", "+"}:
        at += 1
    while at < len(text):
        if depth == 0 and text.startswith(end, at):
            if found[-1:] in ([("op", "-")], [("op", "+")]):
                found.pop()
            return found, at + len(end)
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            break
        kind, value = match.lastgroup, match.group()
        if kind == "op" and value in "'\"":
            raise Stop("has a text that does not end")
        depth += (value in "([{") - (value in ")]}") if kind == "op" else 0
        depth = max(depth, 0)
        if kind != "space":
            found.append((kind, value))
        at = match.end()
    raise Stop(f"has a block that does not end with {end}")


def _statement(word: str, title: str, found: Findings) -> None:
    if word in _LOADS:
        found.fail(f"{title} loads another template or module ({word})")
    elif word not in _KNOWN:
        found.warn(f"{title} uses the unknown statement {shown(word, 40)}")


def _expression(tokens: list[Token], title: str, found: Findings) -> None:
    said = ""
    for place, (kind, value) in enumerate(tokens):
        before = tokens[place - 1][1] if place else ""
        after = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if kind == "name":
            _name(value, before, title, found)
        elif kind == "string":
            said += _decoded(value)
        elif kind == "number":
            _number(value, {before, after}, title, found)
        elif value == "**":
            found.warn(f"{title} raises to a power, which takes any amount of time")
    if _DUNDER.search(said):
        found.fail(f"{title} spells an inner name of Python ({shown(_DUNDER.search(said).group())})")  # type: ignore[union-attr]
    elif "__" in said:
        found.warn(f"{title} holds a text with two underscores")


def _name(value: str, before: str, title: str, found: Findings) -> None:
    if before == "." and (value.startswith("_") or value in _ATTRIBUTES):
        found.fail(f"{title} reads the inner attribute {shown(value)}")
    elif before == "|" and value == "attr":
        found.fail(f"{title} reads attributes by computed names (attr)")
    elif before == "." and value in {"format", "format_map"}:
        found.warn(f"{title} formats text, which can read attributes ({value})")
    elif before != "." and (value.startswith("__") or value in _GLOBALS):
        found.fail(f"{title} uses {shown(value)}, which leads to Python's own objects")


def _decoded(literal: str) -> str:
    """Return the text of a string as Jinja reads it: with escapes such as \\x5f resolved."""
    try:
        return literal[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape")
    except UnicodeDecodeError:
        return literal


def _value(number: str) -> int:
    text = number.replace("_", "").lower()
    try:
        return int(text, 0) if text[:2] in {"0x", "0b", "0o"} else int(float(text))
    except (ValueError, OverflowError):
        return MOST_NUMBER + 1


def _number(value: str, around: set[str], title: str, found: Findings) -> None:
    size = _value(value)
    if size > MOST_NUMBER or ("*" in around and size > MOST_REPEAT):
        found.fail(f"{title} counts with {shown(value, 40)}: it can fill the engine's memory")


def _ranges(tokens: list[Token]) -> Iterator[int]:
    """Yield the largest number that each range() counts to."""
    for place, token in enumerate(tokens):
        if token != ("name", "range"):
            continue
        sizes = [_value(value) for kind, value in tokens[place + 1 : place + 8] if kind == "number"]
        yield max(sizes, default=1)
