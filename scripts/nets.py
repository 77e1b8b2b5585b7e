"""Writes src/markone/nets/catalogue.json, the parameters and FLOPs of every kind of net that `markone net` lists.

python scripts/nets.py
"""

import json
from pathlib import Path

from markone.nets import NETS
from markone.nets.catalogue import FILE, SIZELESS, counted

PLACE = Path(__file__).parents[1] / "src" / "markone" / "nets" / FILE


def main() -> None:
    kinds = [kind for net in NETS for kind in net.variants if kind not in SIZELESS]
    lines = [f"{json.dumps(kind)}: {json.dumps(counted(kind))}" for kind in kinds]
    PLACE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"wrote {PLACE}: {len(kinds)} nets")


if __name__ == "__main__":
    main()
