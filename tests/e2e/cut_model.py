"""SmolLM2 with fewer layers: what a loop needs that closes in minutes on two cores.

The layers that are left are the model's own, so it is a real model that must learn its task anew.
Middle layers are left out: they matter least (Gromov et al. 2024, arXiv:2403.17887).
"""

import json
import re
import shutil
from pathlib import Path

from gateway.hub import sha256

_LAYER = re.compile(r"^model\.layers\.(\d+)\.")


def cut(source: Path, target: Path, *, first: int, last: int) -> Path:
    """Write a Llama with its first and its last layers alone, as a model that was pulled.

    Args:
        source: The folder of the model.
        target: Where the other one is made.
        first: Layers that are kept at the beginning.
        last: Layers that are kept at the end.
    """
    from safetensors.torch import load_file, save_file

    config = json.loads((source / "config.json").read_text())
    layers = config["num_hidden_layers"]
    kept = [*range(first), *range(layers - last, layers)]
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        found = _LAYER.match(name)
        if found is None:
            tensors[name] = tensor
        elif int(found[1]) in kept:
            number = kept.index(int(found[1]))
            tensors[_LAYER.sub(f"model.layers.{number}.", name)] = tensor
    save_file(tensors, target / "model.safetensors", {"format": "pt"})
    config["num_hidden_layers"] = len(kept)
    (target / "config.json").write_text(json.dumps(config, indent=2))
    manifest = json.loads((source / "driftgate.json").read_text())
    manifest["digests"] = {name: sha256(target / name) for name in manifest["digests"]}
    (target / "driftgate.json").write_text(json.dumps(manifest, indent=2))
    return target
