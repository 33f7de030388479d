"""Fashion-MNIST, on which the bundled models are trained: its labels and its pixel statistics."""

MEAN, STD = 0.2860, 0.3530
LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
