"""The reference page is what the docstrings and the members themselves say; the tests' catalogue has all of them."""

import functools
import inspect
import re

import pytest

import jaxreg
from jaxreg import Blocks, Cox, Loss, Masked, Penalty, Sum, TotalVariation2D, Units, reference
from tests.catalogue import LOSSES, PENALTIES

MEMBERS = [*reference._members(Loss), *reference._members(Penalty)]
COMPOSED = (Sum, Masked, Blocks, Units)

page = functools.cache(reference.page)


def rows():
    """Cells of the tables' rows, by member."""
    found = {}
    for line in page().splitlines():
        if name := re.match(r"\| \[`(\w+)`\]\(#\w+\) \|", line):
            found[name.group(1)] = [cell.strip() for cell in line.replace("\\|", "¦").split("|")[1:-1]]
    return found


def test_the_page_is_current():
    """If not: python -m jaxreg.reference"""
    assert reference.PAGE.read_text(encoding="utf-8") == page()


def test_every_member_is_in_one_table_and_has_a_section_that_links_lead_to():
    text = page()
    headings = set(re.findall(r"^## (\w+)$", text, re.M))
    for member in MEMBERS:
        assert text.count(f"\n| [`{member.__name__}`](#{member.__name__.lower()}) |") == 1, member
        assert member.__name__ in headings, member
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= {name.lower() for name in headings}
    assert {len(cells) for cells in rows().values()} == {2, 7}


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_docstrings_give_arguments_cost_source_and_an_example(member):
    doc = inspect.getdoc(member)
    assert ">>> " in doc
    if inspect.signature(member).parameters:
        described = doc.split("Args:\n", 1)[1]
        for name in inspect.signature(member).parameters:
            assert re.search(rf"^    {name}: \S", described, re.M), name
    if member not in COMPOSED:
        assert re.search(r"^Source: .*\(\d{4}\)", doc, re.M)
        assert issubclass(member, Loss) or re.search(r"^Prox: .", doc, re.M)


def test_members_say_of_themselves_what_is_known_of_them():
    said = rows()
    assert said["L1"][2:6] == ["yes", "O(p), in closed form", "gap", "fast"]
    assert said["L0"][2] == "no"
    assert said["L0"][4:6] == ["residual (step)", "generic"]
    assert said["TotalVariation"][4] == "residual"
    assert said["Nuclear"][5] == "generic, y (n, k)"
    assert said["Monotone"][5] == "in a sum"
    assert said["Quantile"][5] == "splitting"
    assert said["Cox"][4:6] == ["gap, by convexity", "generic"]
    assert said["Logistic"][3:5] == ["¼", "gap"]


# Those with tests of their own instead: Cox couples samples, and the prox of total variation of images iterates.
ELSEWHERE = {Cox, TotalVariation2D}


def test_the_catalogue_of_the_laws_lists_every_loss_and_penalty():
    def kinds(penalty):
        return {type(penalty)}.union(*(kinds(atom) for atom in penalty.atoms if atom is not penalty))

    tested = {type(case.loss) for case in LOSSES}.union(*(kinds(case.penalty) for case in PENALTIES))
    assert set(MEMBERS) - tested - ELSEWHERE == set()
    assert all(getattr(jaxreg, member.__name__) is member for member in MEMBERS)
