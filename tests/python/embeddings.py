"""Does the real model still work when it is marked? Embeddings of 100 sentences, before and after."""

import numpy

import encoder
import tensorseal

# The least cosine between an embedding and that of the unmarked model, by target z.
PROMISED = {20: 0.9995, 30: 0.999, 60: 0.997}


def main():
    sentences = tensorseal.ROOT.joinpath("tests/python/sentences.txt").read_text().splitlines()
    assert len(sentences) == 100
    plain = encoder.embeddings(tensorseal.weights(tensorseal.MODEL / "model.safetensors"), sentences)
    # The graph is that model: related sentences are near, others are not.
    probe = ["A man is eating food.", "A man is eating a piece of bread.", "A cheetah chases its prey."]
    weights = tensorseal.weights(tensorseal.MODEL / "model.safetensors")
    a, b, c = encoder.embeddings(weights, probe)
    assert a @ b > 0.7 > 0.2 > a @ c, (a @ b, a @ c)
    print("cosine of each embedding to that of the unmarked model, 100 sentences")
    print("| target z | SNR dB | minimum | 5 % | median | mean |")
    print("|---|---|---|---|---|---|")
    with tensorseal.workspace() as directory:
        for target, promised in PROMISED.items():
            key = tensorseal.keygen(f"{directory}/key-{target}")
            out = f"{directory}/marked-{target}"
            mark = tensorseal.embed(tensorseal.MODEL, key, out, "--payload", tensorseal.PAYLOAD, "--target-z", target)
            marked = encoder.embeddings(tensorseal.weights(f"{out}/model.safetensors"), sentences)
            cosine = (plain * marked).sum(axis=1)
            low, median = numpy.quantile(cosine, [0.05, 0.5])
            print(f"| {target} | {mark['snr_db']:.2f} | {cosine.min():.5f} | {low:.5f} | {median:.5f} | {cosine.mean():.5f} |")
            assert cosine.min() >= promised, (target, cosine.min())


if __name__ == "__main__":
    main()
