"""What people do with cases: one function an act, one transaction each.

`casework.Casework` is the door for officials' pages, for the REST interface and for what arrives from other nodes;
`users.Users` knows who signs in. Both work on values; the frozen ones they give back are in `views`.
"""

from node.casework.casework import Casework
from node.casework.users import Users
from node.casework.views import Official

__all__ = ["Casework", "Official", "Users"]
