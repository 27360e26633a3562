"""All that is said about Git and about who applies what stands there; docs/gitops.md has the same table.

The columns: code, whose turn it is, what happened, what to do; both with holes in braces.
"""

from collections.abc import Mapping

from endpoints.clusters import ClusterError, Turn

LIMIT = 480  # characters of a sentence

WORDS: Mapping[str, tuple[Turn, str, str]] = {
    "git_unreachable": (
        "platform", "The Git repository cannot be reached: {detail}.",
        "It is tried again by itself; what runs goes on. A platform engineer looks at address, network and server.",
    ),
    "git_slow": (
        "platform", "The Git repository did not answer within {seconds} s.",
        "It is tried again by itself; what runs goes on.",
    ),
    "git_host_key": (
        "platform", "The Git server shows a host key that is not the one of the registration.",
        "A platform engineer finds out why before giving the cluster new known hosts: somebody could stand in between.",
    ),
    "git_certificate": (
        "platform", "The certificate of the Git server does not hold: {detail}.",
        "A platform engineer corrects the authority of the repository or renews the certificate.",
    ),
    "git_credential": (
        "platform", "The Git server does not take the portal's key or token: it has ended, was revoked, or may not.",
        "A platform engineer gives the cluster a new one; what runs goes on.",
    ),
    "git_repository_missing": (
        "platform", "There is no repository at the address of the registration, or it is hidden from the portal.",
        "A platform engineer corrects the address or gives the portal's account access.",
    ),
    "git_branch_missing": (
        "platform", "The repository has no branch {branch}.",
        "A platform engineer makes it with a first commit, or corrects the option of the cluster.",
    ),
    "git_rejected": (
        "platform", "The Git server refuses the commit on {branch}: {detail}.",
        "A platform engineer allows the portal's account to push there, or lets it propose by pull request.",
    ),
    "git_moving": (
        "nobody", "Others push to {branch} so often that the portal's commit did not get in {tries} times.",
        "It is tried again by itself.",
    ),
    "git_busy": ("nobody", "Another worker writes to the repository now.", "It is tried again by itself."),
    "git_edited": (
        "platform", "{who} changed {file} in Git by hand, so the portal leaves it alone: {detail}.",
        "Somebody takes that back in Git, or has the portal write again what was approved.",
    ),
    "git_taken_away": (
        "platform", "{who} took {file} away in Git by hand (commit {commit}), so the portal does not put it back.",
        "Somebody puts it back in Git, or has the portal write again what was approved.",
    ),
    "git_tree_odd": (
        "platform", "In the repository {file} is not what the portal can write into: {detail}.",
        "A platform engineer moves it away, or gives the cluster another directory.",
    ),
    "git_waits_merge": (
        "platform", "It is proposed on the branch {branch} and waits to be merged into {target}.",
        "Somebody who may merge there reviews it; nothing else is to be done here.",
    ),
    "git_waits_applier": (
        "nobody", "Commit {commit} stands on {branch}; {applier}.",
        "It is applied from there, not by the portal.",
    ),
    "git_applier_failed": (
        "platform", "Commit {commit} stands on {branch}, and {applier}.",
        "A platform engineer looks there; the portal applies nothing by itself.",
    ),
    "git_adopts_nothing": (
        "platform", "What runs already cannot be adopted on a cluster that others apply from Git.",
        "Ask for an endpoint anew, or register the cluster with the driver kubernetes beside it.",
    ),
    "git_address_refused": ("platform", "{detail}", "A platform engineer corrects address or setting."),
    "git_missing": (
        "platform", "This worker has no program git{detail}.",
        "Whoever runs the portal installs git, and the client of OpenSSH, beside it.",
    ),
    "git_failed": ("platform", "Git failed: {detail}.", "It is tried again by itself; see the log of the worker."),
}  # fmt: skip


def error(code: str, **words: object) -> ClusterError:
    """Return what is raised in one situation; all of them may pass, so that nothing is given up for them."""
    turn, what, fix = WORDS[code]
    holes = {name: _short(value) for name, value in words.items()}
    happened, mend = what.format(**holes), fix.format(**holes)
    happened = happened.replace("..", ".") if happened.endswith("..") else happened
    return ClusterError(code, f"{happened} {mend}"[:LIMIT], turn, next=mend)


def _short(value: object) -> str:
    text = "".join(one if one.isprintable() else " " for one in str(value))
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:199] + "…"
