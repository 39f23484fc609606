"""A browser without JavaScript over Flask's test client: it fills in the forms that pages hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

from flask import Flask
from werkzeug.test import TestResponse

ORIGIN = "http://hearth-ab12.local"


@dataclass
class Form:
    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)


class PageParser(HTMLParser):
    """Forms with the values a browser would send, visible text, and errors by field."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.title = ""
        self.text = ""
        self.headings: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        self._open.append(tag)
        if tag == "h1":
            self.headings.append("")
        if tag == "form":
            self.forms.append(Form(action=attributes["action"], method=attributes["method"]))
        elif tag == "select":
            self._select = attributes["name"]
        elif self.forms:
            self._control(tag, attributes)

    def _control(self, tag: str, attributes: dict[str, str]) -> None:
        values = self.forms[-1].values
        if tag == "option" and ("selected" in attributes or self._select not in values):
            values[self._select] = attributes["value"]
        if tag != "input" or "disabled" in attributes:
            return
        if attributes.get("type") != "radio" or "checked" in attributes:
            values[attributes["name"]] = attributes.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "title" in self._open:
            self.title += data
        elif "h1" in self._open:
            self.headings[-1] += data
        self.text += data + " "


class Browser:
    """One person's browser: cookies, the current page, and its forms."""

    def __init__(self, app: Flask, *, source: str = "127.0.0.1", origin: str = ORIGIN) -> None:
        self.client = app.test_client()
        self.origin = origin
        # As behind nginx: a Unix socket has no peer address, and nginx tells the browser's.
        self.environ = {"REMOTE_ADDR": "", "HTTP_X_REAL_IP": source}
        self.response: TestResponse
        self.page = PageParser()

    @property
    def path(self) -> str:
        return self.response.request.path

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def text(self) -> str:
        return " ".join(self.page.text.split())

    def get(self, path: str, *, follow: bool = True) -> Browser:
        return self._took(
            self.client.get(
                path,
                base_url=self.origin,
                environ_base=self.environ,
                follow_redirects=follow,
                buffered=True,
            )
        )

    def submit(self, *, action: str = "", **typed: str) -> Browser:
        """Send the page's form (the one with ``action``, or the last) with ``typed`` filled in."""
        fitting = [form for form in self.page.forms if action in ("", form.action)]
        form = fitting[-1]
        unknown = set(typed) - set(form.values)
        assert not unknown, f"the form has no {unknown}"
        return self.post(form.action, form.values | typed)

    def post(
        self, path: str, values: dict[str, str], *, headers: dict[str, str] | None = None
    ) -> Browser:
        return self._took(
            self.client.post(
                path,
                data=values,
                base_url=self.origin,
                environ_base=self.environ,
                headers={"Origin": self.origin} | (headers or {}),
                follow_redirects=True,
            )
        )

    def error(self, name: str) -> str:
        """The message at a field, found the way a screen reader finds it."""
        for _, attributes in self.page.elements:
            if attributes.get("id") == name and attributes.get("aria-invalid") == "true":
                assert f"{name}-error" in attributes["aria-describedby"].split()
                return self._text_of(f"{name}-error")
        return ""

    def value(self, name: str) -> str:
        return self.page.forms[-1].values[name]

    def _text_of(self, identity: str) -> str:
        _, _, rest = self.response.text.partition(f'id="{identity}"')
        _, _, rest = rest.partition(">")
        parser = PageParser()
        parser.feed(rest.partition("</p>")[0])
        return " ".join(parser.text.split())

    def _took(self, response: TestResponse) -> Browser:
        self.response = response
        self.page = PageParser()
        if response.mimetype == "text/html":
            self.page.feed(response.text)
        return self
