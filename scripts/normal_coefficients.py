#!/usr/bin/env python3
"""Prints the coefficients in include/comet/kernels/normal.hpp, and the error of the fit.

    scripts/normal_coefficients.py          needs the Python package mpmath

With t = 4 / (4 + u), the upper tail of the normal distribution is t q(t) exp(-u^2 / 2) for u >= 0,
and q is smooth on [0, 1]: a polynomial through the Chebyshev points of that interval.
"""

import argparse


def smooth_factor(t):
    from mpmath import erfc, exp, pi, sqrt

    if t == 0:
        return 1 / (4 * sqrt(2 * pi))
    u = 4 / t - 4
    if u > 1000:  # erfc underflows: the first terms of its asymptotic series
        return (1 - 1 / u**2 + 3 / u**4) / (u * sqrt(2 * pi) * t)
    return erfc(u / sqrt(2)) * exp(u * u / 2) / (2 * t)


def main():
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    from mpmath import chebyfit, mp, nstr

    mp.dps = 50
    for name, terms, digits in (("float", 10, 10), ("double", 23, 18)):
        coefficients, error = chebyfit(smooth_factor, [0, 1], terms, error=True)
        print(f"{name}: largest error {nstr(error, 2)}, highest power first")
        for coefficient in coefficients:
            print("   ", nstr(coefficient, digits) + ",")


if __name__ == "__main__":
    main()
