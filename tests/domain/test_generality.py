"""Code names no procedure, and folds fast."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NODE = ROOT / "node"

# Words that are also plain English or terms of other parts of the code, and so prove nothing in a string.
COMMON = {
    "draft", "sent", "closed", "open", "answer", "answers", "message", "note", "content", "state", "all", "send",
    "close", "accept", "withdraw", "submit", "return", "approve", "edit", "refuse", "split", "forward", "resend",
    "object", "agree", "correct", "request", "alert", "active", "update", "publish", "owner", "reader", "sender", "home",
    "host", "everyone", "helper", "comment", "reason", "info", "measure", "question", "extend", "issue", "lead",
    "applicant", "refer", "reopen", "accepted", "refused", "answered", "withdrawn", "inside", "summary", "inbox",
    "handler", "commission", "person", "profession", "activity", "country", "number", "receiver", "urgency", "notification",
    "suspend", "suspended", "resume", "published", "missing", "modify", "adopt", "adopted", "reject", "rejected",
    "resolved", "propose", "decline", "submitted", "acknowledge", "transmit", "lift", "invalidate", "revoke", "revoked",
    "issued", "general", "services", "closer", "ground", "survey", "allocate", "reasons", "case",
}  # fmt: skip


def definition_names(definitions) -> dict[str, str]:
    names: dict[str, str] = {}
    for p in definitions.procedures.values():
        names[p.id] = "procedure"
        names[p.workflow] = "workflow"
        tables = {"step": p.steps, "role": p.roles, "state": p.states, "audience": p.audiences, "form": p.forms}
        names |= {name: kind for kind, table in tables.items() for name in table}
        names |= dict.fromkeys(p.questions, "question")
    return {name: kind for name, kind in names.items() if name not in COMMON}


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every text in a module that is no docstring."""
    tree = ast.parse(path.read_text())
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


@pytest.mark.parametrize(
    "package", ["domain", "catalogue", "casework", "api", "web", "pages", "local_store", "federation"]
)
def test_code_names_no_procedure_workflow_step_or_role(package, shipped, tried):
    # Of the tried definitions only names no English word is spelt like: hyphens and paths.
    names = {n: kind for n, kind in definition_names(tried).items() if "-" in n or "/" in n} | definition_names(shipped)
    found = [
        f"{path.relative_to(ROOT)}:{line}: names the {names[text]} {text}"
        for path in (NODE / package).rglob("*.py")
        for line, text in strings(path)
        if text in names
    ]
    assert not found, "\n".join(found)


def test_the_domain_knows_none_of_the_common_words_either(shipped, tried):
    """In the domain even plain words would be a rule in the wrong place; its own vocabulary is listed."""
    own = {"content", "open", "received", "state", "case", "answers", "comments", "missing", "message", "number", "all"}
    own |= {
        "draft",
        "comment",
        "commission",
        "close",
    }  # status of texts, remark on an answer, a table of a file, a verb
    names: set[str] = set()
    for p in (*tried.procedures.values(), *shipped.procedures.values()):
        names |= {*p.steps, *p.roles, *p.states, *p.audiences, p.workflow, p.id}
    kinds = {"request", "notification", "alert", "repository", "application"}  # the kinds of procedure
    found = [
        f"{path.name}:{line}: {text}"
        for path in (NODE / "domain").rglob("*.py")
        for line, text in strings(path)
        if text in names - own - kinds
    ]
    assert not found, "\n".join(found)


def test_a_case_of_fifty_events_folds_in_milliseconds(play, capsys):
    """Printed, not judged by the clock beyond a wide margin: the machine is shared."""
    case = play("professional-qualifications/information-request")
    case.take(
        "send", "FR:a", "requesting", {"to": "RO:a", "questions": ["Q1"], "wanted": "2026-12-10", "urgency": "normal"}
    )
    case.take("received", "RO:a", "responding")
    while len(case.everything) < 50:
        case.take("message", "FR:a", "requesting")
        case.take("forward", "RO:a", "responding", {"to": "RO:b"})
        case.take("forward", "RO:b", "responding", {"to": "RO:a"})
    best = min(_timed(case.view) for _ in range(5))
    with capsys.disabled():
        print(f"\nfold of {len(case.everything)} events: {best * 1000:.2f} ms")
    assert best < 0.1


def _timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
