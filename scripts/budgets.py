"""The budgets and the tables of scripts/bench: each figure that has a budget is printed with it, and all of a part is kept in a file for
docs/benchmarks.md. A missed budget makes scripts/bench --check end with 1."""
import json, os, subprocess, sys, time

missed, budgets, tables = [], [], {}

def hold(name, value, limit, unit="", most=True):
    """Tells whether `value` keeps its budget: at most `limit`, or at least."""
    kept = bool(value <= limit if most else value >= limit)
    said = f"{name}: {value:.4g} {unit}".rstrip() + f", {'at most' if most else 'at least'} {limit:.4g}"
    print(f"  {'kept' if kept else 'MISSED':7}{said}", flush=True)
    budgets.append({"kept": kept, "said": said})
    if not kept:
        missed.append(said)

def least(name, value, limit, unit=""):
    hold(name, value, limit, unit, most=False)

def table(name, head, rows):
    """Prints a table, and keeps it for the block `name` of docs/benchmarks.md. Cells are texts."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        first, *rest = (cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths)))
        print("  " + "  ".join([first, *rest]), flush=True)
    tables[name] = [head, *rows]

def end():
    """Names what was missed once more, keeps the results, and ends with 1 if that was requested."""
    for said in missed:
        print(f"budget missed: {said}", file=sys.stderr)
    if folder := os.environ.get("BENCH_RESULTS"):
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=os.path.dirname(__file__), capture_output=True, text=True).stdout
        results = {"ended": time.time(), "commit": commit.strip(), "load": os.environ["BENCH_LOAD"], "budgets": budgets, "tables": tables}
        with open(f"{folder}/{os.environ['BENCH_PART']}.json", "w") as file:
            json.dump(results, file, indent=1)
    if missed and os.environ.get("BENCH_CHECK"):
        sys.exit(1)
