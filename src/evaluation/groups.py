"""One vote per group: a patient with sixty slices counts once, like one with two."""

import numpy as np

from src.evaluation.metrics import check_predictions, score


def score_groups(labels: np.ndarray, probs: np.ndarray, groups: np.ndarray) -> dict:
    """Return what `score` returns, of one vote per group: the mean of its images' probabilities.

    Args:
        labels: (N,) integers, the true classes.
        probs: (N, 4), each row sums to 1.
        groups: (N,) integers; equal for images of one patient, or copies and neighbours of a slice.

    Raises:
        ValueError, InputError: as `score`, or the groups are not (N,) integers.
    """
    voted, votes, _ = group_votes(labels, probs, groups)
    return score(voted, votes)


def group_votes(
    labels: np.ndarray, probs: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels (M,), mean probabilities (M, 4) and groups (M,) of the votes, one a group.

    Where a group holds images of two true classes, which few do, each class has a vote of its own.
    """
    labels, probs = check_predictions(labels, probs)
    groups = check_groups(groups, len(labels))
    votes, vote_of = np.unique(np.stack([groups, labels]), axis=1, return_inverse=True)
    vote_of = vote_of.reshape(-1)
    sums = np.zeros((votes.shape[1], probs.shape[1]))
    np.add.at(sums, vote_of, probs)
    return votes[1], sums / np.bincount(vote_of)[:, None], votes[0]


def check_groups(groups: np.ndarray, count: int) -> np.ndarray:
    """Return (N,) int64 groups, or say what is wrong with them.

    Raises:
        ValueError: they are not (N,) integers.
    """
    groups = np.asarray(groups)
    if groups.shape != (count,) or not np.issubdtype(groups.dtype, np.integer):
        raise ValueError(
            f"Expected groups as ({count},) integers. Received: {groups.dtype} {groups.shape}."
        )
    return groups.astype(np.int64)
