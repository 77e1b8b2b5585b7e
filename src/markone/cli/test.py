"""``markone test``: opens the sealed part."""

from markone.cli.options import Format, FormatOption, RunArgument


def estimate(run: RunArgument, *, format: FormatOption = Format.TEXT) -> None:
    """Opens the sealed test part. Gives the estimate with its 95 % interval; every opening is counted."""
    from markone.cli.output import open_console, print_json
    from markone.cli.progress import progress_bar
    from markone.training.evaluate import open_test
    from markone.training.run import find_run

    found = find_run(run)
    with progress_bar() as progress:
        document = open_test(found, progress=progress)
    if format == Format.JSON:
        print_json(document)
    else:
        from markone.report.answers import test_text

        open_console().print(test_text(document))
