"""Generated data: logic gates, spirals, moons, polynomial regression, pictures of shapes and of letters."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from markone.data.progress import Progress
from markone.spec import Spec

if TYPE_CHECKING:
    from markone.data.dataset import Dataset

SEED = Field(default=0, ge=0, description="Which sample is drawn; the data's own seed, apart from the training's.")


class Gate(Spec):
    """A logic gate of two inputs: noisy copies of its four points."""

    kind: Literal["and", "or", "xor"]
    samples: int = Field(default=400, ge=12, le=1_000_000, description="How many points.")
    noise: float = Field(
        default=0.1, gt=0, le=1, description="Standard deviation around the four points, which are 1 apart."
    )
    seed: int = SEED

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """Two classes, ``0`` and ``1``; inputs float32 (samples, 2)."""
        from markone.data.generate import gate

        return gate(self.kind, samples=self.samples, noise=self.noise, seed=self.seed)


class Spirals(Spec):
    """Arms of a spiral wound into each other, one class each."""

    kind: Literal["spirals"] = "spirals"
    samples: int = Field(default=1000, ge=30, le=1_000_000, description="How many points, over all arms.")
    arms: int = Field(default=2, ge=2, le=10, description="How many arms, that is classes.")
    turns: float = Field(default=1.5, gt=0, le=5, description="How often an arm winds around the centre.")
    noise: float = Field(default=0.02, ge=0, le=1, description="Standard deviation around the arm; the radius is 1.")
    seed: int = SEED

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """One class per arm; inputs float32 (samples, 2)."""
        from markone.data.generate import spirals

        return spirals(samples=self.samples, arms=self.arms, turns=self.turns, noise=self.noise, seed=self.seed)


class Moons(Spec):
    """Two half circles that reach into each other."""

    kind: Literal["moons"] = "moons"
    samples: int = Field(default=1000, ge=12, le=1_000_000, description="How many points, over both moons.")
    noise: float = Field(default=0.1, ge=0, le=1, description="Standard deviation around the half circle of radius 1.")
    wrong: float = Field(default=0.0, ge=0, le=0.5, description="Share of the labels that are wrong.")
    seed: int = SEED

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """Two classes; inputs float32 (samples, 2)."""
        from markone.data.generate import moons

        return moons(samples=self.samples, noise=self.noise, wrong=self.wrong, seed=self.seed)


class Polynomial(Spec):
    """Regression on a random polynomial of one variable."""

    kind: Literal["polynomial"] = "polynomial"
    samples: int = Field(default=500, ge=12, le=1_000_000, description="How many points.")
    degree: int = Field(default=3, ge=1, le=20, description="The polynomial's degree.")
    noise: float = Field(
        default=0.1, ge=0, le=10, description="Standard deviation of the noise over that of the polynomial."
    )
    seed: int = SEED

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """Inputs float32 (samples, 1) in [-1, 1], targets float32 (samples, 1)."""
        from markone.data.generate import polynomial

        return polynomial(samples=self.samples, degree=self.degree, noise=self.noise, seed=self.seed)


class Shapes(Spec):
    """Pictures of one coloured shape on a coloured background, with class, mask and caption."""

    kind: Literal["shapes"] = "shapes"
    samples: int = Field(default=2000, ge=30, le=200_000, description="How many pictures.")
    size: int = Field(default=32, ge=12, le=256, description="Height and width in pixels.")
    noise: float = Field(default=8.0, ge=0, le=64, description="Standard deviation of the pixel noise, of 255.")
    seed: int = SEED

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """Inputs uint8 (samples, size, size, 3); extras ``mask`` uint8 (samples, size, size) and ``caption``."""
        from markone.data.shapes import draw_shapes

        return draw_shapes(samples=self.samples, size=self.size, noise=self.noise, seed=self.seed)


class Letters(Spec):
    """Eight letters, black and white, on a retina of 20x20 pixels: shifted and noisy."""

    kind: Literal["letters"] = "letters"
    samples: int = Field(default=4000, ge=80, le=200_000, description="How many pictures.")
    shift: int = Field(
        default=2,
        ge=0,
        le=2,
        description="Most pixels that a letter is moved in each direction; at 2 it touches the edge.",
    )
    noise: float = Field(default=0.05, ge=0, lt=0.5, description="Probability with which a pixel is flipped.")
    seed: int = SEED

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """Eight classes, ``A`` to ``H``; inputs uint8 (samples, 20, 20, 1), 0 or 255."""
        from markone.data.letters import draw_letters

        return draw_letters(samples=self.samples, shift=self.shift, noise=self.noise, seed=self.seed)
