"""Writes docs/recipe.schema.json, the JSON Schema by which editors complete and check recipes."""

from pathlib import Path

from markone.recipe import Recipe

PLACE = Path(__file__).parents[1] / "docs" / "recipe.schema.json"


def main() -> None:
    PLACE.write_text(Recipe.schema_text(), encoding="utf-8")
    print(f"wrote {PLACE}")


if __name__ == "__main__":
    main()
