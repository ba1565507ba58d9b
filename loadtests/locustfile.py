"""All users and shapes, for Locust itself: with its web page, or headless as here.

DRIFTGATE_API_KEY=dg-… locust -f loadtests/locustfile.py ChatUser --headless \
    --shape spike -u 8 -r 4 -t 60s

The users are ChatUser, DocumentsUser and TenantUser, the shapes steady, ramp, spike and soak; `-u`
is how many users there are at most. `--host` names another gateway than http://127.0.0.1:8080,
`--model` another alias than `production`. `make load` runs what `loadtests/sla.yaml` lists and says
whether its limits were kept.
"""

from loadtests.users.chat import ChatUser
from loadtests.users.documents import DocumentsUser
from loadtests.users.shape import Shape
from loadtests.users.tenants import TenantUser

__all__ = ["ChatUser", "DocumentsUser", "Shape", "TenantUser"]
