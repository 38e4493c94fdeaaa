"""The floor that every adapted result must beat: classifiers of frozen features that train nothing (scikit-learn).

``prototype``: Snell et al., Prototypical Networks (arXiv 1703.05175), the nearest class mean. ``nearest``: the class of
the nearest support object. Each feature is standardised by the support, then each object scaled to length 1: distances
are those of angles. On episodes of training splits this was worth up to 9 points to prototypes, and leaving out a class
token that is not pre-trained up to 14 more.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pcclora.extras import of_extra

Kind = Literal["prototype", "nearest"]


def classify_features(
    kind: Kind, support: NDArray[np.float32], labels: NDArray[np.int64], query: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Classify by frozen features.

    Args:
        kind: Which classifier.
        support: (S, F).
        labels: (S,) class of each.
        query: (Q, F).

    Returns:
        (Q,) classes.
    """
    with of_extra("train", "a comparison of features"):
        from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import Normalizer, StandardScaler

    classifiers: dict[Kind, Any] = {"prototype": NearestCentroid(), "nearest": KNeighborsClassifier(n_neighbors=1)}
    fitted = make_pipeline(StandardScaler(), Normalizer(), classifiers[kind]).fit(support, labels)
    return np.asarray(fitted.predict(query), np.int64)
