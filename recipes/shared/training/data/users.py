"""Records by the users that they are of, for privacy of whole users.

A user in or out is then what neighbouring data differ by, so that a batch is drawn of users, and a
user's gradient, over all that it gives, is what is clipped (H. B. McMahan, D. Ramage, K. Talwar,
L. Zhang: Learning differentially private recurrent language models, ICLR 2018). Each gives a
bounded number of records, the same whatever other users there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Users:
    """So many users, and what each gives.

    records  (users, most) indices of records, each user's own, and then its first again
    given    (users, most) whether that place is one of the user's own
    """

    records: NDArray[np.intp]
    given: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.records)


def of(users: NDArray[np.integer], most: int, seed: int) -> Users:
    """What each user gives: all its records, or so many of them by chance.

    users  (records,) which user each record is of
    most   records of one user
    seed   decides which; no privacy rests on its being secret
    """
    import numpy as np

    names, owner = np.unique(users, return_inverse=True)
    records = np.zeros((len(names), most), np.intp)
    given = np.zeros((len(names), most), bool)
    by_owner = np.argsort(owner, kind="stable")
    for place, own in enumerate(np.split(by_owner, np.cumsum(np.bincount(owner))[:-1])):
        # By the user's own name, so that no other user changes what it gives.
        chance = np.random.default_rng((seed, int(names[place])))
        chosen = np.sort(chance.permutation(own)[:most])
        records[place] = chosen[0]
        records[place, : len(chosen)] = chosen
        given[place, : len(chosen)] = True
    return Users(records, given)
