"""The budgets of scripts/bench: each figure that has one is told beside it, and a missed one makes scripts/bench --check end with 1."""
import os, sys

missed = []

def hold(name, value, limit, unit="", most=True):
    """Tells whether `value` keeps its budget: at most `limit`, or at least."""
    kept = value <= limit if most else value >= limit
    said = f"{name}: {value:.4g} {unit}".rstrip() + f", {'at most' if most else 'at least'} {limit:.4g}"
    print(f"  {'kept' if kept else 'MISSED':7}{said}", flush=True)
    if not kept:
        missed.append(said)

def least(name, value, limit, unit=""):
    hold(name, value, limit, unit, most=False)

def end():
    """Names what was missed once more, and ends with 1 where that was asked for."""
    for said in missed:
        print(f"budget missed: {said}", file=sys.stderr)
    if missed and os.environ.get("BENCH_CHECK"):
        sys.exit(1)
