"""The coefficients of exp in ``nbsmce/_cpu/vmath.py``: ``python tools/minimax.py`` prints them. Needs mpmath.

``exp(r) = 1 + r + r**2 q(r)`` on ``|r| <= log(2) / 2``, with the ``q`` of a degree whose largest relative error in
``exp`` is least (Remez's exchange algorithm), rounded to the type at the end.
"""

from __future__ import annotations

import mpmath
import numpy as np

mpmath.mp.prec = 160
HALF = mpmath.log(2) / 2 * mpmath.mpf("1.0005")  # what rounding the multiple of log(2) can leave
GRID = [-HALF + 2 * HALF * i / 2000 for i in range(2001)]


def q(r):
    """The function that is approximated."""
    return (mpmath.expm1(r) - r) / r**2 if abs(r) > mpmath.mpf(10) ** -12 else mpmath.mpf(1) / 2 + r / 6


def weight(r):
    """What an error of ``q`` is in ``exp``, relatively."""
    return r * r / mpmath.exp(r)


def solve(points):
    """Coefficients whose weighted errors at the points are equal and alternate, and that error."""
    n = len(points)
    system, values = mpmath.matrix(n, n), mpmath.matrix(n, 1)
    for i, r in enumerate(points):
        for j in range(n - 1):
            system[i, j] = weight(r) * r**j
        system[i, n - 1] = (-1) ** i
        values[i] = weight(r) * q(r)
    solution = mpmath.lu_solve(system, values)
    return [solution[i] for i in range(n - 1)], abs(solution[n - 1])


def extremes(errors, count):
    """The indices of ``count`` largest errors of alternating sign."""
    found: list[int] = []
    for i, error in enumerate(errors):
        beside = [errors[j] for j in (i - 1, i + 1) if 0 <= j < len(errors)]
        if any(abs(b) > abs(error) and b * error > 0 for b in beside) or error == 0:
            continue
        if found and errors[found[-1]] * error > 0:
            if abs(error) > abs(errors[found[-1]]):
                found[-1] = i
        else:
            found.append(i)
    while len(found) > count:
        found.pop(0 if abs(errors[found[0]]) < abs(errors[found[-1]]) else -1)
    return found


def minimax(degree):
    """The coefficients of ``q``, from the constant on, and the largest relative error of ``exp``."""
    n = degree + 2
    points = [HALF * mpmath.cos(mpmath.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    for _ in range(30):
        coefficients, level = solve(points)
        values = [mpmath.fsum(c * r**k for k, c in enumerate(coefficients)) for r in GRID]
        errors = [weight(r) * (q(r) - v) for r, v in zip(GRID, values, strict=True)]
        largest = max(abs(e) for e in errors)
        if largest < level * mpmath.mpf("1.0001"):
            break
        points = sorted((GRID[i] for i in extremes(errors, n)), reverse=True)
    return coefficients, largest


if __name__ == "__main__":
    for degree, kind, digits in ((4, np.float32, 24), (9, np.float64, 53)):
        coefficients, error = minimax(degree)
        print(f"{kind.__name__}: error {mpmath.nstr(error * mpmath.mpf(2) ** digits, 3)} * 2**-{digits}")
        for c in coefficients:
            print("   ", repr(float(kind(float(c)))), float(kind(float(c))).hex())
