"""HTML, SVG, Markdown and LaTeX of a worker, without what could run in the page.

A frontend runs the scripts of what a kernel shows. So markup is taken apart here and written anew:
every `<` of the result begins a tag that was written here, with attributes that were looked at.
Then it does not matter in which of its modes a browser reads it.

Left out are scripts, what embeds another document, and comments; attributes that hold code; and
links that run code. Styles stay. Markdown is not markup that could be written anew, so it is shown
as it is or, if there is anything in it to leave out, not at all; and so is LaTeX.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Iterable


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ACTIVE = _names(
    """applet base embed fencedframe frame frameset handler iframe link listener meta metadata
    noembed noframes noscript object plaintext portal script template xmp"""
)
"""Elements that are left out with all they hold: they run or load something, or are read in a way
of their own. (SVG's `metadata` is only a burden.)"""
_VOID = _names("area base br col embed frame hr img input link meta param source track wbr")
_SEEN = _names("audio button canvas hr img input math meter progress svg table video")
"""Elements that show something without any text."""
_NAME = re.compile(r"[a-zA-Z][\w:.-]*", re.ASCII)
_RUNS = re.compile(r"(java|vb|live)script:|mocha:")
_INERT_DATA = re.compile(r"data:(image|audio|video|font)/|data:text/(plain|csv)")
_BLANK = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028\u2029\ufeff]+")
_MARKUP = re.compile(r"<!--|</|<[!?]|<(?=[a-zA-Z])")
_TAG_NAME = re.compile(r"[a-zA-Z][^\t\n\f\r />]*")
_ATTRIBUTE_NAME = re.compile(
    r"[\t\n\f\r /]*(?:(?P<end>>)|(?P<name>=?[^\t\n\f\r />=]+|=)"
    r"(?P<equals>[\t\n\f\r ]*=[\t\n\f\r ]*)?)"
)
_BARE_VALUE = re.compile(r"[^\t\n\f\r >]*")
_PLAIN_TAG = re.compile(
    r"</?(?:table|thead|tbody|tfoot|tr|th|td|caption|style|div|span|p|b|i|em|strong|code|pre|br"
    r"|ul|ol|li|dl|dt|dd|h[1-6])"
    r"(?: (?:class|id|style|type|border|scope|scoped|colspan|rowspan|valign|halign)"
    r"(?:=\"[^\"<>]*\")?)*\s*/?>"
)
"""Tags as tables have them by the thousand."""


def clean_html(text: str) -> str | None:
    """HTML without what could run; None if nothing is left that shows."""
    if "<" not in _PLAIN_TAG.sub("", text):
        return text
    written = _Html(text)
    return written.text if written.shows or not written.left_out else None


def clean_svg(text: str) -> str | None:
    """An SVG picture without what could run; None if it is none."""
    return _Svg().written(text)


def inert_markdown(text: str) -> bool:
    """Whether Markdown holds nothing that could run."""
    return inert_latex(text) and not _Html(text).left_out


def inert_latex(text: str) -> bool:
    """Whether LaTeX holds no link that could run."""
    squeezed = _BLANK.sub("", html.unescape(text)).replace("\\", "").lower()
    return not (_RUNS.search(squeezed) or "data:text/html" in squeezed)


# ---------------------------------------------------------------- attributes
def _kept(tag: str, attributes: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """The attributes of an element that hold no code and lead to none."""
    return [(name, value) for name, value in attributes if _is_inert(tag, name.lower(), value)]


def _is_inert(tag: str, name: str, value: str | None) -> bool:
    if not _NAME.fullmatch(name) or name.startswith(("on", "data-commandlinker")):
        return False
    if name.rpartition(":")[2] in ("srcdoc", "action", "formaction"):
        return False
    if value is None:
        return True
    squeezed = _BLANK.sub("", value).lower()
    if name == "attributename":  # what an SVG animation changes
        return not squeezed.startswith("on") and not squeezed.endswith("href")
    if _RUNS.match(squeezed):
        return False
    if tag == "use":  # it would take in another document
        return not name.endswith("href") or squeezed.startswith("#")
    return not squeezed.startswith("data:") or _INERT_DATA.match(squeezed) is not None


def _tag(name: str, attributes: Iterable[tuple[str, str | None]], end: str = ">") -> str:
    written = "".join(
        f" {key}" if value is None else f' {key}="{html.escape(value)}"'
        for key, value in attributes
    )
    return f"<{name}{written}{end}"


# ---------------------------------------------------------------- HTML
class _Html:
    """HTML written anew, read in one pass as browsers read it.

    Attributes:
        text: what is left.
        shows: whether there is anything to be seen in it.
        left_out: whether anything was left out.
    """

    def __init__(self, text: str) -> None:
        self._source, self._at = text, 0
        self._parts: list[str] = []
        self.shows = self.left_out = False
        while self._at < len(text):
            self._next()
        self.text = "".join(self._parts)

    def _next(self) -> None:
        """Read text up to a `<`, and what that begins."""
        begin = _MARKUP.search(self._source, self._at)
        self._words(begin.start() if begin is not None else len(self._source))
        if begin is None:
            return
        kind = begin.group()
        if kind == "<!--":
            self._skip("-->")
        elif kind in ("<!", "<?"):
            self._skip(">")
        elif kind == "</":
            name = _TAG_NAME.match(self._source, self._at + 2)
            self._skip(">")
            if name is not None:
                self._end(name.group().lower())
        else:
            self._tag()

    def _words(self, end: int) -> None:
        words = self._source[self._at : end]
        self._at = end
        if words:
            self.shows |= not words.isspace()
            self._parts.append(html.escape(html.unescape(words), quote=False))

    def _skip(self, end: str) -> None:
        """Leave out all up to an end, or everything if there is none."""
        found = self._source.find(end, self._at)
        after = found + len(end) if found >= 0 else len(self._source)
        inside = self._source[self._at + 1 : after]
        self.left_out |= found < 0 or "<" in inside
        self._at = after

    def _skip_to_end_of(self, name: str) -> int:
        """Go behind the end tag of an element that holds text only; where that tag begins."""
        found = re.compile(f"</{re.escape(name)}(?=[\\s/>])", re.I).search(self._source, self._at)
        begin = found.start() if found is not None else len(self._source)
        close = self._source.find(">", begin)
        self._at = close + 1 if close >= 0 else len(self._source)
        return begin

    def _end(self, name: str) -> None:
        if name not in _ACTIVE and name not in _VOID and _NAME.fullmatch(name):
            self._parts.append(f"</{name}>")

    def _tag(self) -> None:
        """A start tag, and what comes with it."""
        before = self._at
        name = _TAG_NAME.match(self._source, before + 1)
        assert name is not None
        self._at = name.end()
        attributes = self._attributes()
        if attributes is None:  # it has no end
            self._at = before
            self.left_out = True
            self._words(len(self._source))
            return
        self._element(name.group().lower(), attributes, self._source[self._at - 2] == "/")

    def _attributes(self) -> list[tuple[str, str | None]] | None:
        """The attributes up to the end of the tag; None if the text ends before."""
        found: list[tuple[str, str | None]] = []
        while True:
            name = _ATTRIBUTE_NAME.match(self._source, self._at)
            if name is None:
                return None
            self._at = name.end()
            if name["end"]:
                return found
            value = None
            if name["equals"]:
                value = self._value()
                if value is None:
                    return None
            found.append((name["name"].lower(), value))

    def _value(self) -> str | None:
        quote = self._source[self._at : self._at + 1]
        if quote and quote in "\"'":
            end = self._source.find(quote, self._at + 1)
            if end < 0:
                return None
            value = self._source[self._at + 1 : end]
            self._at = end + 1
        else:
            bare = _BARE_VALUE.match(self._source, self._at)
            assert bare is not None
            value, self._at = bare.group(), bare.end()
        self.left_out |= _MARKUP.search(value) is not None
        return html.unescape(value)

    def _element(self, name: str, given: list[tuple[str, str | None]], closed: bool) -> None:
        kept = _kept(name, given)
        self.left_out |= len(kept) < len(given) or name in _ACTIVE or "<" in name
        if name in _ACTIVE:
            if name not in _VOID and not closed:
                self._skip_to_end_of(name)
            return
        if not _NAME.fullmatch(name):
            return
        self.shows |= name in _SEEN
        self._parts.append(_tag(name, kept, "/>" if closed else ">"))
        if name == "style" and not closed:
            begin = self._at
            style = self._source[begin : self._skip_to_end_of(name)]
            self.left_out |= "<" in style
            self._parts.append(style.replace("<", "\\3c ") + "</style>")  # as CSS writes it


# ---------------------------------------------------------------- SVG
class _Svg:
    """Writes SVG anew."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._depth = 0
        self._left_out = 0
        """Depth of the element that is left out, or 0."""

    def written(self, text: str) -> str | None:
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.EntityDeclHandler = self._refuse
        try:
            parser.Parse(text.encode("utf-8"), True)
        except (expat.ExpatError, ValueError):
            return None
        return "".join(self._parts)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        prefix, _, name = tag.rpartition(":")
        name = name.lower()
        if self._depth == 1 and name != "svg":
            raise ValueError("not an SVG picture")
        if self._left_out:
            return
        if name in _ACTIVE or prefix not in ("", "svg") or not _NAME.fullmatch(tag):
            self._left_out = self._depth
            return
        self._parts.append(_tag(tag, _kept(name, attributes.items())))

    def _end(self, tag: str) -> None:
        if not self._left_out:
            self._parts.append(f"</{tag}>")
        elif self._left_out == self._depth:
            self._left_out = 0
        self._depth -= 1

    def _data(self, data: str) -> None:
        if not self._left_out:
            self._parts.append(html.escape(data, quote=False))

    def _refuse(self, *declaration: object) -> None:
        raise ValueError("entities are not expanded")
