"""The steps of this process by name, as long as somebody holds them; the newest of a name counts."""

from __future__ import annotations

import weakref
from typing import Any

living: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
