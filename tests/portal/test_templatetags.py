"""Tags and filters of every page, and the partials that are made of them."""

import re
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from django.template import Context, Template, TemplateSyntaxError
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.safestring import mark_safe

from portal.templatetags import gatehouse
from portal.templatetags.words import FixedWords

ROOT = Path(__file__).resolve().parent.parent.parent
NOW = datetime(2026, 11, 20, 10, 42, tzinfo=UTC)


def rendered(source: str, **context: object) -> str:
    """Return a template source rendered with the portal's builtins."""
    return Template(source).render(Context(context))


def words(html: str) -> str:
    """Return the text of a piece of HTML with single spaces."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (640 * 2**20, "640 MiB"),
        (int(15.2 * 2**30), "15.2 GiB"),
        (2**40, "1.0 TiB"),
        (None, "–"),
    ],
)
def test_bytes_h_takes_the_largest_unit(value: float | None, text: str) -> None:
    assert gatehouse.bytes_h(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (4895780, "4,895,780"), (None, "–")])
def test_tokens_have_thousands_separators(value: int | None, text: str) -> None:
    assert gatehouse.tokens(value) == text


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [
        ("1036.6", "EUR", "€\u00a01,036.60"),
        (0, "USD", "$\u00a00.00"),
        ("0.0004", "CHF", "CHF\u00a00.0004"),
        ("?", "EUR", "–"),
    ],
)
def test_money_has_its_currency_in_front(value: object, currency: str, text: str) -> None:
    assert gatehouse.money(value, currency) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.182, "182 ms"), (1.14, "1.1 s"), (20, "20 s"), (59.7, "1 min"), (112, "1 min 52 s"),
        (7200, "2 h"), (15000, "4 h 10 min"), (187200, "2 d 4 h"), (None, "–"),
    ],
)  # fmt: skip
def test_duration_h_shows_two_units(seconds: float | None, text: str) -> None:
    assert gatehouse.duration_h(seconds) == text


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(seconds=2), "just now"), (timedelta(seconds=12), "12 s ago"), (timedelta(minutes=8), "8 min ago"),
        (timedelta(hours=30), "30 h ago"), (timedelta(days=12), "12 days ago"),
        (-timedelta(days=5, hours=23, minutes=59), "in 6 days"),
        (-timedelta(minutes=3), "in 3 min"), (timedelta(days=91), "21 Aug 2026"),
    ],
)  # fmt: skip
def test_relative_speaks_of_past_and_future(distance: timedelta, text: str) -> None:
    assert gatehouse.relative(NOW - distance, NOW) == text


def test_ago_carries_the_exact_time_in_the_readers_zone() -> None:
    with timezone.override("Europe/Paris"):
        html = gatehouse.ago(NOW)
    assert 'datetime="2026-11-20T10:42:00+00:00"' in html
    assert 'title="20 Nov 2026, 11:42:00 CET"' in html
    assert "data-relative" in html


def test_ago_takes_days() -> None:
    today = timezone.localdate()
    assert words(str(gatehouse.ago(today))) == "today"
    assert words(str(gatehouse.ago(today + timedelta(days=1)))) == "in 1 day"
    assert words(str(gatehouse.ago(today - timedelta(days=3)))) == "3 days ago"
    assert words(str(gatehouse.ago(date(2020, 2, 1)))) == "1 Feb 2020"
    assert gatehouse.ago(None) == "–"


def test_icon_is_decoration_unless_it_has_a_label() -> None:
    assert 'aria-hidden="true"' in gatehouse.icon("ok")
    named = gatehouse.icon("ok", 'a "label"')
    assert 'role="img" aria-label="a &quot;label&quot;"' in named
    assert 'icons.svg#ok"' in named


def test_every_icon_that_a_template_names_is_in_the_sprite() -> None:
    symbols = set(
        re.findall(r'<symbol id="([^"]+)"', (ROOT / "static/gatehouse/icons.svg").read_text(encoding="utf-8"))
    )
    for template in (ROOT / "templates").rglob("*.html"):
        for name in re.findall(r'{% icon "([^"]+)"', template.read_text(encoding="utf-8")):
            assert name in symbols, f"{template.name} asks for the icon {name}"


def test_stack_bar_never_leaves_its_frame() -> None:
    segments = [{"share_percent": 70, "kind": "weights"}, {"share_percent": 60, "kind": "kv"}]
    html = gatehouse.stack_bar(segments, 90, "130 % of the memory")
    assert re.findall(r'gh-fill-(\w+)" x="([\d.]+)" width="([\d.]+)"', html) == [
        ("blue", "0.00", "69.70"), ("teal", "70.00", "29.70"),
    ]  # fmt: skip
    assert 'class="gh-bar__mark" x="90.00"' in html
    assert 'aria-label="130 % of the memory"' in html


def test_bar_is_bounded_and_says_its_label() -> None:
    html = gatehouse.bar(250, "250 of 100", "bad")
    assert 'class="gh-bar pf-m-bad"' in html
    assert 'class="gh-bar__fill" width="100.0"' in html


def test_attributes_are_escaped() -> None:
    assert gatehouse.attributes({"min": 1, "required": True, "title": '"><b>', "max": None}) == (
        ' min="1" title="&quot;&gt;&lt;b&gt;" required'
    )


def test_verdicts_stand_worst_first_and_unknown_ones_are_not_hidden() -> None:
    names = ["pass", "waived", "error", "maybe", "warn", "fail"]
    verdicts = [{"verdict": name, "title": name, "id": name} for name in names]
    assert [one["verdict"] for one in gatehouse.worst_first(verdicts)] == ["error", "fail", "warn", "waived", "maybe"]
    html = render_to_string("_verdicts.html", {"verdicts": verdicts})
    assert html.index("Fail:") < html.index("Warning:") < html.index("Waived:") < html.index("<details")
    assert "1 rule passed" in words(html)


def test_message_levels_become_alert_kinds() -> None:
    assert gatehouse.alert_kind("error") == "danger"
    assert gatehouse.alert_kind("success") == "success"


def test_field_keeps_what_was_typed_and_ties_the_error_to_it() -> None:
    field = {
        "name": "replicas",
        "label": "Replicas",
        "kind": "number",
        "value": "<9>",
        "error": "At most 4.",
        "attrs": {"min": 1},
    }
    html = render_to_string("_field.html", {"field": field})
    assert 'value="&lt;9&gt;"' in html
    assert 'aria-invalid="true"' in html
    assert 'aria-describedby="id_replicas_help"' in html
    assert 'id="id_replicas_help"' in html
    assert 'min="1"' in html


def test_select_marks_the_value_and_disables_what_cannot_be_picked() -> None:
    field = {
        "name": "p",
        "label": "P",
        "kind": "select",
        "value": 2,
        "choices": [("1", "one", False), ("2", "two", False), ("3", "x", True)],
    }
    html = render_to_string("_field.html", {"field": field})
    assert '<option value="2" selected>two</option>' in html
    assert '<option value="3" disabled>x</option>' in html


def test_errors_link_to_their_fields_and_vanish_without_any() -> None:
    html = render_to_string(
        "_errors.html", {"errors": [{"field": "ends_on", "label": "Runs until", "message": "in the past"}]}
    )
    assert '<a href="#id_ends_on">Runs until</a>: in the past' in html
    assert "data-focus" in html
    assert render_to_string("_errors.html", {"errors": []}).strip() == ""


def test_chip_is_icon_and_word() -> None:
    html = render_to_string(
        "_chip.html", {"chip": {"label": "Ready", "colour": "green", "icon": "ok", "kind": "filled"}}
    )
    assert "pf-m-filled pf-m-green" in html
    assert "icons.svg#ok" in html
    assert words(html) == "Ready"


def test_chips_escape_and_remember_only_what_was_marked_as_safe() -> None:
    cell = {"label": mark_safe("<b>x</b>"), "colour": "grey", "icon": "", "kind": ""}
    assert "<b>x</b>" in rendered("{% chip cell %}", cell=cell)
    assert "&lt;b&gt;x&lt;/b&gt;" in rendered("{% chip cell %}", cell=cell | {"label": "<b>x</b>"})
    html = rendered("{% chip cell %}", cell={"label": "x", "colour": "grey", "title": 'a "b"'})
    assert "pf-m-filled" in html
    assert "pf-m-grey" not in html
    assert 'title="a &quot;b&quot;"' in html
    assert "<svg" not in html


def test_icons_remember_a_label_only_with_its_safety() -> None:
    assert "a<b" in rendered("{% icon 'ok' label %}", label=mark_safe("a<b"))
    assert "a&lt;b" in rendered("{% icon 'ok' label %}", label="a<b")


def test_ticks_have_a_box_only_for_what_can_be_ticked() -> None:
    html = rendered("{% tick value label %}", value="7", label='a"b')
    assert 'value="7"' in html
    assert 'aria-label="Tick a&quot;b"' in html
    assert "<input" not in rendered("{% tick value label %}", value="", label="a")


def test_people_have_an_initial_and_perhaps_a_role() -> None:
    assert words(rendered("{% who name %}", name="dana")) == "D dana"
    assert words(rendered("{% who name 'owner' %}", name="<i>")) == "< <i> owner"


def test_options_choose_what_reads_like_the_value() -> None:
    html = rendered("{% options choices 2 %}", choices=[(None, "None"), ("1", "One"), (2, "<Two>", True)])
    assert html == (
        '<option value="">None</option><option value="1">One</option>'
        '<option value="2" selected disabled>&lt;Two&gt;</option>'
    )
    assert " selected" in rendered("{% options choices value %}", choices=[("", "All")], value=None)


def test_number_cells_hold_words_and_the_exact_value() -> None:
    one = {"label": "Calls", "value": 1234, "text": "1,234"}
    html = rendered("{% number_cells cells %}", cells=[one])
    assert 'data-label="Calls"><data value="1234">1,234</data></td>' in html
    cells = [{"label": "Time", "values": [{"value": 0.5, "text": "0.50"}, {"value": "", "text": "–"}]}]
    html = rendered("{% number_cells cells %}", cells=cells)
    assert '<span><data value="0.5">0.50</data><span class="gh-subtle"> / </span><data value="">–</data></span>' in html


def test_fixed_words_follow_the_language() -> None:
    template = Template("{% load i18n %}{% translate 'Yes' %} {% translate word %}")
    for language, text in (("en", "Yes Yes"), ("de", "Ja Ja"), ("en", "Yes Yes")):
        with translation.override(language):
            assert template.render(Context({"word": "Yes"})) == text
    assert isinstance(template.nodelist[1], FixedWords)
    assert not isinstance(template.nodelist[3], FixedWords)


def test_a_language_within_a_page_is_refused() -> None:
    with pytest.raises(TemplateSyntaxError, match="language"):
        Template("{% load i18n %}{% language 'de' %}{% translate 'Yes' %}{% endlanguage %}")


@pytest.mark.parametrize("mine", [True, False])
def test_whose_turn_it_is_reads_in_rows_as_elsewhere(mine: bool) -> None:
    words = "<b>You</b> & others"
    alone = render_to_string("_turn.html", {"turn": words, "mine": mine})
    assert rendered("{% turn words mine %}", words=words, mine=mine) == alone


def test_stepper_says_each_state_in_words() -> None:
    steps = [
        {"name": name, "state": state, "time": "1 s"}
        for name, state in [("A", "done"), ("B", "failed"), ("C", "pending")]
    ]
    html = render_to_string("_stepper.html", {"steps": steps, "label": "Way"})
    assert [word in words(html) for word in ("A , done", "B , failed", "C , not yet")] == [True, True, True]
    assert html.count('aria-current="step"') == 1


def test_snippets_stay_text() -> None:
    html = render_to_string("_snippets.html", {"snippets": [{"label": "x", "code": 'a < b "c"'}]})
    assert 'data-copy="a &lt; b &quot;c&quot;"' in html


@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "409", "500"])
def test_error_pages_render_without_any_context(name: str) -> None:
    text = words(render_to_string(f"{name}.html"))
    assert name[:3] in text
    assert "Go home" in text


def test_forbidden_page_names_the_role_and_who_has_it() -> None:
    context = {
        "title": "Not allowed",
        "sentence": "No.",
        "needs": {
            "roles": ["platform engineer"],
            "people": [{"name": name, "role": "platform engineer"} for name in ("pat", "ravi")],
        },
    }
    text = words(render_to_string("403.html", context))
    assert "A role that would allow it platform engineer" in text
    assert re.search(r"Who has it .*\bpat\b.*\bravi\b", text)


def test_templates_have_no_inline_script_style_or_handler() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)|\sstyle=|<style|\son[a-z]+=|javascript:", re.IGNORECASE)
    for template in (ROOT / "templates").rglob("*.html"):
        found = inline.search(template.read_text(encoding="utf-8"))
        assert found is None, f"{template.relative_to(ROOT)}: {found and found[0]}"


def test_style_sheets_ask_only_for_files_that_are_here() -> None:
    folder = ROOT / "static" / "gatehouse"
    for sheet in folder.glob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert "sourceMappingURL" not in text
        for address in re.findall(r'url\("?([^")]+)"?\)', text):
            assert (folder / address).is_file(), f"{sheet.name} asks for {address}"


def test_render_of_tags_needs_no_load() -> None:
    assert "4,895,780" in rendered("{{ n|tokens }}{% icon 'ok' %}", n=4895780)
