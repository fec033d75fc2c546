"""The command line: from the arguments to a Config, and from there into the server.

The options are those that Config declares. They come as text, and ``load`` checks them, so a mistake reads
the same whether it was made here, in a variable or in a file.
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby

import click

from aiowsgi import operating
from aiowsgi.config import SETTINGS, Config, ConfigError, Setting, current_folder, load
from aiowsgi.config.processors import processors
from aiowsgi.http.codings import CODINGS, INSTALLED
from aiowsgi.process.origin import take_origin
from aiowsgi.process.serving import run
from aiowsgi.server.descriptors import hold_standard
from aiowsgi.site.compress import Report, Result, Task, compressed, tasks
from aiowsgi.version import __version__

_SUMMARY = """\
Serve WSGI applications, .py scripts and files.

APP is an application, "module:attribute", or a factory that makes one, "module:factory()". Without APP
the folder html is the site, and the folder apps holds its scripts.
"""


class _Serve(click.Command):
    """A command whose help shows its options in the groups of the settings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups = {name: setting.group for name, setting in SETTINGS.items()}
        parameters = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        for group, members in groupby(parameters, lambda option: groups.get(option.name or "", "Other")):
            with formatter.section(group):
                formatter.write_dl([record for member in members if (record := member.get_help_record(ctx))])


def _parameter(setting: Setting) -> click.Parameter:
    kind = setting.kind
    if setting.name == "app":
        return click.Argument([setting.name], required=False)
    help = f"{setting.help}  [default: {setting.default}{'; repeatable' if kind.many else ''}]"
    if not kind.metavar:
        return click.Option([f"{setting.option}/--no-{setting.option[2:]}"], default=None, help=help)
    return click.Option([setting.option], multiple=kind.many, metavar=kind.metavar, help=help)


def _serve(**given: object) -> int:
    directory = current_folder()
    origin = take_origin()

    def settings() -> Config:
        config = load(given, os.environ, directory, origin.passed)
        return (
            replace(config, access_log="-") if config.access_log is None and sys.stdout.isatty() else config
        )

    config = settings()
    # The folder of a console script stands first in sys.path, where "python -m" has the current one.
    sys.path.insert(0, str(directory))
    status = run(config, read_again=settings, origin=origin)
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN
    )  # or whoever asks twice might have it die of that when all is done
    return status


_CONFIG = click.Option(
    ["--config"],
    metavar="FILE",
    help="Read settings from this file.  [default: aiowsgi.toml, pyproject.toml]",
)


def _compress(folder: str, coding: tuple[str, ...], quiet: bool) -> int:
    if missing := [name for name in coding if name not in INSTALLED]:
        raise click.UsageError(f"{missing[0]} is not installed: {_INSTALL}.", click.get_current_context())
    report = Report()
    work = tasks(folder, [name for name in INSTALLED if name in coding or not coding], report.unreadable)
    with closing(compressed(work, processors())) as results:
        for result in results if quiet or not sys.stdout.isatty() else _shown(results, work):
            report.add(result)
    for error in report.errors:
        _tell(error)
    if not quiet:
        left_out = "" if coding else ", ".join(name for name in CODINGS if name not in INSTALLED)
        print(report.summary() + (f"; without {left_out}: {_INSTALL}" if left_out else ""))
    return 1 if report.errors else 0


def _shown(results: Iterable[Result], work: Iterable[Task]) -> Iterator[Result]:
    """Yield the results, and show how far they are."""
    with click.progressbar(length=sum(task.size for task in work), label="compressing") as bar:
        for result in results:
            yield result
            bar.update(result.task.size)


_COMPRESS = click.Command(
    "compress",
    callback=_compress,
    params=[
        click.Argument(["folder"], metavar="DIR", type=click.Path(exists=True, file_okay=False)),
        click.Option(
            ["--coding"],
            type=click.Choice(CODINGS),
            multiple=True,
            help="Make this variant.  [default: all that are installed; repeatable]",
        ),
        click.Option(["--quiet"], is_flag=True, help="Tell of nothing but mistakes."),
    ],
    help="""\
Compress the text-like files below DIR once, so that the server need not: app.js gets app.js.br, app.js.zst and
app.js.gz beside it, where they are smaller. What is up to date is left alone, so run it after each build.
""",
    context_settings={"max_content_width": 110},
)
_INSTALL = "pip install 'aiowsgi[compress]'"
_COMMANDS = click.Group(
    "aiowsgi",
    commands=[
        _Serve(
            "serve",
            callback=_serve,
            params=[*map(_parameter, SETTINGS.values()), _CONFIG],
            help=_SUMMARY,
            epilog="Every option is also a variable (AIOWSGI_THREADS) and a key of aiowsgi.toml (threads).",
            context_settings={"max_content_width": 110},
        ),
        _COMPRESS,
        *operating.COMMANDS,
    ],
    params=[],
    help="An asyncio HTTP server with a WSGI bridge.",
    no_args_is_help=False,
)
click.version_option(__version__, message="%(prog)s %(version)s")(_COMMANDS)


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run the command line, ``sys.argv`` if none is given, and return the exit status.

    A mistake in the arguments or the settings is one line on standard error and status 2.
    """
    _open_standard_streams()
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        status: int | None = _COMMANDS.main(arguments, "aiowsgi", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "aiowsgi"
        return _refuse(f'{error.format_message()} Try "{command} --help".')
    except ConfigError as error:
        return _refuse(str(error))
    except click.Abort:  # Ctrl-C before anything was started
        return 128 + signal.SIGINT
    return status


def _open_standard_streams() -> None:
    """Let nothing be written where standard input, output or error is closed."""
    hold_standard()
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)


def _refuse(line: str) -> int:
    _tell(line)
    return 2


def _tell(line: str) -> None:
    # Names may hold line breaks: what was promised is one line.
    print("aiowsgi:", " ".join(line.split()), file=sys.stderr)
