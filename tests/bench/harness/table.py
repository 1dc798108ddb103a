"""Figures as a table on the terminal."""

from harness import results

HEAD = (
    "", "CPU µs", "least-most", "by nginx", "a second", "p50 µs", "p99 µs", "MiB", "busy", "others",
)


def print_scene(found, scene, title):
    """One row for each proxy: medians over the rounds. "MiB" is resident memory after a round,
    "busy" how much of a core the proxy used, "others" how much of one was used by what is no part
    of this."""
    rows = [HEAD]
    for proxy, rounds in found["scenes"][scene].items():
        cpu = [one["cpu_us"] for one in rounds]
        value = {field: results.median(found, scene, proxy, field) for field in rounds[0]}
        by_nginx = results.ratio(found, scene, proxy, "nginx")
        rows.append((
            proxy,
            f"{value['cpu_us']:.1f}",
            f"{min(cpu):.1f}-{max(cpu):.1f}",
            f"{by_nginx:.2f}" if by_nginx else "",
            f"{value['per_second']:.0f}",
            f"{value['p50_us']:.0f}",
            f"{value['p99_us']:.0f}",
            f"{value['resident_mib']:.1f}",
            f"{value['busy']:.2f}",
            f"{value['others']:.2f}",
        ))
    print(f"\n{title}")
    print_table(rows)


def print_table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:])]
        print("  ".join([first.ljust(widths[0]), *cells]), flush=True)


def bad_answers(found):
    """Answers that did not come or were not right, in all rounds."""
    taken = [rounds for scene in found["scenes"].values() for rounds in scene.values()]
    for sessions in found["sessions"].values():
        taken += [sessions["few_rounds"], sessions["many_rounds"]]
    return sum(one["bad"] for rounds in taken for one in rounds)
