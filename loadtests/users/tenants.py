"""Many tenants at once, with keys of different limits: who is within them must not be harmed.

`--tenants` names a JSON file: `[{"name": "small", "key": "dg-…", "limited": true}, …]`. A 429 for a
limited tenant is what its limits are for: it is counted apart, as `refused`, where it says when to
come again. A 429 for another one is a failure.
"""

import json
from pathlib import Path
from typing import Any, ClassVar

import gevent
from locust import task

from loadtests.users.asking import AskingUser
from loadtests.users.options import option

_LONGEST_REST_S = 2.0


class TenantUser(AskingUser):
    """One person of a tenant; tenants get users in turn."""

    seated: ClassVar[int] = 0

    def key(self) -> str:
        """Take the next tenant's seat, and its key."""
        path = option(self.environment, "tenants")
        if not path:
            raise ValueError("TenantUser needs --tenants, a file with the keys of tenants.")
        tenants: list[dict[str, Any]] = json.loads(Path(path).read_text(encoding="utf-8"))
        self.tenant = tenants[TenantUser.seated % len(tenants)]
        TenantUser.seated += 1
        return str(self.tenant["key"])

    def refused(self, answer: Any) -> bool:
        """Rest as long as the answer says, but not for the whole run."""
        after = answer.headers.get("retry-after")
        if answer.status_code != 429 or not self.tenant["limited"] or after is None:
            return False
        gevent.sleep(min(float(after), _LONGEST_REST_S))
        return True

    @task(3)  # type: ignore[untyped-decorator]
    def streamed(self) -> None:
        self.stream(f"tenant {self.tenant['name']}")

    @task(1)  # type: ignore[untyped-decorator]
    def in_one_piece(self) -> None:
        self.whole(f"tenant {self.tenant['name']}")
