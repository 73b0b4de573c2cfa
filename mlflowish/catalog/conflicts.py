"""May a transaction follow what others have committed since it began? What it read must be as it was, and what it
refers to there."""

from __future__ import annotations

from mlflowish.catalog.plain import RESERVED
from mlflowish.catalog.record import Commit
from mlflowish.catalog.transaction import Transaction
from mlflowish.catalog.view import View
from mlflowish.errors import ConflictError


def meets(transaction: Transaction, written: set[str], referred: set[str]) -> bool:
    """Did the transaction read, or does it doom, what others of the same record write or refer to?"""
    if not written and not referred:
        return False
    if not written.isdisjoint(transaction.reads) or not referred.isdisjoint(transaction.dooms):
        return True
    prefixes = transaction.prefixes
    return bool(prefixes) and any(key.startswith(prefixes) and key[0] != RESERVED for key in written)


def conflict_of(transaction: Transaction, view: View, head: int) -> ConflictError | None:
    """Why the transaction cannot follow a slot of the view, None if it can. The view may know later ones by now."""
    if transaction.slot == head:
        return None
    changed = transaction.conflicts(view, head)
    since = view.commits_after(transaction.slot)
    if transaction.dooms:
        if since is None:
            changed.append("(the commits since it began are no longer at hand)")
        else:
            referred = {ref.name for commit in since for change in commit.transactions for ref in change.refs}
            changed += sorted(transaction.dooms & referred)
    if transaction.sought:
        if since is None:
            changed.append("(an id that it looked for: the commits since it began are no longer at hand)")
        else:
            ids = {change.id for commit in since for change in commit.transactions}
            changed += [f"(the id {given})" for given in sorted(transaction.sought & ids)]
    if transaction.refs and epoch_of(view, head) > transaction.epoch + 1:
        changed.append("(objects that it refers to may be gone: two collections have passed)")
    if not changed:
        return None
    named = ", ".join(key or "(some key)" for key in changed[:10])
    winners = _winners(changed, since or [])
    who = "; ".join(winners[:5]) or "a commit that is no longer at hand"
    return ConflictError(
        f"A transaction that read the catalog at slot {transaction.slot} cannot be committed after {head}: "
        f"{named} changed meanwhile, by {who}. Begin again with what is there now, or "
        "use transact(), which does so by itself.",
        keys=changed,
        winners=winners,
        base=transaction.slot,
        head=head,
        doomed=[],
    )


def _winners(changed: list[str], since: list[Commit]) -> list[str]:
    found = []
    for commit in since:
        for change in commit.transactions:
            keys = [*change.puts, *change.deletes]
            if any(key == other or key.startswith(other) for key in keys for other in changed):
                said = f" ({change.comment})" if change.comment else ""
                found.append(f"slot {commit.slot} of {commit.writer}{said}")
    return found


def epoch_of(view: View, slot: int) -> int:
    """How many collections have begun to delete objects, at a slot of the view."""
    return view.epoch(slot)
