#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Changes one operator or constant of the core at a time and looks which tests notice.

    scripts/mutate.py [--mutants N] [--seed N] [--only TEXT] [--minutes N] [--out DIR] [--list]

Gates, kernels, routing, dispatch, experts, layers, losses, optimizers and local search are mutated. The
choice follows from the seed. The tree is never touched: each mutant is a copy of one header in a folder that comes first
on the include path. The tests of that header are compiled at -O0 and run: a mutant is killed if one of
them fails, crashes or takes more than a minute, and survives otherwise; one that does not compile is
not counted. The tests are run unchanged first, since a failure of theirs would kill everything. DIR
(build/mutants) receives results.json and results.md.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Header -> the tests that ought to notice, the cheapest first.
TESTS = {
    "core/routing.hpp": ["core/routing", "dispatch/plan"],
    "core/permutation.hpp": ["core/permutation"],
    "dispatch/plan.hpp": ["dispatch/plan", "property/mixture"],
    "dispatch/columns.hpp": ["dispatch/columns", "property/mixture"],
    "dispatch/combine.hpp": ["dispatch/combine", "property/mixture"],
    "moe_layer.hpp": ["property/mixture", "moe_layer", "regression/thread_invariance"],
    "kernels/functions.hpp": ["kernels/functions", "numerics/functions"],
    "kernels/softmax.hpp": ["numerics/functions", "gates/softmax"],
    "kernels/balance.hpp": ["losses/load_balance", "losses/router_z"],
    "gates/hyperplanes.hpp": ["gates/hyperplanes", "property/gates"],
    "gates/detail/dselect_k_tile.hpp": ["property/gates", "gates/dselect_k"],
    "gates/detail/soft_tree.hpp": ["property/gates", "gates/comet"],
    "gates/detail/top_k_selection.hpp": ["gates/top_k", "gates/balanced_top_k",
                                         "gates/expert_choice"],
    "gates/detail/draw_experts.hpp": ["gates/sampled"],
    "gates/detail/logit_batch.hpp": ["gates/balanced_top_k", "gates/remoe", "gates/sampled"],
    "gates/detail/logit_gradients.hpp": ["gates/detail/logit_gradients", "property/gates"],
    "gates/detail/balance_penalties.hpp": ["losses/load_balance", "gates/top_k"],
    "gates/comet.hpp": ["property/gates", "gates/comet"],
    "gates/dselect_k.hpp": ["property/gates", "gates/dselect_k"],
    "gates/static_dselect_k.hpp": ["gates/dselect_k"],
    "gates/top_k.hpp": ["property/gates", "gates/top_k", "losses/load_balance"],
    "gates/softmax.hpp": ["gates/softmax"],
    "gates/hash.hpp": ["gates/hash"],
    "gates/balanced_top_k.hpp": ["gates/balanced_top_k"],
    "gates/sampled.hpp": ["gates/sampled"],
    "gates/remoe.hpp": ["gates/remoe"],
    "gates/expert_choice.hpp": ["gates/expert_choice"],
    "gates/masked.hpp": ["gates/masked"],
    "gates/normalized_input.hpp": ["gates/normalized_input"],
    "gates/any.hpp": ["gates/any"],
    "gates/replay.hpp": ["gates/replay"],
    "gates/make_gate.hpp": ["gates/family"],
    "gates/detail/even_splits.hpp": ["gates/detail/even_splits"],
    "gates/detail/spread_penalty.hpp": ["gates/detail/spread_penalty", "property/gates"],
    "gates/detail/explain_linear.hpp": ["inference/explain"],
    "gates/detail/explain_logit.hpp": ["inference/explain"],
    "gates/detail/explain_soft_tree.hpp": ["inference/explain"],
    "gates/frozen.hpp": ["inference/freeze"],
    "gates/frozen_logits.hpp": ["gates/balanced_top_k", "gates/remoe", "gates/sampled",
                                "inference/freeze"],
    "experts/bank.hpp": ["experts/bank", "experts/mlp"],
    "experts/chain.hpp": ["experts/chain", "experts/laws"],
    "experts/constant.hpp": ["experts/constant", "experts/laws"],
    "experts/dense.hpp": ["experts/dense", "property/mixture", "experts/laws"],
    "experts/frozen.hpp": ["experts/frozen"],
    "experts/gated_mlp.hpp": ["experts/gated_mlp", "experts/frozen"],
    "experts/mlp.hpp": ["experts/mlp", "experts/laws", "experts/frozen"],
    "experts/upcycle.hpp": ["experts/upcycle"],
    "experts/detail/blocks.hpp": ["experts/detail/blocks", "experts/mlp", "property/mixture"],
    "experts/detail/output_derivatives.hpp": ["property/mixture", "experts/mlp", "moe_layer"],
    "experts/detail/padding.hpp": ["experts/detail/padding", "experts/mlp"],
    "kernels/activation.hpp": ["kernels/activation", "experts/mlp"],
    "kernels/affine.hpp": ["kernels/affine", "experts/dense"],
    "kernels/affine_map.hpp": ["experts/mlp", "experts/dense", "layers/dense"],
    "kernels/product.hpp": ["kernels/product", "experts/mlp"],
    "kernels/transposed_product.hpp": ["kernels/product", "kernels/affine", "experts/mlp"],
    "layers/dense.hpp": ["layers/dense"],
    "layers/dropout.hpp": ["layers/dropout"],
    "layers/embedding.hpp": ["layers/embedding"],
    "layers/layer_norm.hpp": ["layers/layer_norm"],
    "layers/max_pool_2d.hpp": ["layers/max_pool_2d"],
    "losses/binary_cross_entropy.hpp": ["losses/binary_cross_entropy"],
    "losses/mean_squared_error.hpp": ["losses/mean_squared_error"],
    "losses/softmax_cross_entropy.hpp": ["losses/softmax_cross_entropy"],
    "metrics/calibration.hpp": ["metrics/calibration"],
    "metrics/correlation.hpp": ["metrics/correlation"],
    "metrics/roc_auc.hpp": ["metrics/roc_auc"],
    "optimizers/adam.hpp": ["optimizers/adam"],
    "optimizers/clip_by_global_norm.hpp": ["optimizers/clip_by_global_norm"],
    "optimizers/sgd.hpp": ["optimizers/sgd"],
    "training/batches.hpp": ["training/batches"],
    "training/early_stopping.hpp": ["training/early_stopping"],
    "training/sparsity_controller.hpp": ["training/sparsity_controller"],
    "local_search/sinkhorn.hpp": ["property/search", "local_search/sinkhorn"],
    "local_search/assignment.hpp": ["property/search", "local_search/assignment"],
    "local_search/swap_search.hpp": ["local_search/swap_search"],
    "local_search/annealing.hpp": ["local_search/annealing"],
    "local_search/mixture_objective.hpp": ["local_search/mixture_objective"],
    "local_search/train_with_local_search.hpp": ["local_search/train_with_local_search"],
    "local_search/permutation_search.hpp": ["local_search/permutation_search"],
    "local_search/permuted_gate.hpp": ["local_search/permuted_gate", "gates/permuted_golden",
                                       "property/gates"],
    "local_search/detail/relabelling.hpp": ["local_search/permuted_gate", "gates/permuted_golden"],
    "local_search/detail/soft_mixing.hpp": ["local_search/permuted_gate",
                                            "local_search/permutation_search"],
}

# What may stand at a place, and what takes it there. Operators have spaces around them in this
# code base, which tells a comparison from a template's brackets.
CHANGES = [
    (r" <= ", " < "), (r" < ", " <= "), (r" >= ", " > "), (r" > ", " >= "),
    (r" == ", " != "), (r" != ", " == "), (r" && ", " || "), (r" \|\| ", " && "),
    (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " / "), (r" / ", " * "),
    (r" \+= ", " -= "), (r" -= ", " += "), (r" \*= ", " /= "), (r" /= ", " *= "),
    (r"\+\+(?=[a-z])", "--"), (r"std::max\b", "std::min"), (r"std::min\b", "std::max"),
    (r"\btrue\b", "false"), (r"\bfalse\b", "true"),
    (r"\bcontinue;", ";"), (r"\bbreak;", ";"),
    (r"(?<![\w.])0(?![\w.])", "1"), (r"(?<![\w.])1(?![\w.])", "2"),
    (r"(?<![\w.])2(?![\w.])", "3"), (r"S\(0\.5\)", "S(0.25)"),
]
DOES_NOT_COMPILE = "does not compile"
SKIPPED_LINES = re.compile(
    r"^\s*(//|#|template|requires|static_assert|concept|using|friend|struct|enum|class|@|\*)|"
    r"operator|static_assert|requires|noexcept =")


def places(header):
    """(line number, column, end, replacement) of every change that could be made."""
    found = []
    text = (ROOT / "include/comet" / header).read_text().splitlines()
    for number, line in enumerate(text):
        if SKIPPED_LINES.search(line):
            continue
        code = line.split("//")[0]
        code = re.sub(r'"(\\.|[^"\\])*"', lambda m: '"' + "_" * (len(m[0]) - 2) + '"', code)
        for pattern, replacement in CHANGES:
            for match in re.finditer(pattern, code):
                found.append((number, match.start(), match.end(), replacement))
    return found


def is_meant(header, only):
    return any(text in header for text in only.split(","))


def choose(count, seed, only):
    """Every header in turn gives one of its places until there are enough."""
    chooser = random.Random(seed)
    pools = {}
    for header in sorted(TESTS):
        if is_meant(header, only):
            pools[header] = places(header)
            chooser.shuffle(pools[header])
    # Longer headers have more to get wrong: the number of mutants follows the number of places.
    order = [(i / len(pool), header, place) for header, pool in pools.items()
             for i, place in enumerate(pool)]
    return [(header, place) for _, header, place in sorted(order)[:count]]


class Builder:
    def __init__(self, out):
        self.out = out
        self.overlay = out / "include"
        self.main = out / "main.o"
        self.flags = ["clang++", "-std=c++20", "-O0", "-w", "-pthread", f"-I{self.overlay}", f"-I{ROOT}/include",
                      f"-I{ROOT}/tests", f"-I{ROOT}/examples", "-isystem", "/usr/include/eigen3",
                      "-DCOMET_TEST_SCALARS=double", f'-DCOMET_TEST_DATA="{ROOT}/tests/data"',
                      '-DCOMET_DATA_DIR=""']
        self.overlay.mkdir(parents=True, exist_ok=True)
        # Eigen and Catch2 once; the headers of comet come after them in every test.
        self.pch = out / "prefix.pch"
        prefix = out / "prefix.hpp"
        prefix.write_text("#include <Eigen/Core>\n#include <support/catch.hpp>\n")
        subprocess.run([*self.flags, "-x", "c++-header", prefix, "-o", self.pch], check=True)
        # Catch2's main: version 3 brings a library with one.
        if pathlib.Path("/usr/include/catch2/catch_all.hpp").exists():
            self.catch = ["-lCatch2Main", "-lCatch2"]
        else:
            self.catch = [self.main]
            if not self.main.exists():
                subprocess.run([*self.flags, "-c", ROOT / "tests/support/main.cpp", "-o", self.main],
                               check=True)

    def passes(self, test):
        """None if the test passes, else how it does not."""
        program = self.out / "test"
        build = subprocess.run([*self.flags, "-include-pch", self.pch, ROOT / f"tests/{test}_test.cpp",
                                *self.catch, "-o", program], capture_output=True)
        if build.returncode != 0:
            return DOES_NOT_COMPILE
        try:
            done = subprocess.run([program, "--abort"], capture_output=True, timeout=60,
                                  cwd=self.out)
        except subprocess.TimeoutExpired:
            return "does not end"
        return None if done.returncode == 0 else "fails"

    def try_mutant(self, header, place):
        number, begin, end, replacement = place
        lines = (ROOT / "include/comet" / header).read_text().splitlines()
        before = lines[number]
        lines[number] = before[:begin] + replacement + before[end:]
        copy = self.overlay / "comet" / header
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("\n".join(lines) + "\n")
        killed_by = None
        for test in TESTS[header]:
            how = self.passes(test)
            if how == DOES_NOT_COMPILE:
                copy.unlink()
                return None
            if how:
                killed_by = f"{test}: {how}"
                break
        copy.unlink()
        return {"header": header, "line": number + 1, "column": begin + 1,
                "before": before.strip(), "after": lines[number].strip(), "killed_by": killed_by}


def write_report(out, seed, available, results):
    killed = [r for r in results if r["killed_by"]]
    (out / "results.json").write_text(json.dumps(
        {"seed": seed, "available": available, "run": len(results), "killed": len(killed),
         "mutants": results}, indent=1) + "\n")
    by_header = collections.defaultdict(lambda: [0, 0])
    for result in results:
        by_header[result["header"]][0] += 1
        by_header[result["header"]][1] += bool(result["killed_by"])
    lines = [f"{len(killed)} of {len(results)} mutants killed (seed {seed}, {available} available).",
             "", "| header | mutants | killed |", "|---|---:|---:|"]
    lines += [f"| {header} | {run} | {dead} |" for header, (run, dead) in sorted(by_header.items())]
    lines += ["", "Survivors:", ""]
    for r in results:
        if not r["killed_by"]:
            lines.append(f"- {r['header']}:{r['line']}: `{r['before']}` became `{r['after']}`")
    (out / "results.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--only", default="", metavar="TEXT", help="headers whose path has TEXT, or one of TEXT,TEXT")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--out", default=str(ROOT / "build/mutants"), metavar="DIR")
    parser.add_argument("--list", action="store_true", help="name the mutants, run none")
    options = parser.parse_args()
    chosen = choose(options.mutants, options.seed, options.only)
    available = sum(len(places(header)) for header in TESTS if is_meant(header, options.only))
    if options.list:
        for header, (number, begin, end, replacement) in chosen:
            print(f"{header}:{number + 1}:{begin + 1}: {replacement.strip()}")
        print(f"{len(chosen)} of {available}")
        return 0
    if not shutil.which("clang++"):
        sys.exit("mutate.py: clang++ is missing")
    out = pathlib.Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / "include", ignore_errors=True)
    builder = Builder(out)
    end = time.monotonic() + 60 * options.minutes
    for test in dict.fromkeys(t for header, _ in chosen for t in TESTS[header]):
        how = builder.passes(test)
        if how:
            sys.exit(f"mutate.py: {test} {how} without any change")
    results = []
    for header, place in chosen:
        if time.monotonic() > end:
            break
        result = builder.try_mutant(header, place)
        if result is None:
            continue
        results.append(result)
        print(f"{len(results)}/{len(chosen)} {header}:{result['line']}: "
              f"{result['killed_by'] or 'SURVIVES: ' + result['after']}", flush=True)
        write_report(out, options.seed, available, results)
    killed = sum(bool(r["killed_by"]) for r in results)
    print(f"{killed} of {len(results)} killed; {out}/results.md")
    return 0


if __name__ == "__main__":
    os.nice(10)
    sys.exit(main())
