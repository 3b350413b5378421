"""What is checked of each method on each network, against something that knows nothing of the package's machinery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from bare import AfterActivations, Bare, OtherReLUs, OwnWeights, softplus

from xaiwidgets.core.cards import cards
from xaiwidgets.core.knobs import Range
from xaiwidgets.engine.bank import Direction, PatternBank, digest
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.engine.patterns import use_patterns
from xaiwidgets.engine.run import drive, last
from xaiwidgets.errors import InvalidKnob, NotApplicable
from xaiwidgets.surgery.mode import check
from xaiwidgets.surgery.watch import PatternWatch

RIGHT = 1e-5
FEWEST = 2


@dataclass(frozen=True)
class Verdict:
    """``kind`` is right, caveat or refused; ``error`` relative; ``note`` says what holds, or why it was refused."""

    kind: str
    error: float = 0.0
    note: str = ""


class Case:
    """One network with a picture, a target, and its bare twin."""

    def __init__(self, model, image, target):
        self.model, self.image = model, image
        self.bare = Bare(model)
        self.target = model.target(target)

    def run(self, method, model=None):
        """Return the finished attribution."""
        return last(drive(method, model or self.model, self.image, self.target))

    def gradient(self):
        """Return the plain gradient of the user's own module."""
        return self.bare.gradient(self.image, self.target).input[0].numpy()


def short(card, **changes):
    """Return a method with as few passes as it can be run with."""
    values = {}
    for knob in card.knobs:
        if isinstance(knob.domain, Range) and knob.domain.log and knob.domain.integer:
            values[knob.name] = max(FEWEST, int(knob.domain.low))
        elif knob.unit == "px":
            values[knob.name] = min(knob.default, 32)
    return card.make(**{**values, **changes})


def distance(one, other):
    """Return the largest difference, relative to the other's largest value."""
    scale = np.abs(other).max()
    return float(np.abs(one - other).max() / scale) if scale else float(np.abs(one).max())


def judged(error, caveat=""):
    """Return right if the error is small, else a caveat; without a caveat to state it is wrong."""
    if error <= RIGHT:
        return Verdict("right", error)
    return Verdict("caveat" if caveat else "wrong", error, caveat)


def same_as_bare(card, case):
    """Equals the same method run on bare passes of the user's own module, picture by picture."""
    method = short(card)
    return judged(distance(case.run(method).values, case.run(method, case.bare).values))


def without_noise(card, case):
    """Without noise it equals the plain gradient of the user's own module."""
    noises = {k.name: 0.0 for k in card.knobs if "noise" in k.name and isinstance(k.domain, Range)}
    found = case.run(short(card, base="saliency", **noises))
    return judged(distance(found.values, case.gradient()))


def complete(card, case):
    """Its values sum to what they explain: the gap is nothing against the sum of their absolute values."""
    found = case.run(short(card))
    scale = max(abs(found.details.get("explained", found.score)), np.abs(found.values).sum(dtype=np.float64), 1e-30)
    return judged(abs(found.gap) / scale)


def fullgrad(card, case):
    """The input term and all bias terms sum to the score."""
    found = case.run(short(card))
    return judged(abs(found.gap) / max(abs(found.score), 1e-30))


SMOOTH = frozenset({
    "relu6", "silu", "gelu", "mish", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "elu", "clamp",
    "hardtanh", "layer_norm", "group_norm", "local_response_norm", "leaky_relu",
})  # fmt: skip


def lrp(card, case):
    """LRP-0 equals gradient × input where every non-linearity is a ReLU or a maximum; its receipt balances anywhere."""
    found = case.run(card.make(composite="epsilon", epsilon=0.0))
    error = distance(found.values, case.gradient() * case.image[0].numpy())
    others = sorted(SMOOTH & case.model.inspection.kinds)
    if error <= RIGHT or not others:
        return judged(error)
    receipt = found.details["receipt"]
    scale = sum(abs(receipt[name]) for name in ("start", "input", "bias"))
    if abs(receipt["dropped"]) > RIGHT * scale:
        return Verdict("wrong", abs(receipt["dropped"]) / scale, "relevance is lost")
    return Verdict("caveat", error, f"relevance passes {', '.join(others)} by a stated rule; the receipt balances")


def conserved(card, case):
    """All relevance that starts arrives, and none is negative where activations are not."""
    found = case.run(short(card))
    receipt = found.details["receipt"]
    error = abs(receipt["start"] - receipt["input"]) / max(abs(receipt["start"]), 1e-30)
    if error <= RIGHT:
        return Verdict("right", error)
    kept = abs(receipt["dropped"]) / max(abs(receipt["start"]), 1e-30)
    return Verdict("caveat", error, f"{kept:.0%} of the relevance meets units that no input can take it for")


def balanced(card, case):
    """Before clipping, what speaks for the target and what speaks against it sum to nothing."""
    changes = {"clip": False} if any(k.name == "clip" for k in card.knobs) else {}
    values = case.run(short(card, **changes)).values.astype(np.float64)
    error = abs(values.sum()) / max(np.abs(values).sum(), 1e-30)
    return judged(error, "relevance is lost at units that no input can take it for, by another share in each map")


def probability(card, case):
    """Winning probabilities sum to 1."""
    found = case.run(short(card))
    total = float(found.values.sum(dtype=np.float64))
    caveat = f"{total:.2f} of the probability arrives: the rest meets units without a positive contribution"
    return judged(abs(total - 1), caveat)


def bounded(card, case):
    """Not negative, and nowhere more than excitation backprop without the contrast."""
    by_id = {made.id: made for made in cards("explainer")}
    plain = case.run(short(by_id["excitation_backprop"])).values
    values = case.run(short(card)).values
    over = max(float((values - plain).max()), float(-values.min()))
    return judged(
        max(over, 0.0) / max(float(np.abs(plain).max()), 1e-30), "activations are negative, so bounds are not"
    )


def softplus_smoothing(card, case):
    """Around saliency it equals the gradient of the user's own module with every ReLU replaced by hand."""
    method = card.make(base="saliency")
    leaf = case.image.clone().requires_grad_()
    with OtherReLUs(softplus(10.0)):
        score = case.target.score(case.bare.plain(leaf.clone()))
    (gradient,) = torch.autograd.grad(score.sum(), leaf)
    return judged(distance(case.run(method).values, gradient[0].numpy()))


def guided_ig(card, case):
    """Kept on the straight line, it equals the left Riemann sum of integrated gradients over bare passes.

    Off the line the path is chosen by comparing gradients, and a tie in the last bit may send it elsewhere. It starts
    at a blurred picture: on an even one, all places of a max-pooling tie.
    """
    by_id = {made.id: made for made in cards("explainer")}
    found = case.run(card.make(points=3, max_dist=0.0, rule="riemann_left", baseline="blur"))
    straight = by_id["integrated_gradients"].make(points=3, rule="riemann_left", baseline="blur")
    return judged(distance(found.values, case.run(straight, case.bare).values))


def patterned(card, case):
    """With the weights for patterns it equals a pass whose every layer is replaced by hand on the user's own module."""
    weights = {}
    look = PatternWatch(lambda name, weight, *_: weights.update({name: weight}), lambda _: torch.zeros(1, 1).long())
    found, used = case.model.propagate(case.image, case.target, lambda: look, start=lambda *_: ())
    check(used, found.coverage, card.id)
    same = {name: Direction(weight, None, 1) for name, weight in weights.items()}
    use_patterns(case.model, PatternBank(same, digest(case.model), "the weights"))
    try:
        result = case.run(card.make())
    finally:
        use_patterns(case.model, None)
    product = card.id == "pattern_attribution"
    leaf = case.image.clone().requires_grad_()
    with OwnWeights(contributions=product):
        score = case.target.score(case.bare.plain(leaf.clone()))
    (signal,) = torch.autograd.grad(score.sum() * (score.detach() if product else 1.0), leaf)
    return judged(distance(result.values, signal[0].numpy()))


def rectified(x, high, leak=0.0):
    """Return what a ReLU, clipped or leaky, gives."""
    if leak:
        return torch.nn.functional.leaky_relu(x, leak)
    return torch.relu(x) if high == float("inf") else torch.nn.functional.hardtanh(x, 0.0, high)


def feedback_cnn(card, case):
    """Two rounds of it equal gates that are set by hand at every ReLU of the user's own module."""
    found, gates = case.run(card.make(rounds=2)), []
    for _ in range(2):
        seen = []

        def gated(x, high, leak=0.0, seen=seen, gates=gates):
            a = rectified(x, high, leak)
            if leak:
                return a
            a = a * gates[len(seen)] if gates else a * 1
            seen.append(a)
            return a

        leaf = case.image.clone().requires_grad_()
        with OtherReLUs(gated):
            score = case.target.score(case.bare.plain(leaf.clone()))
        wanted, *signals = torch.autograd.grad(score.sum(), [leaf, *seen], allow_unused=True)
        gates = [torch.ones(()) if g is None else (g > 0).to(leaf) for g in signals]
    return judged(distance(found.values, wanted[0].numpy()))


def fgvis(card, case):
    """Two steps of it equal a loop whose filter is put by hand behind every activation of the user's own module."""
    changes = {"iterations": 2, "stop": False, "output": "log_probability", "sparsity": 1e-9}
    found = case.run(card.make(**changes))
    bounds, mask = [], torch.ones_like(case.image)
    for step in range(3):
        seen = []

        def filtered(a, seen=seen, bounds=bounds):
            seen.append(a.detach().clone())
            if not bounds:
                return a
            limit = bounds[len(seen) - 1]
            inside = (seen[-1] >= limit.clamp(max=0)) & (seen[-1] <= limit.clamp(min=0))
            return torch.where(inside, a, a.detach())

        shown = (mask * case.image).requires_grad_()
        with AfterActivations(filtered):
            score = case.target.score(case.bare.plain(shown.clone()).log_softmax(1))
        if step == 0:
            bounds = seen
            continue
        direction = 1e-9 - torch.autograd.grad(score.sum(), shown)[0] * case.image
        mask = (mask + 0.1 * direction / direction.abs().max()).clamp(0, 1)
    return judged(distance(found.values, 1 - mask[0].numpy()))


def xrai(card, case):
    """Equals the same method on bare passes of the user's own module, or at least its attribution does."""
    found = same_as_bare(card, case)
    if found.kind == "right":
        return found
    by_id = {made.id: made for made in cards("explainer")}
    for start in ("black", "white"):
        path = short(by_id["integrated_gradients"], baseline=start)
        error = distance(case.run(path).values, case.run(path, case.bare).values)
        if error > RIGHT:
            return Verdict("wrong", error, f"its attribution from {start} differs")
    return Verdict("caveat", found.error, "the attribution is equal; regions of nearly equal gain change places")


def pooled(card, case):
    """The mean of its values, with the biases, is the score of the user's own module."""
    found = case.run(short(card))
    head, logits = case.model.gap_head(), case.bare.logits(case.image)[0]
    if card.id == "ccam":  # a sum of class maps, weighted as its table says
        chosen, _, weights = zip(*found.details["components"], strict=True)
        wanted = sum(w * float(logits[c] - head.bias[c]) for c, w in zip(chosen, weights, strict=True))
        scale = sum(w * float(logits[c].abs()) for c, w in zip(chosen, weights, strict=True))
    else:
        wanted = float(case.target.score(logits[None])[0]) - found.details["bias"]
        scale = max(abs(wanted), float(logits.abs().max()))
    return judged(abs(float(found.values.mean(dtype=np.float64)) - wanted) / scale)


def clear(card, case):
    """Its values are the largest of the enlarged class activation maps, which are checked on their own."""
    by_id = {made.id: made for made in cards("explainer")}
    found = case.run(card.make())
    every = []
    for index, *_ in found.details["classes"]:
        other = Case.__new__(Case)
        other.__dict__.update(case.__dict__, target=case.model.target(index))
        every.append(other.run(by_id["cam"].make()).heatmap())
    return judged(distance(found.values[0], np.max(every, axis=0)))


def learned(card, case):
    """A few short steps of its mask equal those on bare passes of the user's own module."""
    method = card.make(game="preservation", output="logit", iterations=3, step_size=0.01)
    return judged(distance(case.run(method).details["mask"], case.run(method, case.bare).details["mask"]))


def region(card, case):
    """Under the region that it finds, the user's own module gives the score that it says."""
    found = case.run(card.make(levels=8))
    inside = torch.tensor(found.values[0]) > 0
    seen = torch.where(inside == card.cls.keeps, case.image, baseline(case.model, case.image, "blur"))
    score = float(case.target.with_output("probability").score(case.bare.logits(seen))[0])
    said = float(found.details["curves"]["score"][found.details["level"]])
    return judged(abs(said - score) / score)


CHECKS = {
    "cam": pooled,
    "ccam": pooled,
    "clear": clear,
    "xrai": xrai,
    "patternnet": patterned,
    "pattern_attribution": patterned,
    "softplus_smoothing": softplus_smoothing,
    "guided_ig": guided_ig,
    "noisegrad": without_noise,
    "fusiongrad": without_noise,
    "fullgrad": fullgrad,
    "feedback_cnn": feedback_cnn,
    "fgvis": fgvis,
    "meaningful_perturbation": learned,
    "extremal_perturbation": learned,
    "ssr": region,
    "sdr": region,
    "lrp": lrp,
    "deep_taylor": conserved,
    "clrp": balanced,
    "sglrp": balanced,
    "excitation_backprop": probability,
    "contrastive_excitation_backprop": bounded,
    "deeplift_rescale": complete,
    "deeplift_revealcancel": complete,
    "deep_shap": complete,
}


def verdict(card, case):
    """Return the verdict on one method and one network; never nothing."""
    try:
        with torch.random.fork_rng(devices=[]):
            return CHECKS.get(card.id, same_as_bare)(card, case)
    except (NotApplicable, InvalidKnob) as error:
        return Verdict("refused", note=str(error).partition(" These would work")[0])
