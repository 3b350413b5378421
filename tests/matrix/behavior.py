"""How much maps change with random weights and with the class, on the bundled network: measured, and stated as found.

    python tests/matrix/behavior.py            # print the table
    python tests/matrix/behavior.py --write    # and put it into docs/behavior.md; rows that it has are kept

For each method: Spearman's correlation of the absolute maps before and after the weights were drawn anew (the last
layer; the upper half of the layers; all), and between the maps of the first and the second class of a photo with two
objects' worth of evidence. 1 means that the map did not change at all, though the network, or the question, did.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

import xaiwidgets as xw
from xaiwidgets.core.cards import cards, resolve
from xaiwidgets.errors import NotApplicable

STAGES = ("last layer", "upper half", "all")
PHOTOS = ("coffee", "chelsea", "rocket", "flower")
FAMILIES = ("gradient", "backprop", "relevance", "cam", "perturbation", "mask", "aggregate")
#: Their patterns are fitted anew for each set of weights, which takes minutes.
LONG = {"patternnet", "pattern_attribution"}
PAGE = Path(__file__).parents[2] / "docs" / "behavior.md"
#: Enough for a rank correlation, where the default would take minutes for this many maps.
SHORT = {
    "samples": 8, "points": 8, "models": 4, "steps": 8, "noise_samples": 2, "count": 4, "copies": 2, "backgrounds": 4,
}  # fmt: skip
#: The same, for methods of which that would be too little; what they draw at random is the same for all networks.
SHORTER = {
    "rise": {"samples": 300},
    "lime": {"samples": 100},
    "kernel_shap": {"samples": 100},
    "prediction_difference": {"samples": 2, "window": 32, "stride": 32},
    "meaningful_perturbation": {"iterations": 40},
    "extremal_perturbation": {"iterations": 50},
    "fgvis": {"iterations": 30},
}


def weighted(net):
    """Return the modules with a weight, in the order they are declared."""
    return [part for part in net.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]


def randomized(model, images, stage, seed=0):
    """Return a Model of a copy whose upper weights are drawn anew; normalizations are adapted to the photos."""
    net = copy.deepcopy(model.module)
    parts = weighted(net)
    first = {"last layer": len(parts) - 1, "upper half": len(parts) // 2, "all": 0}[stage]
    generator = torch.Generator().manual_seed(seed)
    drawn = {id(part) for part in parts[first:]}
    seen, norms = stage == "all", []
    with torch.no_grad():
        for part in net.modules():
            if id(part) in drawn:
                seen = True
                fan_in = part.weight[0].numel()
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator) * (2 / fan_in) ** 0.5)
                if part.bias is not None:
                    part.bias.zero_()
            elif seen and isinstance(part, nn.BatchNorm2d):
                part.weight.fill_(1)
                part.bias.zero_()
                part.momentum = 1.0
                norms.append(part.train())
        net(images)
        for norm in norms:
            norm.eval()
    other = xw.Model(net, labels=model.labels, name=f"{model.name}, {stage} random")
    other.preprocessing = model.preprocessing
    return other


def shortened(card):
    """Return the method with fewer passes."""
    names = {knob.name: knob for knob in card.knobs}
    short = {n: v for n, v in SHORT.items() if n in names and names[n].default > v}
    return card.make(**{**short, **SHORTER.get(card.id, {})})


def similarity(one, other):
    """Return Spearman's correlation of two maps' absolute values."""
    if not one.any() or not other.any() or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(np.abs(one).ravel(), np.abs(other).ravel()).statistic)


def map_of(model, photo, method, target):
    """Return the reduced map of a photo."""
    return xw.explain(model, photo, method, target=target).map()


def measure(method, photos=PHOTOS, stages=STAGES):
    """Return the correlations by stage, and between two classes, each the mean over photos."""
    model = xw.load_model()
    images = torch.cat([model.input(photo).contiguous() for photo in photos])
    tops = [row.topk(2).indices.tolist() for row in model.logits(images)]
    plain = [map_of(model, photo, method, top[0]) for photo, top in zip(photos, tops, strict=True)]
    found = {}
    for stage in stages:
        other = randomized(model, images, stage)
        maps = [map_of(other, photo, method, top[0]) for photo, top in zip(photos, tops, strict=True)]
        found[stage] = float(np.mean([similarity(a, b) for a, b in zip(plain, maps, strict=True)]))
    seconds = [map_of(model, photo, method, top[1]) for photo, top in zip(photos, tops, strict=True)]
    found["classes"] = float(np.mean([similarity(a, b) for a, b in zip(plain, seconds, strict=True)]))
    return found


def table(known=""):
    """Yield the lines of the page; rows that ``known`` has are not measured anew."""
    kept = {line.split(" | ")[0][2:]: line for line in known.splitlines() if line.startswith("| ")}
    yield from (__doc__ or "").split("\n\n", 1)[0].splitlines()
    yield ""
    yield "Generated by `python tests/matrix/behavior.py --write` on the photos " + ", ".join(PHOTOS) + "."
    yield (
        "Spearman's correlation of absolute maps before and after weights were drawn anew, and between the maps of the "
        "two likeliest classes; 1 means unchanged. Nothing here is a verdict: a map that changes may still be wrong."
    )
    yield ""
    yield "| method | " + " | ".join(STAGES) + " | mean of the three | two classes |"
    yield "|---|" + "---:|" * 5
    for card in cards("explainer"):
        if card.family not in FAMILIES:
            continue
        if card.title in kept:
            yield kept[card.title]
            continue
        if card.id in LONG:
            yield f"| {card.title} | not measured: its fit takes minutes for each set of weights |||||"
            continue
        try:
            found = measure(shortened(card))
        except NotApplicable as error:
            yield f"| {card.title} | not applicable: {error} |||||"
            continue
        three = [found[stage] for stage in STAGES]
        cells = [*three, float(np.mean(three)), found["classes"]]
        yield f"| {card.title} | " + " | ".join(f"{value:.2f}" for value in cells) + " |"


def main():
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--methods", nargs="*", help="only these, printed")
    options = parser.parse_args()
    if options.methods:
        for name in options.methods:
            print(name, {k: round(v, 2) for k, v in measure(resolve(name)).items()}, flush=True)
        return
    lines = []
    for line in table(PAGE.read_text("utf-8") if options.write and PAGE.exists() else ""):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        PAGE.write_text("# " + "\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
