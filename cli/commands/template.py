# SPDX-License-Identifier: Apache-2.0
"""`vmpower template`: templates for new domains."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.completion import candidates
from cli.framework.failures import ExitStatus
from cli.framework.group import new_app
from cli.framework.session import show
from cli.framework.settings import OutputOption, settings_of
from cli.output.echo import echo, echo_error
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from domain_templates.catalog import (
    LOCAL_DIRECTORY,
    Template,
    check_template,
    list_templates,
    load_template,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

app = new_app(doc="Templates for new domains: list, show, validate.")

Directory = Annotated[
    Path, typer.Option("--directory", help="Directory of local templates.")
]


@app.command("list")
def list_all(
    context: typer.Context,
    directory: Directory = LOCAL_DIRECTORY,
    output: OutputOption = None,
) -> None:
    """List built-in and local templates."""
    facts = [_facts(template) for template in list_templates(directory)]
    document = {"templates": facts}
    show(settings_of(context, output), document, lambda: _list_sheets(facts))


@app.command("show")
def show_one(
    context: typer.Context,
    template: Annotated[
        str,
        typer.Argument(
            help="Template name, or ./FILE.xml.", autocompletion=candidates.templates
        ),
    ],
    *,
    directory: Directory = LOCAL_DIRECTORY,
    xml: Annotated[
        bool, typer.Option("--xml", help="Print the XML of the template.")
    ] = False,
    output: OutputOption = None,
) -> None:
    """Show a template and its parameters."""
    chosen = load_template(template, directory)
    if xml:
        typer.echo(chosen.xml, nl=False)
        return
    parameters = _parameters(chosen)
    document = {**_facts(chosen), "parameters": parameters}
    show(
        settings_of(context, output),
        document,
        lambda: _show_sheets(_facts(chosen), parameters),
    )


@app.command()
def validate(
    templates: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEMPLATE]...",
            help="Template names or files; default: all.",
            autocompletion=candidates.templates,
        ),
    ] = None,
    directory: Directory = LOCAL_DIRECTORY,
) -> None:
    """Validate templates: XML, parameters, libvirt's schema."""
    chosen: Sequence[Template] = [
        load_template(name, directory) for name in templates or []
    ]
    is_invalid = False
    for template in chosen or list_templates(directory):
        problems = _check(template)
        is_invalid = is_invalid or bool(problems)
        for problem in problems:
            echo_error(f"template '{template.name}': {problem}")
        if not problems:
            echo(f"Template '{template.name}' is valid")
    if is_invalid:
        raise typer.Exit(ExitStatus.FAILED)


def _check(template: Template) -> tuple[str, ...]:
    from domain_templates.schema import SCHEMA
    from domain_templates.schema import validate as validate_domain
    from orchestrator.domain_xml.metadata import parse_settings
    from orchestrator.errors import DomainXmlError

    problems = check_template(template)
    if problems:
        return problems
    try:
        if not validate_domain(template.xml):
            echo(
                f"hint: not validated by libvirt's schema: no such file: {SCHEMA}",
                err=True,
            )
    except DomainXmlError as error:
        return (str(error),)
    return parse_settings(template.xml).problems


def _facts(template: Template) -> dict[str, Any]:
    from orchestrator.errors import DomainXmlError

    try:
        summary, problem = template.summary, ""
    except DomainXmlError as error:
        summary, problem = "", str(error)
    return {
        "name": template.name,
        "path": None if template.path is None else str(template.path),
        "summary": summary,
        "problem": problem,
    }


def _parameters(template: Template) -> list[dict[str, Any]]:
    from domain_templates.parameters import read_value
    from orchestrator.domain_xml.document import parse_document

    root = parse_document(template.xml)
    return [
        {
            "name": item.name,
            "value": None if item.is_required else read_value(root, item),
            "required": item.is_required,
            "option": item.option or None,
            "summary": item.summary,
        }
        for item in template.parameters
    ]


def _list_sheets(facts: list[dict[str, Any]]) -> tuple[Sheet, ...]:
    columns = (
        Column(title="Name"),
        Column(title="Origin", rank=1),
        Column(title="Summary"),
    )
    rows = tuple(
        (
            Cell(fact["name"], Style.NAME),
            Cell(fact["path"] or "built-in", Style.QUIET),
            Cell(fact["problem"], Style.BAD)
            if fact["problem"]
            else Cell(fact["summary"] or "-"),
        )
        for fact in facts
    )
    return (Sheet(columns=columns, rows=rows),)


def _show_sheets(
    facts: dict[str, Any], parameters: list[dict[str, Any]]
) -> tuple[Sheet, ...]:
    about = (
        ("Name", Cell(facts["name"], Style.NAME)),
        ("Origin", Cell(facts["path"] or "built-in", Style.QUIET)),
        ("Summary", Cell(facts["summary"] or "-")),
    )
    columns = (
        Column(title="Parameter"),
        Column(title="Value"),
        Column(title="Summary", rank=1),
    )
    rows = tuple(
        (
            Cell(item["name"], Style.NAME),
            Cell("(required)", Style.NOTABLE)
            if item["required"]
            else Cell(item["value"] or "-"),
            Cell(item["summary"]),
        )
        for item in parameters
    )
    return (Sheet(facts=about, columns=columns if rows else (), rows=rows),)
