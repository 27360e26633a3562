"""The `gitops` cluster driver: what was approved becomes a commit, and somebody else applies it."""
