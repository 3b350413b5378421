"""Fooling images by evolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    title="Fooling images (evolution)",
    family="adversarial",
    idea="Breeds pictures for every class at once: patterns or static that the network is sure to recognize.",
    cite="Nguyen, Yosinski, Clune 2015; Mouret, Clune 2015",
    paper="arXiv:1412.1897",
    section="2.1",
    needs=(),
    asks=("target",),
    formula="x′ = mutate(elite of a random class);  for every class k:  elite_k ← x′ if P_k(x′) > P_k(elite_k)",
    how="The best picture so far is kept for every class. Each offspring is a mutated copy of one of them, and takes "
    "the place of every one that it beats in its class, so that a pattern can move on to other classes. Pictures are "
    "written as single values, or as a small network of waves and bumps (CPPN) that paints regular patterns. No "
    "gradient is used: only the probabilities are read.",
    caution="That no picture is found for a class within some generations does not mean that there is none. Regular "
    "patterns often hold what the network looks for in a class, so they may deceive other networks, too; static does "
    "not.",
)
class FoolingEvolution(Resumable):
    """Pictures that are bred until the network is certain of them, one for every class, without any gradient.

    Yields the best picture of the target ``(H, W, 3)`` in [0, 1], and beside it those of other classes; the objective
    is its probability, ``mean`` that over all classes kept, and ``certain`` how many are over 0.99. All pictures are
    judged in 8 bits, as they are shown. MAP-Elites as in Nguyen et al. 2015, section 2.2. Their CPPNs grow from
    none to many nodes (NEAT), as with ``encoding="growing"``, whose rates are those of their code, with room for 24
    nodes; the default has two hidden layers of eight nodes, whose functions and weights evolve. It comes
    further in the same time: of ten digits it was certain after 50 generations from three seeds, the growing one of 10,
    8 and 10; for the bundled network the mean over all classes is 0.043 after 20 generations, and 0.015. Direct
    encodings of large pictures keep the target and some likely classes only.

    Raises ``InvalidTarget``: the target is not one class.
    """

    encoding: str = knob(
        "cppn",
        Choice(("cppn", "growing", "direct")),
        label="Encoding",
        help="cppn: a small network paints from coordinates, regular patterns; growing: one that begins without hidden "
        "nodes and gains them, as in the paper; direct: each value by itself, static.",
    )
    rate: float = knob(
        0.15,
        Range(0.001, 1.0, log=True),
        label="Mutation rate",
        help="How likely each value or weight of an offspring is changed. The paper has 0.1 for both encodings.",
        unit="probability",
        live=True,
    )
    strength: float = knob(
        0.6,
        Range(0.01, 5.0, log=True),
        label="Mutation strength",
        help="How far: the standard deviation of what is added to a weight; of the direct encoding, a factor, 1 in the "
        "paper.",
        live=True,
    )
    focus: float = knob(
        0.25,
        Range(0.0, 1.0, step=0.05),
        label="Focus on the target",
        help="Which share of the offspring comes from the target's own best picture; 0 as in the paper, where no class "
        "is special.",
        unit="share",
        live=True,
    )
    generations: int = knob(
        150,
        Range(1, 20_000, log=True),
        label="Generations",
        help="When to stop, not counting the random pictures to begin with.",
        unit="generations",
    )
    offspring: int = knob(
        60,
        Range(1, 500, log=True),
        label="Offspring",
        help="Pictures in a generation. Large pictures are tested a few at a step, and take their places at once.",
        unit="pictures",
    )
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Same seed, same pictures.", advanced=True)

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the best picture after every step; live knobs of a method that is sent in act from the next step on.

        Args:
            model: the network.
            start: not used: the pictures begin at random.
            target: the class whose picture is shown.
        """
        from xaiwidgets.synthesis.elites import Elites

        return play(Elites, self, model, target)
