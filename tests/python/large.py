"""A mark of alpha 0.001 in a model of 1e9 bf16 weights: quiet, and found again."""

import sys

import tensorseal

ALPHA = 0.001


def main():
    directory = sys.argv[1]
    key = tensorseal.keygen(f"{directory}/key")
    out = f"{directory}/marked"
    mark = tensorseal.embed(f"{directory}/plain", key, out, "--payload", tensorseal.PAYLOAD, "--alpha", ALPHA)
    found = tensorseal.detect(out, key)
    expected = ALPHA * mark["elements"] ** 0.5
    print("| elements | alpha | SNR dB | weights changed | expected z | z | pilot z | payload read |")
    print("|---|---|---|---|---|---|---|---|")
    print(f"| {mark['elements']:,} | {ALPHA} | {mark['snr_db']:.2f} | {mark['changed'] / mark['elements']:.1%} "
          f"| {expected:.1f} | {found['z']:.1f} | {found['z_pilot']:.1f} | {'yes' if found['payload_ok'] else 'no'} |")
    assert abs(found["z"] - 0.998 * expected) <= 4, found
    assert mark["snr_db"] >= 53, mark
    assert found["payload"] == tensorseal.PAYLOAD, found


if __name__ == "__main__":
    main()
