"""Markup of a worker, without what could run in the page."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge_ext.kernel.markup import clean_html, clean_svg, inert_latex, inert_markdown

RUNS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//x.y/z.js></SCRIPT>",
    "<script\n>alert(1)</script\n>",
    "<script>'</b>'; alert(1)//",
    "<script/><img src=x onerror=alert(1)>",
    "<img src=x onerror=alert(1)>",
    "<img src=x OnError = 'alert(1)'>",
    "<img/src='x'/onerror=alert(1)>",
    "<img src='x'onerror=alert(1)>",
    "<img title='a>b' onerror=alert(1)>",
    "<b onmouseover=alert(1)>x</b>",
    "<details ontoggle=alert(1) open>x</details>",
    "<body onload=alert(1)>x",
    "<svg onload=alert(1)></svg>",
    "<svg/onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href=' JaVa\tscr\nipt:alert(1)'>x</a>",
    "<a href='&#106;avascript&colon;alert(1)'>x</a>",
    "<a href='\x01javascript:alert(1)'>x</a>",
    "<a href='vbscript:x'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='data:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><use href='data:image/svg+xml;base64,PHN2Zz4=#x'/></svg>",
    "<svg><animate attributeName=href to=javascript:alert(1) /></svg>",
    "<svg><set attributeName='xlink:href' values='#;javascript:alert(1)'/></svg>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<svg><title><img src=x onerror=alert(1)></title></svg>",
    "<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>",
    "<math href=javascript:alert(1)>x</math>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<iframe src='files/evil.html'></iframe>",
    "<object data='evil.html'>x</object>",
    "<embed src='evil.html'>",
    "<base href='//x.y/'>",
    "<link rel=import href='evil.html'>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<form action='javascript:alert(1)'><button>x</button></form>",
    "<button formaction='javascript:alert(1)'>x</button>",
    "<form action='https://x.y/'><button formaction='files/evil'>x</button></form>",
    "<button data-commandlinker-command='notebook:run-all'>x</button>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<textarea><img title='</textarea><img src=x onerror=alert(1)>'></textarea>",
    "<xmp><img title='</xmp><img src=x onerror=alert(1)>'></xmp>",
    "<template><img src=x onerror=alert(1)></template>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!-- --!><img src=x onerror=alert(1)> -->",
    "<!--[if IE]><script>alert(1)</script><![endif]-->",
    "<![CDATA[><img src=x onerror=alert(1)>]]>",
    "<?x ><img src=x onerror=alert(1)>?>",
    "<style><!--</style><img src=x onerror=alert(1)>--></style>",
    "<a\x00b onclick=alert(1)>x</a\x00b>",
    "<scr<script>ipt>alert(1)</script>",
]
"""Markup that runs something, or could where a parser is led astray."""

ALLOWED_ATTRIBUTE = re.compile(r"(?!on|srcdoc|action|formaction|data-commandlinker)[a-z][\w:.-]*")
ACTIVE = {"script", "iframe", "object", "embed", "base", "link", "meta", "template", "noscript"}


class Reader(HTMLParser):
    """What tags a text has, read as if no element were text only."""

    CDATA_CONTENT_ELEMENTS = ()
    RCDATA_CONTENT_ELEMENTS = ()

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data!r}")

    unknown_decl = handle_decl = handle_pi = handle_comment


def assert_inert(text):
    """Nothing of the text can run, however a browser reads it."""
    for at in (match.start() for match in re.finditer("<", text)):
        assert re.match(r"</?[a-zA-Z][\w:.-]*[ />]", text[at:]), "every < begins a tag"
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.tags) == len(re.findall(r"<[a-zA-Z]", text)), "no tag hides in another"
    for tag, attributes in reader.tags:
        assert tag not in ACTIVE
        for name, value in attributes:
            assert ALLOWED_ATTRIBUTE.fullmatch(name), (tag, name)
            flat = re.sub(r"[\x00-\x20\x7f-\xa0]", "", value or "").lower()
            assert not re.match(r"javascript:|vbscript:|data:text/html", flat), (tag, name, value)
            if name == "attributename":
                assert not re.match(r"on|(.*:)?href$", flat), (tag, value)


# ---------------------------------------------------------------- HTML
@pytest.mark.parametrize("text", RUNS)
def test_what_runs_is_left_out_and_the_rest_stays(text):
    cleaned = clean_html(f"<p>before</p>{text}")
    assert "before" in cleaned
    assert_inert(cleaned)


FRAGMENTS = [
    *RUNS,
    *("<b>", "</b>", "<style>", "</style>", "<svg>", "</svg>", "<script>", "</script>", "<!--"),
    *("-->", "<", ">", '"', "'", "&lt;", "&#60;", "&#x3c;script&#x3e;", "]]>", "/", " ", "\x00"),
    *("<iframe>", "</iframe>", "<textarea>", "</textarea>", "<title>", "</title>", "\n", "=", "a"),
    *("<table><tr><td>", " onclick=x ", "<img src='", '<a href="', "javascript:", "\u2028"),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
@example("<style>\ud800<")
def test_nothing_made_of_such_parts_runs(text):
    cleaned = clean_html(text)
    if cleaned is not None:
        assert_inert(cleaned) if cleaned != text or "<" in text else None


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=10).map("".join))
def test_what_is_clean_stays_as_it_is(text):
    cleaned = clean_html(text)
    if cleaned is not None and "\x00" not in cleaned:
        assert clean_html(cleaned) == cleaned


def test_html_that_only_runs_is_nothing_to_show():
    assert clean_html("<script>alert(1)</script>") is None
    assert clean_html("<div id='plot'></div><script>draw()</script>") is None
    assert clean_html("<iframe src='https://x.y'></iframe>\n") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain text",
        "a &lt; b &amp; c",
        '<b class="x">bold</b>',
        '<table border="1" class="dataframe">\n<thead><tr><th></th></tr></thead></table>',
        "<style scoped>\n .dataframe tbody tr th { vertical-align: top; }\n</style><div></div>",
        '<style type="text/css">.a > .b { color: red }</style>',
        '<style type="text/css">.a{}</style><table id="T_1"><tr><td id="T_1_a">1</td></tr></table>',
        '<img src="data:image/png;base64,aGk=" width="3">',
        '<a href="https://x.y/?a=1&amp;b=2" target="_blank" title="a &lt; b">x</a>',
        '<a download="t.csv" href="data:text/csv;base64,aGk=">x</a>',
        '<a href="files/t.csv">x</a>',
        '<audio controls="controls"><source src="data:audio/wav;base64,aGk=" /></audio>',
        '<input type="checkbox" checked><label for="x">x</label>',
        '<svg viewbox="0 0 1 1"><use xlink:href="#icon"/><path d="M0 0"/></svg>',
        "<details><summary>s</summary>x</details><br/>",
        "<my-element some=\"thing\">x</my-element>",
    ],
)  # fmt: skip
def test_what_does_not_run_stays_as_it_is(text):
    if text.startswith("<audio"):
        assert clean_html(text) == text.replace(" />", "/>")
    else:
        assert clean_html(text) == text


def test_text_between_tags_stays_text():
    text = "<p style='color: red'>1 < 2 > 0 &amp; &lt;script&gt; \u00e9</p>"
    assert clean_html(text) == (
        '<p style="color: red">1 &lt; 2 &gt; 0 &amp; &lt;script&gt; \u00e9</p>'
    )


def test_a_style_cannot_become_markup():
    cleaned = clean_html("<style>a::after { content: '<b onclick=x>' }</style><p title=x>y</p>")
    assert cleaned.startswith("<style>a::after { content: '\\3c b onclick=x>' }</style>")
    assert_inert(cleaned)


def test_the_table_of_a_frame_is_not_taken_apart():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a<b": ["<script>alert(1)</script>", "x"] * 1000, "n": 1.5})
    with pandas.option_context("display.max_rows", None):
        text = frame._repr_html_()
    assert clean_html(text) is text
    assert clean_html(frame.to_html(escape=False)) != frame.to_html(escape=False)
    assert_inert(clean_html(frame.to_html(escape=False)))


def test_the_style_of_a_styled_frame_stays():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("jinja2")
    styled = pandas.DataFrame({"a": [1, 2]}).style.highlight_max(color="red")
    text = styled._repr_html_()
    cleaned = clean_html(text)
    assert "background-color: red" in cleaned
    assert re.sub(r"\s", "", cleaned) == re.sub(r"\s", "", text)


@pytest.mark.parametrize("part", ["<", "<a ", "<!--", "<style>", "a<", "<b x='", "&", "<script>"])
def test_a_long_text_takes_no_more_than_its_length(part):
    start = time.monotonic()
    clean_html(part * (200_000 // len(part)))
    inert_markdown(part * (50_000 // len(part)))
    assert time.monotonic() - start < 10


# ---------------------------------------------------------------- SVG
PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'viewBox="0 0 9 9"><linearGradient id="g"></linearGradient><style>.a { fill: red }</style>'
    '<circle class="a" r="1"></circle><use xlink:href="#g"></use>'
    '<image href="data:image/png;base64,aGk="></image><text>1 &lt; 2</text></svg>'
)


def test_a_picture_stays_as_it_is():
    assert clean_svg(PICTURE) == PICTURE


def test_what_is_around_a_picture_goes():
    doctype = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://x.y/svg11.dtd">'
    declared = f"<?xml version='1.0' encoding='latin-1'?>\n{doctype}<!-- a -->{PICTURE}<?x y?>"
    assert clean_svg(declared) == PICTURE


def test_other_vocabularies_in_a_picture_are_left_out():
    inside = "<metadata>m</metadata><rdf:RDF>r<path/></rdf:RDF><svg:g><svg:path/></svg:g>"
    cleaned = clean_svg(f"<svg xmlns:rdf='r' xmlns:svg='s'>{inside}</svg>")
    assert cleaned == (
        '<svg xmlns:rdf="r" xmlns:svg="s"><svg:g><svg:path></svg:path></svg:g></svg>'
    )


SVG = [
    "<script>alert(1)</script>",
    "<s:script xmlns:s='http://www.w3.org/2000/svg'>alert(1)</s:script>",
    "<g onload='alert(1)'/>",
    "<a href='javascript:alert(1)'><circle/></a>",
    "<a xlink:href=' java&#9;script:alert(1)'><circle/></a>",
    "<animate attributeName='href' to='javascript:alert(1)'/>",
    "<set attributeName='onclick' to='alert(1)'/>",
    "<use href='data:image/svg+xml,x#y'/>",
    "<use href='other.svg#y'/>",
    "<foreignObject><iframe xmlns='http://www.w3.org/1999/xhtml' src='x'/></foreignObject>",
    "<foreignObject><img src='x' onerror='alert(1)'/></foreignObject>",
    "<style><![CDATA[<img src=x onerror=alert(1)>]]></style>",
    "<desc><![CDATA[<img src=x onerror=alert(1)>]]></desc>",
    "<!--><img src='x' onerror='alert(1)'/>-->",
    "<?x ><img src='x' onerror='alert(1)'/>?>",
    "<handler>alert(1)</handler>",
    "<metadata><script>alert(1)</script></metadata>",
]


@pytest.mark.parametrize("inside", SVG)
def test_what_runs_in_a_picture_is_left_out(inside):
    cleaned = clean_svg(
        '<svg xmlns:xlink="http://www.w3.org/1999/xlink">'
        f"<title>before</title>{inside}<path/></svg>"
    )
    assert "<title>before</title>" in cleaned
    assert "<path></path>" in cleaned
    assert_inert(cleaned.replace("attributeName", "attributename"))


@pytest.mark.parametrize(
    "text",
    ["", "<svg>", "text", "<html><svg/></html>", "<svg><b></svg>", "<svg/><svg/>", "\ud800",
     '<!DOCTYPE svg [<!ENTITY a "x">]><svg>&a;</svg>', "<svg><g a=1/></svg>",
     '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>'],
)  # fmt: skip
def test_what_is_no_picture_is_not_shown(text):
    assert clean_svg(text) is None


@given(st.lists(st.sampled_from([*SVG, *FRAGMENTS]), max_size=6).map("".join))
def test_nothing_made_of_such_parts_runs_in_a_picture(inside):
    cleaned = clean_svg(f"<svg xmlns:xlink='x'>{inside}</svg>")
    if cleaned is not None:
        assert_inert(cleaned.replace("attributeName", "attributename"))


# ---------------------------------------------------------------- Markdown and LaTeX
@pytest.mark.parametrize("text", RUNS)
def test_markdown_that_runs_something_is_told(text):
    assert not inert_markdown(f"# Title\n\n{text}\n")


@pytest.mark.parametrize(
    "text",
    ["[x](javascript:alert(1))", "[x](JavaScript&colon;alert(1))", "<javascript:alert(1)>",
     "[x](java\\script:alert(1))", "[x]: data:text/html,x", "![x](vbscript:y)"],
)  # fmt: skip
def test_markdown_with_a_link_that_runs_is_told(text):
    assert not inert_markdown(text)


@pytest.mark.parametrize(
    "text",
    ["# Title\n\n*a* < b, c > d & e", "<https://x.y>", "[x](https://x.y)", "`a <b> c`",
     "```cpp\n#include <vector>\nstd::vector<int> v;\n```", "<b class='x'>bold</b>",
     "| a | b |\n|---|---|\n| 1 | 2 |", "$x < y$", "<img src='x.png' width='3'>",
     "<!-- a comment -->", "JavaScript is a language"],
)  # fmt: skip
def test_markdown_that_runs_nothing_is_told(text):
    assert inert_markdown(text)


def test_latex_with_a_link_that_runs_is_told():
    assert inert_latex(r"$\frac{1}{2} < \href{https://x.y}{x}$")
    assert not inert_latex(r"$\href{javascript:alert(1)}{x}$")
    assert not inert_latex(r"$\href{java script:alert(1)}{x}$")
