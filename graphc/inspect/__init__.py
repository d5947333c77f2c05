"""Looking at compiled programs: what was done, how long it takes, what it looks like.

In: the data that the pipeline recorded in a Program.  Out: text, times and drawings.
"""

from __future__ import annotations

from graphc.inspect.draw import draw
from graphc.inspect.explain import explain
from graphc.inspect.profile import Kernel, Profile, profile

__all__ = ["Kernel", "Profile", "draw", "explain", "profile"]
