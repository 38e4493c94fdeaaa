"""At the end of the long trials, how many of each were tried and how many kept what is promised."""

from collections import defaultdict

OUTCOMES = ("passed", "failed", "error", "skipped")


def pytest_terminal_summary(terminalreporter, config):
    chosen = config.getoption("-m")
    if "long" not in chosen or "not long" in chosen:
        return
    found = defaultdict(lambda: dict.fromkeys(OUTCOMES, 0))
    for outcome in OUTCOMES:
        for report in terminalreporter.stats.get(outcome, ()):
            file, _, test = report.nodeid.rpartition("/")[2].partition("::")
            if file.startswith("test_"):
                found[file, test.partition("[")[0]][outcome] += 1
    terminalreporter.section("trials: passed of tried (figures of each are above)")
    for (file, test), counts in sorted(found.items()):
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        tried = sum(counts.values()) - counts["skipped"]
        terminalreporter.write_line(f"{counts['passed']:>4} of {tried:<4} {file}: {test}{skipped}")
