"""Does a mark outlive fine-tuning? A small network is trained on real handwritten digits, marked, and
trained on for another task until its weights have moved by 20 % and more of their size."""

import numpy
from sklearn.datasets import load_digits

import tensorseal

WIDTHS = [64, 1024, 1024, 1024, 10]
TARGET_Z = 40
MOVED = [0.05, 0.2, 0.5]


class Network:
    """A multilayer perceptron with ReLU, trained with Adam (Kingma and Ba 2015)."""

    def __init__(self, random):
        pairs = list(zip(WIDTHS, WIDTHS[1:]))
        self.w = [random.normal(0, (2 / i) ** 0.5, (o, i)).astype(numpy.float32) for i, o in pairs]
        self.b = [numpy.zeros(o, numpy.float32) for _, o in pairs]
        self.forget()

    def forget(self):
        self.moments = [(numpy.zeros_like(p), numpy.zeros_like(p)) for p in self.w + self.b]
        self.steps = 0

    def tensors(self):
        named = {f"layers.{i}.weight": w for i, w in enumerate(self.w)}
        return named | {f"layers.{i}.bias": b for i, b in enumerate(self.b)}

    def load(self, tensors):
        self.w = [tensors[f"layers.{i}.weight"].copy() for i in range(len(self.w))]
        self.b = [tensors[f"layers.{i}.bias"].copy() for i in range(len(self.b))]
        self.forget()

    def forward(self, x):
        seen = [x]
        for i, (w, b) in enumerate(zip(self.w, self.b)):
            x = x @ w.T + b
            x = numpy.maximum(x, 0) if i + 1 < len(self.w) else x
            seen.append(x)
        return seen

    def step(self, x, labels, rate):
        seen = self.forward(x)
        scores = numpy.exp(seen[-1] - seen[-1].max(axis=1, keepdims=True))
        slope = scores / scores.sum(axis=1, keepdims=True)
        slope[numpy.arange(len(labels)), labels] -= 1
        slope /= len(labels)
        weights, biases = [], []
        for i in reversed(range(len(self.w))):
            weights.append(slope.T @ seen[i])
            biases.append(slope.sum(axis=0))
            slope = (slope @ self.w[i]) * (seen[i] > 0)
        self.steps += 1
        slopes = weights[::-1] + biases[::-1]
        for p, g, (m, v) in zip(self.w + self.b, slopes, self.moments):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= rate * (m / (1 - 0.9**self.steps)) / (numpy.sqrt(v / (1 - 0.999**self.steps)) + 1e-8)

    def accuracy(self, x, labels):
        return float((self.forward(x)[-1].argmax(axis=1) == labels).mean())


def moved(before, after):
    """Root mean square of the change, as a share of that of the weights."""
    change = sum(float(((after[n] - t) ** 2).sum()) for n, t in before.items() if tensorseal.carries(n, t))
    size = sum(float((t**2).sum()) for n, t in before.items() if tensorseal.carries(n, t))
    return (change / size) ** 0.5


def main():
    random = numpy.random.default_rng(1)
    digits = load_digits()
    x, labels = (digits.data / 16).astype(numpy.float32), digits.target
    order = random.permutation(len(x))
    train, test = order[:1400], order[1400:]

    def batches(network, labels, count, rate, wrong=0.0):
        for _ in range(count):
            batch = random.choice(train, 128)
            # Some labels are wrong, as they are in practice, so that there is always more to learn.
            noise = random.random(len(batch)) < wrong
            network.step(x[batch], numpy.where(noise, 1 - labels[batch], labels[batch]), rate)

    network = Network(random)
    batches(network, labels, 150, 1e-3)
    accuracy = network.accuracy(x[test], labels[test])
    assert accuracy > 0.95, accuracy
    with tensorseal.workspace() as directory:
        key = tensorseal.keygen(f"{directory}/key")
        plain = tensorseal.save(network.tensors(), f"{directory}/plain.safetensors")
        out = f"{directory}/marked.safetensors"
        mark = tensorseal.embed(plain, key, out, "--payload", tensorseal.PAYLOAD, "--target-z", TARGET_Z)
        start = tensorseal.weights(out)
        network.load(start)
        kept = network.accuracy(x[test], labels[test])
        print(f"trained on digits: accuracy {accuracy:.3f}, marked {kept:.3f}, SNR {mark['snr_db']:.1f} dB")
        assert kept > accuracy - 0.02
        assert tensorseal.detect(plain, key)["verdict"] != "present"
        print("| moved by | steps | z | pilot z | log10 p | payload read | verdict |")
        print("|---|---|---|---|---|---|---|")

        def row(share, steps):
            found = tensorseal.detect(out, key)
            z = "-" if found["z"] is None else f"{found['z']:.1f}"
            print(f"| {100 * share:.0f} % | {steps} | {z} | {found['z_pilot']:.1f} | {found['log10_p']:.0f} | {'yes' if found['payload_ok'] else 'no'} | {found['verdict']} |")
            return found

        row(0, 0)
        # Another task: is the digit one of these?
        other = numpy.isin(labels, [0, 3, 4, 8, 9]).astype(int)
        steps = 0
        for wanted in MOVED:
            while (share := moved(start, network.tensors())) < wanted:
                batches(network, other, 1, 5e-3, wrong=0.1)
                steps += 1
                assert steps < 2000, share
            tensorseal.save(network.tensors(), out)
            found = row(share, steps)
            if wanted <= 0.2:
                assert found["verdict"] == "present" and found["payload"] == tensorseal.PAYLOAD, found
        assert found["verdict"] == "present", found
        print(f"accuracy on the other task: {network.accuracy(x[test], other[test]):.3f}")


if __name__ == "__main__":
    main()
