"""What a model is adapted to: classes of clouds, classes of images, parts of clouds. One short class a task."""
