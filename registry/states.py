"""The words that rows, events and JSON use for states and actions, each with the text that is stored.

The texts never change: they are in rows, in digests and in the hashes of the audit chain.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["AuditAction", "BlobState", "EditKind", "EditState", "KeyAction", "RegionAction"]


class EditState(StrEnum):
    """How far an edit is; ABANDONED is shown, and never stored: a running one whose lease is over."""

    RUNNING = "running"
    ABANDONED = "abandoned"
    COMMITTED = "committed"
    ABORTED = "aborted"


class EditKind(StrEnum):
    """What an edit does; ROLLBACK and CHERRY_PICK begin and end in one transaction."""

    SETUP = "setup"
    EDIT = "edit"
    IMPORT = "import"
    MERGE = "merge"
    SPLIT = "split"
    RETIRE = "retire"
    ERASE = "erase"
    ROLLBACK = "rollback"
    CHERRY_PICK = "compose"


class RegionAction(StrEnum):
    """What an edit did to one region."""

    SETUP = "setup"
    UPDATE = "update"
    EXPAND = "expand"
    ADD = "add"
    REVERT = "revert"
    REPLACE = "replace"
    RETIRE = "retire"
    ERASE = "erase"


class BlobState(StrEnum):
    """How far a blob is: a commit accepts only LIVE ones."""

    UPLOADING = "uploading"
    LIVE = "live"
    DELETING = "deleting"


class KeyAction(StrEnum):
    """What was decided of a public key."""

    TRUST = "trust"
    REVOKE = "revoke"


class AuditAction(StrEnum):
    """What an event of the audit chain records."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    CHERRY_PICK = "compose"
    RESUME = "resume"
    ABORT = "abort"
    PROMOTE = "promote"
    DELETE_ALIAS = "delete alias"
    OVERRIDE = "override"
    POLICY = "policy"
    EVALUATE = "evaluate"
    APPROVE = "approve"
    WITHDRAW = "withdraw"
    TRUST_KEY = "trust key"
    REVOKE_KEY = "revoke key"
    SIGN = "sign"
    NOTE = "note"
    TAG = "tag"
    UNTAG = "untag"
    IMPORT = "import"
    IMPORT_EDIT = "import edit"
    IMPORT_EVALUATION = "import evaluation"
    EXPIRE = "expire"
    GC = "gc"
    GRANT = "grant"
    IDENTITY = "identity"
    RESTORE = "restore"
    UPGRADE = "upgrade"
    RETRY_EVENT = "retry event"
    SKIP_EVENT = "skip event"
