"""A data set whose clouds are spoilt: a view, as a subset is."""

from pcclora.data.base import LabelledDataset, PointCloudDataset, Sample
from pcclora.data.clouds import Clouds
from pcclora.data.corruptions.table import corrupt


class Corrupted(PointCloudDataset):
    """The clouds that a model would see of a data set, corrupted; their number of points is the same for all.

    Args:
        clouds: What the model sees of them: the points that the run's own test chooses, not augmented.
        corruption: A name of :data:`~pcclora.data.corruptions.table.CORRUPTIONS`.
        severity: 1 to 5.
        seed: Of the randomness.

    Raises:
        PccloraError: If there is no such corruption or severity.
    """

    def __init__(self, clouds: Clouds, corruption: str, severity: int, *, seed: int = 0) -> None:
        self.clouds, self.corruption, self.severity, self.seed = clouds, corruption, severity, seed
        of: LabelledDataset = clouds.dataset
        self.name, self.split = f"{of.name} ({corruption} {severity})", of.split
        self.class_names, self.labels, self.root = of.class_names, of.labels, of.root
        self.points = len(self[0].points)

    def __getitem__(self, index: int) -> Sample:
        stored = self.clouds.dataset[index]
        points = corrupt(
            self.clouds[0, index].points,
            stored.points[:, :3],
            name=self.corruption,
            severity=self.severity,
            seed=self.seed,
            index=index,
        )
        return Sample(points, stored.label, None, stored.path)

    def path_of(self, index: int) -> str:
        """Return where a sample comes from."""
        return self.clouds.dataset.path_of(index)
