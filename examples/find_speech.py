"""Where somebody speaks: a network with a memory hears artificial vowels, 32 ms at a time.

    FASTCONV_MODELS=folder python examples/find_speech.py [picture.png]
"""

import os
import sys

import numpy as np
from matplotlib.figure import Figure
from scipy import signal

import fastconv

RATE, STEP, CONTEXT = 16000, 512, 64  # samples a second, a step, and before each step
VOWELS = (730, 1090, 2440), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240)


def vowel(resonances, pitch=120, samples=RATE // 5):
    """A throat that opens `pitch` times a second, and a mouth with resonances, in Hz."""
    sound = np.diff(np.arange(samples) * pitch // RATE, prepend=0) - 0.002
    for f in resonances:
        pole = np.exp((-50 - f / 20 + 2j * f) * np.pi / RATE)
        sound = signal.lfilter([1], [1, -2 * pole.real, abs(pole) ** 2], sound)
    return 0.3 * sound / np.abs(sound).max() * np.hanning(samples) ** 0.25


parts = [np.zeros(RATE // 2), *map(vowel, VOWELS)]
sound = np.concatenate([*parts, *parts, parts[0]]).astype(np.float32)
model = fastconv.onnx.load(f"{os.environ['FASTCONV_MODELS']}/audio_silero-vad-op18-ifless.onnx")
state, padded, shares = np.zeros((2, 1, 128), np.float32), np.pad(sound, (CONTEXT, 0)), []
for at in range(0, len(sound) - STEP, STEP):
    x = padded[None, at : at + CONTEXT + STEP]
    share, state = model.run({"input": x, "sr": np.array(RATE), "state": state})
    shares.append(share.item())
print(f"speech in {np.mean(np.array(shares) > 0.5):.0%} of the time")
figure, times = Figure(figsize=(9, 3), layout="constrained"), np.arange(len(sound)) / RATE
axes = figure.add_subplot(xlabel="seconds", title="sound and the probability of speech")
axes.plot(times, sound, "silver", times[: -STEP : STEP], shares, "crimson")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "find_speech.png")
