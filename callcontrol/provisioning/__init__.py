"""Provisioning: TOML documents in, a changed inventory out, and back again."""

from callcontrol.provisioning.changes import Change, ChangeSet, FieldChange
from callcontrol.provisioning.documents import Document, Problem, ProvisioningError, read_file
from callcontrol.provisioning.export import to_toml
from callcontrol.provisioning.service import MemoryProvisioningStore, ProvisioningStore, apply, check, export
from callcontrol.provisioning.store import SqlProvisioningStore

__all__ = [
    "Change",
    "ChangeSet",
    "Document",
    "FieldChange",
    "MemoryProvisioningStore",
    "Problem",
    "ProvisioningError",
    "ProvisioningStore",
    "SqlProvisioningStore",
    "apply",
    "check",
    "export",
    "read_file",
    "to_toml",
]
