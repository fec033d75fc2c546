"""What a developer is shown of an exception."""

from html import escape
from pathlib import Path

import pytest

from aiowsgi.config import Limits
from aiowsgi.http.messages import Request, Response
from aiowsgi.http.parser import Parser
from aiowsgi.site.applications import ApplicationError, load
from aiowsgi.site.tracebacks import LONGEST, Failure


def request(accept: str) -> Request:
    found = Parser(Limits()).head(f"GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n".encode())
    assert found is not None
    return found[0]


def text(response: Response) -> str:
    assert isinstance(response.content, bytes)
    return response.content.decode()


def page(failure: Failure) -> str:
    response = failure.response(request("text/html, */*;q=0.1"))
    assert response.status == 500
    assert b"Content-Type: text/html; charset=utf-8\r\n" in response.fields
    return text(response)


def failure_of(source: str, file: Path) -> Failure:
    """Run ``source``, as ``file``."""
    file.write_text(source)
    try:
        exec(compile(source, str(file), "exec"), {})
    except Exception as error:  # noqa: BLE001
        return Failure(error)
    raise AssertionError("nothing was raised")


def test_a_browser_is_shown_the_line_and_those_around_it(tmp_path: Path) -> None:
    source = "\n" * 20 + "def view():\n    before = '<b>'\n    return 1 / 0\n\n\nview()\n"
    shown = page(failure_of(source, tmp_path / "views.py"))
    assert "<h1>ZeroDivisionError: division by zero</h1>" in shown
    assert f"<p><code>{tmp_path}/views.py</code>, line 23, in <code>view</code></p>" in shown
    assert "<span class=here><i>23</i>    return 1 / 0 </span>" in shown
    assert "<i>22</i>    before = &#x27;&lt;b&gt;&#x27; </span>" in shown
    assert "<i>17</i>" not in shown


def test_everybody_else_is_given_the_traceback(tmp_path: Path) -> None:
    response = failure_of("raise ValueError('\u00e4')", tmp_path / "a.py").response(request("*/*"))
    assert b"Content-Type: text/plain; charset=utf-8\r\n" in response.fields
    assert text(response).startswith("Traceback (most recent call last):\n")
    assert text(response).endswith("ValueError: \u00e4\n")


def test_the_developers_own_line_is_shown_and_not_that_of_a_library(tmp_path: Path) -> None:
    shown = page(failure_of("import json\njson.loads('{')\n", tmp_path / "a.py"))
    assert f"<p><code>{tmp_path}/a.py</code>, line 2</p>" in shown
    assert "json/decoder.py" in shown  # in the traceback


def test_the_place_of_a_mistake_in_the_syntax_is_shown(tmp_path: Path) -> None:
    shown = page(failure_of("\nvalue = (\n", tmp_path / "a.py"))
    assert "<h1>SyntaxError: &#x27;(&#x27; was never closed" in shown
    assert f"<p><code>{tmp_path}/a.py</code>, line 2</p>" in shown
    assert "<span class=here><i>2</i>value = ( </span>" in shown


def test_nothing_of_it_is_markup(tmp_path: Path) -> None:
    markup = "<script>alert('&')</script>"
    shown = page(failure_of(f"raise ValueError({markup!r})", tmp_path / "<a>.py"))
    assert markup not in shown
    assert escape(markup) in shown
    assert "<a>" not in shown


def test_without_source_there_is_the_traceback(tmp_path: Path) -> None:
    assert "<h1>ZeroDivisionError: division by zero</h1>" in page(
        Failure(ZeroDivisionError("division by zero"))
    )


def test_it_is_of_a_bounded_length(tmp_path: Path) -> None:
    failure = failure_of("raise ValueError('x' * 10_000_000)", tmp_path / "a.py")
    assert len(failure.text) < LONGEST + 100
    assert len(page(failure)) < 3 * LONGEST


def test_an_application_that_cannot_be_had_for_no_exceptions_sake_is_told_of() -> None:
    with pytest.raises(ApplicationError) as caught:
        load("json:nothing")
    failure = Failure(caught.value.__cause__, str(caught.value))
    assert failure.text.startswith("module 'json' has no 'nothing'")
    assert "<h1>module &#x27;json&#x27; has no" in page(failure)
