"""The `parity` directive: our code against its references, computed while the page is built.

The checks are the ones that the tests run; a difference past its tolerance stops the build.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.docutils import SphinxDirective

REGISTRY = Path("tests", "unit", "parity.py")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(difference: float | None) -> str:
    if difference is None:
        return "–"
    return "0" if difference == 0 else f"{difference:.1e}"


class Parity(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        for path in (root / REGISTRY, *root.glob("llmguide/*.py")):
            self.env.note_dependency(str(path))
        rows = ["| ours | reference | forward | gradient | allowed |", "|---|---|--:|--:|--:|"]
        for check in load(root / REGISTRY).CHECKS:
            found = check.run()
            if not (found.forward <= check.tolerance and (found.gradient or 0.0) <= check.tolerance):  # nor nan
                raise SphinxError(f"{check.name} is not {check.reference}: {found}, allowed {check.tolerance:.0e}")
            rows.append(
                f"| {check.name} | {check.reference} | {shown(found.forward)} | {shown(found.gradient)} "
                f"| {check.tolerance:.0e} |"
            )
        return self.parse_text_to_nodes("\n".join(rows))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("parity", Parity)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
