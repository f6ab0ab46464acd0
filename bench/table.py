"""From samples to aligned tables: median, range, and ratios that are taken round by round."""

from statistics import median


def figure(value):
    """Three digits that matter; large numbers in full."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(samples):
    return f"{figure(min(samples))} – {figure(max(samples))}"


def ratios(ours, theirs):
    """Ours to theirs, sample by sample: what was measured side by side is compared."""
    return [our / their for our, their in zip(ours, theirs)]


def ratio(ours, theirs):
    if ours is theirs:
        return "1"
    each = ratios(ours, theirs)
    return f"{median(each):.2f} ({min(each):.2f} – {max(each):.2f})"


def verdict(met):
    return "met" if met else "missed"


def render(title, head, rows):
    """A title and a table; the first and the last column to the left, figures to the right."""
    lines = [head, *rows]
    widths = [max(len(str(line[column])) for line in lines) for column in range(len(head))]
    out = [title]
    for line in lines:
        cells = [str(cell).rjust(width) for cell, width in zip(line, widths)]
        cells[0] = str(line[0]).ljust(widths[0])
        cells[-1] = str(line[-1])
        out.append("  " + "   ".join(cells).rstrip())
    return "\n".join(out) + "\n"
