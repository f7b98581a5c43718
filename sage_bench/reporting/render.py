"""A table of methods as Markdown, LaTeX, CSV, HTML and text."""

from __future__ import annotations

import html as html_escapes
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sage_bench.reporting.method_table import (
    AVG_ID,
    AVG_OOD,
    MARKS,
    Cell,
    MethodRow,
    MethodTable,
)
from sage_bench.reporting.reference import number
from sage_bench.utils.cells import csv_text, one_line
from sage_bench.utils.files import make_folder, write_text

TIDY = [
    "model",
    "method",
    "benchmark",
    "score",
    "se",
    "delta",
    "paper",
    "paper_status",
    "n_seeds",
    "status",
]
AVERAGE_TITLES = {AVG_ID: "Avg. in distribution", AVG_OOD: "Avg. out of distribution"}
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "Δ": r"$\Delta$",
}


def tidy(table: MethodTable) -> pd.DataFrame:
    """One row a number: the columns of `TIDY`; averages are benchmarks `avg_id` and `avg_ood`."""
    rows = []
    for row in table.rows:
        for column, cell in row.cells.items():
            if cell.score is None and cell.paper is None and not cell.marks:
                continue
            status = ", ".join(cell.marks) or ("ok" if cell.score is not None else row.status)
            values = (
                row.model,
                row.method,
                column,
                cell.score,
                cell.se,
                cell.delta,
                cell.paper,
                cell.paper_status,
                row.seeds if cell.score is not None else None,
                status,
            )
            rows.append(dict(zip(TIDY, values, strict=True)))
    return pd.DataFrame(rows, columns=TIDY)


def to_csv(table: MethodTable) -> str:
    """The tidy table as CSV, in which no cell is a formula or has a line break."""
    frame = tidy(table)
    for column in ("model", "method", "benchmark"):
        frame[column] = [one_line(v) for v in frame[column]]
    frame["n_seeds"] = frame["n_seeds"].astype("Int64")
    return csv_text(frame)


def column_title(column: str) -> str:
    """The heading of a column."""
    return AVERAGE_TITLES.get(column, column)


def has_paper(table: MethodTable) -> bool:
    """Whether there are the paper's numbers beside ours."""
    return any(
        c.paper is not None and c.score is not None for r in table.rows for c in r.cells.values()
    )


# ---- cells --------------------------------------------------------------------------------------
def shown(cell: Cell) -> str:
    """The number with its error, without emphasis: `56.5 ± 1.8`, or the paper's as printed."""
    if cell.score is None:
        return cell.paper or "–"
    error = "" if cell.se is None or cell.se != cell.se else f" ± {cell.se:.1f}"
    return f"{cell.score:.1f}{error}"


def delta_shown(cell: Cell) -> str:
    """The difference to the base, with a star where it is significant."""
    if cell.delta is None:
        return "–"
    return f"{cell.delta:+.1f}" + ("*" if cell.significant else "")


def beside(cell: Cell) -> str:
    """The paper's number and ours minus it: `17.8 (+0.4)`."""
    if cell.paper is None:
        return "–"
    if cell.score is None:
        return cell.paper
    return f"{cell.paper} ({cell.score - number(cell.paper):+.1f})"


def grid(
    table: MethodTable,
    emphasise: Callable[[Cell, str], str],
    marked: Callable[[str], str],
    clean: Callable[[str], str],
) -> tuple[list[str], list[tuple[str, list[list[str]]]]]:
    """Headings, and for each model its lines of cells, in one markup.

    emphasise: best and second. marked: the letters of marks. clean: text that others wrote.
    """
    letters = table.marks()
    paper = has_paper(table)
    headings = ["method"]
    for column in table.columns:
        headings.append(clean(column_title(column)))
        if column in AVERAGE_TITLES:
            headings.append(clean("Δ"))
        if paper:
            headings.append("paper")
    blocks = []
    for model in table.models():
        lines = []
        for row in (r for r in table.rows if r.model == model):
            line = [clean(method_title(row))]
            for column in table.columns:
                cell = row.cells.get(column, Cell())
                marks = "".join(letters[m] for m in cell.marks)
                text = emphasise(cell, clean(shown(cell)))
                line.append(text + (marked(marks) if marks else ""))
                if column in AVERAGE_TITLES:
                    line.append(clean(delta_shown(cell)))
                if paper:
                    line.append(clean(beside(cell)))
            lines.append(line)
        blocks.append((clean(model), lines))
    return headings, blocks


def method_title(row: MethodRow) -> str:
    """The method, and how often it was trained where that was more than once."""
    return f"{row.method} ({row.seeds} seeds)" if row.seeds > 1 else row.method


def footnotes(table: MethodTable) -> list[str]:
    """What the letters mean, then the lines under the table."""
    return [f"{letter}: {MARKS[name]}." for name, letter in table.marks().items()] + list(
        table.notes
    )


# ---- markups ------------------------------------------------------------------------------------
def to_markdown(table: MethodTable) -> str:
    """GitHub Markdown: bold for the best, `<u>` for the second."""

    def clean(text: str) -> str:
        text = html_escapes.escape(one_line(text), quote=False)
        return re.sub(r"([\\`*_\[\]|])", r"\\\1", text)

    def emphasise(cell: Cell, text: str) -> str:
        if cell.best:
            return f"**{text}**"
        return f"<u>{text}</u>" if cell.second else text

    headings, blocks = grid(table, emphasise, lambda m: f"<sup>{m}</sup>", clean)
    lines = [f"### {clean(table.title)}", ""]
    for model, rows in blocks:
        lines += [f"**{model}**", ""]
        lines += ["| " + " | ".join(headings) + " |", "|---|" + "---:|" * (len(headings) - 1)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
    lines += [clean(note) + "  " for note in footnotes(table)]
    return "\n".join(lines).rstrip() + "\n"


def to_latex(table: MethodTable) -> str:
    """A `table*` with booktabs; blocks of models between rules."""

    def clean(text: str) -> str:
        return "".join(LATEX.get(c, c) for c in one_line(text))

    def emphasise(cell: Cell, text: str) -> str:
        if cell.best:
            return rf"\textbf{{{text}}}"
        return rf"\underline{{{text}}}" if cell.second else text

    headings, blocks = grid(table, emphasise, lambda m: rf"\textsuperscript{{{m}}}", clean)
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table*}[t]",
        r"\centering\small",
        rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"\toprule",
        " & ".join(headings) + r" \\",
    ]
    for model, rows in blocks:
        lines += [r"\midrule", rf"\multicolumn{{{len(headings)}}}{{l}}{{\textit{{{model}}}}} \\"]
        lines += [" & ".join(row) + r" \\" for row in rows]
    notes = " ".join(clean(note) for note in footnotes(table))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\caption{{{clean(table.title)}. {notes}}}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


def html_rows(table: MethodTable) -> tuple[str, str]:
    """The cells of the heading and the rows of the body, as HTML; all text in them is escaped."""

    def clean(text: str) -> str:
        return html_escapes.escape(one_line(text))

    def emphasise(cell: Cell, text: str) -> str:
        if cell.best:
            return f"<b>{text}</b>"
        return f"<u>{text}</u>" if cell.second else text

    headings, blocks = grid(table, emphasise, lambda m: f"<sup>{m}</sup>", clean)
    body = []
    for model, rows in blocks:
        body.append(f'<tr><th colspan="{len(headings)}" class="model">{model}</th></tr>')
        for row in rows:
            body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>")
    return "".join(f"<th>{h}</th>" for h in headings), "\n".join(body)


def to_html(table: MethodTable) -> str:
    """One page that needs no network."""
    from jinja2 import Environment, PackageLoader

    template = Environment(
        loader=PackageLoader("sage_bench.reporting", "."), autoescape=True
    ).get_template("methods.html.jinja")
    head, body = html_rows(table)
    return template.render(
        title=one_line(table.title),
        head=head,
        body=body,
        notes=[one_line(note) for note in footnotes(table)],
    )


def to_text(table: MethodTable) -> str:
    """Aligned columns for a terminal or a log; best is `>`, second `~`, marks in brackets."""

    def emphasise(cell: Cell, text: str) -> str:
        if cell.best:
            return ">" + text
        return "~" + text if cell.second else text

    headings, blocks = grid(table, emphasise, lambda m: f"[{m}]", one_line)
    lines = [one_line(table.title), ""]
    for model, rows in blocks:
        widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
        lines.append(model)
        for row in [headings, *rows]:
            first = row[0].ljust(widths[0])
            rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            lines.append("  ".join([first, *rest]).rstrip())
        lines.append("")
    return "\n".join([*lines, *map(one_line, footnotes(table))]).rstrip() + "\n"


FORMATS: dict[str, Callable[[MethodTable], str]] = {
    "text": to_text,
    "md": to_markdown,
    "tex": to_latex,
    "csv": to_csv,
    "html": to_html,
}


def write_tables(table: MethodTable, out: Path) -> list[Path]:
    """table.csv, table.md, table.tex and index.html; returns what was written."""
    make_folder(out)
    files = {
        "table.csv": to_csv(table),
        "table.md": to_markdown(table),
        "table.tex": to_latex(table),
        "index.html": to_html(table),
    }
    for name, text in files.items():
        write_text(out / name, text)
    return [out / name for name in files]
