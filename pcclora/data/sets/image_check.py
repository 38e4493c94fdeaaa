"""Decodes every image of some lists once, and names all that cannot be: archives in circulation are corrupt."""

from collections.abc import Sequence
from pathlib import Path

from pcclora.data.readers.images import read_image
from pcclora.data.sets.image_lists import Listing
from pcclora.errors import PccloraError
from pcclora.extras import of_extra


def check_images(listings: Sequence[Listing], *, title: str, jobs: int = 1) -> list[str]:
    """Decode the images of lists; one that several name is decoded once.

    Args:
        listings: The lists.
        title: Stands before the progress bar.
        jobs: Processes at once; -1: as many as there are cores.

    Returns:
        One line for each image that cannot be read: where it is listed, the file, what is wrong.

    Raises:
        PccloraError: If ``jobs`` is 0.
    """
    if jobs == 0:
        raise PccloraError("jobs is 0; choose at least 1, or -1 for one a core")
    with of_extra("train", "checking images"):
        from joblib import Parallel, delayed
    from tqdm import tqdm

    first = {
        file: place for listing in reversed(listings) for file, place in zip(listing.files, listing.places, strict=True)
    }
    tasks = (delayed(_problem)(file, place) for file, place in first.items())
    results = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    return [problem for problem in tqdm(results, total=len(first), desc=title, unit="image") if problem]


def _problem(file: Path, place: str) -> str:
    try:
        read_image(file, upright=False, place=place)
    except PccloraError as error:
        return str(error)
    return ""
