"""Names of applications: what they load, and what is said when they cannot be loaded."""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiowsgi.site.applications import ApplicationError, describe, load

Module = Callable[..., str]

_numbers = itertools.count()

APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"application"]
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """Write a module that can be imported, and return its name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(source: str, name: str = "") -> str:
        name = name or f"module_{next(_numbers)}"
        path = tmp_path / (name.replace(".", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refused(specification: str) -> str:
    with pytest.raises(ApplicationError) as caught:
        load(specification)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def body(application: Any) -> bytes:
    return b"".join(application({}, lambda status, headers: None))


def test_an_attribute_is_the_application(module: Module) -> None:
    assert body(load(f"{module(APPLICATION)}:application")) == b"application"


def test_a_module_in_a_package_and_a_dotted_attribute(module: Module) -> None:
    name = module(APPLICATION + "class site:\n    main = staticmethod(application)\n", "package_a.web")
    assert body(load(f"{name}:site.main")) == b"application"


def test_a_module_alone_means_its_application_or_else_its_app(module: Module) -> None:
    assert body(load(module(APPLICATION + "app = None\n"))) == b"application"
    assert body(load(module(APPLICATION.replace("application", "app")))) == b"app"
    name = module("app = None")
    assert refused(name).startswith(f"'{name}:app' is None")


def test_a_factory_is_called_with_its_literal_arguments(module: Module) -> None:
    name = module(
        """
def create_app(name="none", *, debug=False, paths=()):
    def application(environ, start_response):
        start_response("200 OK", [])
        return [repr((name, debug, paths)).encode()]
    return application
"""
    )
    assert body(load(f"{name}:create_app()")) == b"('none', False, ())"
    specification = f"{name}:create_app('shop:1', debug=True, paths=['/a', -1])"
    assert body(load(specification)) == b"('shop:1', True, ['/a', -1])"


@pytest.mark.parametrize(
    "callables",
    [
        "class App:\n    def __call__(self, environ, start_response): ...\napp = App()\n",
        "class app:\n    def __init__(self, environ, start_response): ...\n",
        "class App:\n    def run(self, environ, start_response): ...\napp = App().run\n",
        "import functools\nimport time\n@functools.wraps(time.sleep)\ndef app(*arguments): ...\n",
        "import functools\ndef three(a, environ, start_response): ...\napp = functools.partial(three, 1)\n",
        "app = dict.get\n",
        "import functools\ndef view(request): ...\n@functools.wraps(view)\ndef app(e, s): ...\n",
    ],
)
def test_whatever_can_be_called_with_two_arguments_is_an_application(module: Module, callables: str) -> None:
    assert callable(load(f"{module(callables)}:app"))


def test_an_object_whose_parameters_nobody_can_tell_is_given_the_benefit_of_the_doubt(module: Module) -> None:
    assert callable(load(f"{module('app = dict.update')}:app"))
    assert callable(load(f"{module('app = iter')}:app"))


@pytest.mark.parametrize(
    "specification",
    ["", ":app", "shop:", "shop-1:app", "a..b:app", "shop:app:x", "shop:1", "shop:create_app(", "shop:a b"],
)
def test_what_is_no_name_is_told_what_was_expected(specification: str) -> None:
    assert "'package.module:" in refused(specification)


@pytest.mark.parametrize(
    "call", ["f(name)", "f(*[1])", "f(**{'a': 1})", "f()()", "f(1)[0]", "[].f()", "f(g())"]
)
def test_arguments_that_are_no_literals_are_refused(call: str) -> None:
    assert "arguments are literals" in refused(f"shop:{call}")


def test_a_file_name_is_told_the_module_name() -> None:
    assert refused("apps/shop.py:app").endswith("name its module, as in 'apps.shop:app'")
    assert refused("shop.py").endswith("name its module, as in 'shop:application'")


def test_a_missing_module_is_named_with_the_folder_that_was_searched_first(
    tmp_path: Path, module: Module
) -> None:
    assert refused("no_such_shop:app") == f"there is no module 'no_such_shop' in {tmp_path}"
    assert "there is no module 'no_such.shop'" in refused("no_such.shop:app")
    assert "('no_such' is missing)" in refused("no_such.shop:app")


def test_a_module_that_the_application_misses_is_told_with_its_traceback(module: Module) -> None:
    name = module("import no_such_dependency\n")
    with pytest.raises(ApplicationError, match="ModuleNotFoundError: No module named 'no_such_dep") as caught:
        load(f"{name}:app")
    text = describe(caught.value)
    assert f'{name}.py", line 1, in <module>\n    import no_such_dependency\n' in text


def test_a_missing_attribute_is_told_with_the_callables_that_are_there(module: Module) -> None:
    name = module(APPLICATION + "import os\nfrom json import dumps\n_hidden = application\nclass Shop: ...\n")
    assert refused(f"{name}:app") == f"module {name!r} has no 'app'; its callables are: application, Shop"
    assert refused(f"{name}:application.app") == "an object of type 'function' has no 'app'"


def test_a_module_alone_without_either_name_says_so(module: Module) -> None:
    name = module("wsgi = print\nclass Site:\n    def __call__(self, e, s): ...\nmain = Site()\n")
    assert refused(name) == (
        f"module {name!r} has neither 'application' nor 'app'; its callables are: Site, main"
    )
    assert refused(module("")).endswith("has neither 'application' nor 'app'")


def test_what_is_not_callable_is_told_what_it_is(module: Module) -> None:
    name = module("settings = {}\nnothing = None\nimport sys\ndef create(): return 7\n")
    assert "is an object of type 'dict', not a callable" in refused(f"{name}:settings")
    assert "is None, not a callable" in refused(f"{name}:nothing")
    assert "is the module 'sys', not a callable" in refused(f"{name}:sys")
    assert f"what '{name}:create()' returned is an object of type 'int'" in refused(f"{name}:create()")
    assert "is an object of type 'dict', not a callable" in refused(f"{name}:settings()")


def test_a_factory_named_without_its_call_is_told_to_write_it(module: Module) -> None:
    name = module("def create_app(): ...\n")
    assert refused(f"{name}:create_app").endswith(
        f"if it is a factory, write its call: '{name}:create_app()'"
    )


@pytest.mark.parametrize(
    "application",
    [
        "async def app(scope, receive, send): ...",
        "class App:\n    async def __call__(self, scope, receive, send): ...\napp = App()",
        "def app(scope, receive, send): ...",
    ],
)
def test_an_asgi_application_is_recognised(module: Module, application: str) -> None:
    assert refused(f"{module(application)}:app").endswith("looks like an ASGI application; aiowsgi runs WSGI")


def test_what_an_import_raises_is_shown_from_the_applications_first_frame_on(module: Module) -> None:
    name = module("def connect():\n    raise RuntimeError('no\\n  database')\nconnect()\n")
    with pytest.raises(ApplicationError) as caught:
        load(f"{name}:app")
    lines = describe(caught.value).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert f'{name}.py", line 3, in <module>' in lines[1]
    assert lines[-1] == f"importing {name!r} raised RuntimeError: no database"


def test_what_a_factory_raises_is_shown_from_its_own_frame_on(module: Module) -> None:
    name = module("def create(): return 1 / 0\n")
    with pytest.raises(ApplicationError) as caught:
        load(f"{name}:create()")
    lines = describe(caught.value).splitlines()
    assert "in create" in lines[1]
    assert lines[-1] == f"calling '{name}:create()' raised ZeroDivisionError: division by zero"


def test_wrong_arguments_for_a_factory_are_told(module: Module) -> None:
    name = module("def create(): ...\n")
    assert "TypeError: create() takes 0 positional arguments" in refused(f"{name}:create(1)")


def test_a_syntax_error_is_shown_with_its_place(module: Module) -> None:
    name = module("def application(\n")
    with pytest.raises(ApplicationError) as caught:
        load(f"{name}:application")
    text = describe(caught.value)
    assert f'{name}.py", line 1' in text
    assert "SyntaxError: '(' was never closed" in text
    assert "importlib" not in text


def test_a_module_that_exits_does_not_end_the_server(module: Module) -> None:
    assert refused(f"{module('import sys; sys.exit()')}:app").endswith("raised SystemExit")


def test_an_error_without_a_cause_is_described_by_its_line() -> None:
    assert describe(ApplicationError("one line")) == "one line"
