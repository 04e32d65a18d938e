"""The picture: lookback and the DuckDB script as bars. Called in a process of its own."""

import statistics


def draw(result, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "lookback",
                                "font.family": "sans-serif", "font.size": 11})
    ink, grey, ours, theirs = "#22272e", "#6b7480", "#0b7a75", "#c9ced6"

    def median(name, figure):
        return statistics.median(m[figure] for m in result["measurements"][name])

    dates = result["dates"]
    panels = [
        (f"Backfill of {dates} report dates", "backfill", "wall", 1, "s"),
        ("One night", "night", "wall", 1, "s"),
        (f"Peak memory, {dates} dates", "backfill", "memory", 1e9, "GB"),
    ]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(10.5, 2.7))
    for axis, (title, name, measure, unit, unit_name) in zip(axes, panels):
        values = [median(f"{name} {who}", measure) / unit for who in ("lookback", "DuckDB")]
        bars = axis.barh([1, 0], values, color=[ours, theirs], height=0.62)
        axis.set_yticks([1, 0], ["lookback", "DuckDB"])
        axis.bar_label(bars, [f"{value:.1f} {unit_name}" for value in values], padding=5,
                       color=ink, fontweight="bold")
        axis.set_xlim(0, max(values) * 1.32)
        axis.set_ylim(-0.75, 1.55)
        axis.set_title(title, loc="left", fontsize=12, fontweight="bold", color=ink, pad=8)
        axis.tick_params(left=False, bottom=False, labelbottom=False, labelcolor=ink)
        for side in axis.spines.values():
            side.set_visible(False)
        if measure == "wall":
            scan = median(f"{name} scan", "wall")
            axis.plot([scan, scan], [-0.42, 1.42], color=grey, linewidth=1, linestyle=(0, (3, 2)))
            axis.text(scan, -0.5, f"bare scan {scan:.1f} s", color=grey, fontsize=9, va="top",
                      ha="left")
    facts = result["circumstances"]
    caption = (f"{facts['date'].split()[0]}, {facts['commit']}: {facts['world']}\n"
               f"{facts['machine']}; median of {facts['rounds']} rounds. Shorter is better.")
    figure.text(0.01, 0.02, caption, fontsize=9, color=grey)
    figure.tight_layout(rect=(0, 0.13, 1, 1), w_pad=2.5)
    figure.savefig(path, metadata={"Date": None})
