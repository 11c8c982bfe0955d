"""Writes the tables of docs/benchmarks.md from the results of scripts/bench: benchmarks_page.py PART...

Between `<!-- table NAME -->` and `<!-- end -->` stands the table of that name, between `<!-- budgets PART -->` and `<!-- end -->` what was missed in
that part. Blocks of parts that are not named stay as they are."""
import json, os, re, sys, time
from measuring import ROOT

PAGE = f"{ROOT}/docs/benchmarks.md"

def markdown(rows):
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *rest])

def budgets(result):
    missed = [budget["said"] for budget in result["budgets"] if not budget["kept"]]
    day, commit = time.strftime("%d %B %Y", time.gmtime(result["ended"])), result["commit"]
    said = f"{day}, {commit}, load average {result['load']}: {len(result['budgets']) - len(missed)} of {len(result['budgets'])} budgets kept"
    return "\n".join([said + (", not these:" if missed else "."), *([""] if missed else []), *(f"- {line}" for line in missed)])

blocks = {}
for part in sys.argv[1:]:
    try:
        with open(f"{os.environ['BENCH_RESULTS']}/{part}.json") as file:
            result = json.load(file)
    except FileNotFoundError:
        print(f"{part} has no results", file=sys.stderr)
        continue
    blocks[f"budgets {part}"] = budgets(result)
    blocks |= {f"table {name}": markdown(rows) for name, rows in result["tables"].items()}
with open(PAGE) as file:
    page = file.read()
for name, text in blocks.items():
    page, count = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page, flags=re.S)
    if count != 1:
        print(f"docs/benchmarks.md has {count} blocks `{name}`", file=sys.stderr)
with open(PAGE, "w") as file:
    file.write(page)
