"""The links of an HTML page, as an index of packages has them."""

from html.parser import HTMLParser


def hrefs(page: str) -> list[str]:
    """Give what each link of a page leads to, as written."""
    reader = _Anchors()
    reader.feed(page)
    return reader.found


class _Anchors(HTMLParser):
    """What reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]
