"""`edgeclip`: the entry point, errors and exit statuses.

0 done; 1 a check ran and failed; 2 could not run. An error is one line on stderr.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from edgeclip import __version__
from edgeclip.errors import EdgeclipError

# Subcommand -> its one-line help; each lives in `edgeclip.cli.NAME` as `command` and is imported when it is used.
COMMANDS = {
    "models": "List the models, their licences and what is cached.",
    "convert": "Convert a model to Core ML and ExecuTorch.",
    "verify": "Prove that artifacts compute what the original computes.",
    "profile": "Time a bundle on a device, and hold it against budgets.",
    "classify": "Score labels for pictures with a bundle.",
    "eval": "Measure zero-shot accuracy on your pictures, beside the original's.",
    "inspect": "Show what is in a bundle.",
    "report": "Put sizes, errors and times of bundles on one page.",
    "app": "Make an iOS or Android app with a bundle in place.",
    "labels": "Encode labels, so that an app needs no text tower.",
    "compat": "Say whether an index of one bundle may be searched with another.",
}
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_PIPE_CLOSED = 141  # 128 + SIGPIPE


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is called, so that help costs nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"edgeclip.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from edgeclip.registry import unknown

            raise unknown("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgeclip")
def cli() -> None:
    """CLIP-family models as Core ML and ExecuTorch artifacts, verified on any machine.

    \b
      edgeclip convert mobileclip-s0 --target coreml --target executorch
      edgeclip verify artifacts/mobileclip-s0
      edgeclip classify artifacts/mobileclip-s0 photo.jpg --labels "a dog,a cat"
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = list(sys.argv[1:] if args is None else args)
    verbose = "-v" in args or "--verbose" in args
    try:
        status = cli.main(args=args, prog_name="edgeclip", standalone_mode=False)
        return int(status or 0)
    except EdgeclipError as error:
        if verbose and error.__cause__ is not None:
            _print_traceback(error)
        return _fail(str(error), error.exit_status)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        return 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = f"{context.command_path} --help" if context else "edgeclip --help"
        return _fail(f"{error.format_message()} (see {where})", error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", _INTERRUPTED)
    except SystemExit:  # click's answer to a closed pipe: the result was not read, so it is neither 0 nor 1
        return _PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 (the last net: users get a line, not a traceback)
        # Not an error we foresaw: say so in one line, and show where with -v.
        if verbose:
            _print_traceback(error)
        hint = "" if verbose else "; run again with -v for details, and please report it"
        return _fail(f"internal error: {type(error).__name__}: {' '.join(str(error).split())[:300]}{hint}", 2)


def _print_traceback(error: BaseException) -> None:
    import traceback

    traceback.print_exception(error)


def _fail(message: str, status: int) -> int:
    click.echo(f"edgeclip: {' '.join(message.split())}", err=True)
    return status
