"""Are two numbers the same? With their units, to the places that they state."""

from __future__ import annotations

from fractions import Fraction

from orchestrator.verifiers.answers.numerals import Numeral
from orchestrator.verifiers.answers.sameness import Equivalence
from orchestrator.verifiers.answers.units import PERCENT, Unit
from orchestrator.verifiers.answers.value_types import Hints, Quantity

_USUAL_FACTORS = frozenset(
    [*(Fraction(10) ** power for power in range(1, 10)), *map(Fraction, (60, 3_600, 24, 1_440, 86_400, 7, 12))]
)


MIN_DIGITS = 3  # of a rounded number that is taken for the exact one


def compare_quantities(a: Quantity, b: Quantity, hints: Hints | None = None) -> Equivalence:
    """Whether two numbers, with their units, are the same; a bare number takes the unit that the question names."""
    hints = hints or Hints()
    x, y, doubt = a, b, ""
    if (a.unit is None) != (b.unit is None):
        bare, other = (a, b) if a.unit is None else (b, a)
        unit = other.unit
        assert unit is not None
        meant = _unit_of_bare(unit, hints)
        if meant is None:
            x_value, y_value = bare.number.value, other.number.value
            if unit.dimension == PERCENT:  # 25, and 0.25 as well, may stand for 25 %
                is_other = x_value not in (y_value, y_value / 100)
            else:
                is_other = not _may_be_converted(x_value, y_value)
            return Equivalence("different" if is_other else "unknown", "only one of them has a unit", "unit")
        given = Quantity(bare.number, meant)
        x, y = (given, b) if bare is a else (a, given)
    elif a.unit is not None and b.unit is not None and a.unit.dimension != b.unit.dimension:
        return Equivalence("different", "their units are of different dimensions")
    elif a.unit is None and a.noun and b.noun and not _same_noun(a.noun, b.noun):
        doubt = f"one counts {a.noun}, the other {b.noun}"
    found_numbers = compare_numbers(_in_base(x), _in_base(y))
    if found_numbers.verdict == "same" and doubt:
        return Equivalence("unknown", doubt)
    return found_numbers


def _unit_of_bare(unit: Unit, hints: Hints) -> Unit | None:
    """The unit that a number without one is meant in, beside one in `unit`; `None` where it cannot be told."""
    if not unit.dimension:
        return unit
    named = [each for each in hints.units if each.dimension == unit.dimension]
    if len(named) == 1:
        return named[0]
    if named:
        return unit if unit in named else None
    if len(unit.dimension) > 1 and any(
        base in dict(unit.dimension) for each in hints.units for base, _ in each.dimension
    ):
        return unit  # "540 meters per week" to "How many meters a week?"
    if unit.is_money and unit.factor == 1 and not any(each.is_money for each in hints.units):
        return unit
    return None


def compare_numbers(a: Numeral, b: Numeral) -> Equivalence:
    """Equal, or the same when rounded to the places that the coarser one states, if these are three digits or more."""
    if a.is_padded != b.is_padded and (a.value == b.value):
        return Equivalence("unknown", "one is written with leading zeros, as codes are")
    first, second = {a.value, *a.others}, {b.value, *b.others}
    if a.value == b.value and (a.others == b.others or not (a.others and b.others)):
        if (a.others or b.others) and a.others != b.others:
            return Equivalence("unknown", "a separator may mean two things")
        if a.is_doubtful != b.is_doubtful:
            return Equivalence("unknown", "3,5 may be one number or two")
        return Equivalence("same", "equal")
    if first & second:
        return Equivalence("unknown", "a separator may mean two things")
    if a.is_doubtful and b.is_doubtful:
        return Equivalence("unknown", "3,5 may be one number or two")
    if a.others or b.others:
        return Equivalence("different", "not equal, however the separators are read")
    return _compared_rounded(a, b)


def _compared_rounded(a: Numeral, b: Numeral) -> Equivalence:
    coarse, fine = (a, b) if a.step >= b.step else (b, a)
    gap = abs(a.value - b.value)
    digits = coarse.significant_digits
    if digits is None:  # both are exact, or one is an integer and the other one is stated to some place
        return Equivalence("different", "not equal")
    if gap <= coarse.step / 2:
        if fine.step == 0 and fine.value.denominator == 1:  # an integer is not rounded to more places than it has
            return Equivalence("different", "not equal")
        return (
            Equivalence("same", "equal when rounded", "rounding")
            if digits >= MIN_DIGITS
            else Equivalence("unknown", "rounded to few digits")
        )
    integer = next((n for n in (a, b) if n.step == 0 and n.value.denominator == 1), None)
    if integer is not None and gap <= Fraction(1, 2) and abs(integer.value) >= 10:
        return Equivalence("unknown", "one may be the other one rounded")
    if gap < coarse.step and digits > MIN_DIGITS:
        return Equivalence("unknown", "one may be the other one cut off")
    return Equivalence("different", "not equal")


def _may_be_converted(x: Fraction, y: Fraction) -> bool:
    """Whether two numbers may be the same quantity in two units: equal, or apart by one of the usual factors."""
    if x == y:
        return True
    return bool(x and y) and max(x / y, y / x) in _USUAL_FACTORS


def _in_base(quantity: Quantity) -> Numeral:
    unit, number = quantity.unit, quantity.number
    if unit is None or (unit.factor == 1 and not unit.offset):
        return number
    others = tuple(unit.in_base(value) for value in number.others)
    return Numeral(
        unit.in_base(number.value),
        number.start,
        number.end,
        number.step * unit.factor,
        others,
        number.is_doubtful,
        number.is_padded,
    )


def _same_noun(a: str, b: str) -> bool:
    x, y = ({word.rstrip("s") for word in noun.split()} for noun in (a, b))
    return bool(x & y)
