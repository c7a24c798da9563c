"""The three ways in which gatewright stops, each with its exit status (docs/architecture.md, "Messages")."""


class UserError(Exception):
    """The input cannot be used: exit status 2, one message with the node, the reason and the remedy."""

    def __init__(self, reason: str, *, node: str | None = None, remedy: str | None = None) -> None:
        self.reason, self.node, self.remedy = reason, node, remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"node '{self.node}': " if self.node else ""
        return f"{where}{self.reason.rstrip('.')}." + (f" {self.remedy.rstrip('.')}." if self.remedy else "")


class ToolMissing(UserError):
    """What a check needs is not there: a program, or the files of a target; the remedy says how to get it."""


class InternalError(Exception):
    """Our own defect: exit status 3. Raised where an invariant of gatewright itself does not hold."""
