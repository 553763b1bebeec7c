// Spectra of frames: a radix-2 transform of Hann windows, read off on a logarithmic scale.

const LOWEST_HZ = 40;
const FLOOR_DB = -80;

/** Cosines and sines of one turn in `size` parts: the transform needs the first half. */
function circle(size) {
  const angle = (_, part) => (-2 * Math.PI * part) / size;
  const angles = Float64Array.from({ length: size / 2 }, angle);
  return { cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
}

function transform(real, imaginary, { cos, sin }) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      const held = real[i];
      real[i] = real[j];
      real[j] = held;
    }
  }
  for (let half = 1; half < size; half *= 2) {
    const stride = size / (2 * half);
    for (let step = 0; step < half; step++) {
      const c = cos[step * stride];
      const s = sin[step * stride];
      for (let i = step; i < size; i += 2 * half) {
        const j = i + half;
        const re = real[j] * c - imaginary[j] * s;
        const im = real[j] * s + imaginary[j] * c;
        real[j] = real[i] - re;
        imaginary[j] = imaginary[i] - im;
        real[i] += re;
        imaginary[i] += im;
      }
    }
  }
}

/** frames: `columns` windows of `size` samples; returns levels 0–255, rows from high to low. */
function levels({ frames, columns, rows, size, sampleRate }) {
  const window = Float32Array.from({ length: size }, (_, index) => {
    return (0.5 - 0.5 * Math.cos((2 * Math.PI * index) / size)) * (4 / size);
  });
  const highest = Math.min(16000, sampleRate / 2);
  const bins = Float32Array.from({ length: rows }, (_, row) => {
    const share = 1 - row / Math.max(1, rows - 1);
    return (LOWEST_HZ * (highest / LOWEST_HZ) ** share * size) / sampleRate;
  });
  const pixels = new Uint8Array(columns * rows);
  const parts = circle(size);
  const real = new Float32Array(size);
  const imaginary = new Float32Array(size);
  for (let column = 0; column < columns; column++) {
    for (let index = 0; index < size; index++) {
      real[index] = frames[column * size + index] * window[index];
    }
    imaginary.fill(0);
    transform(real, imaginary, parts);
    const power = (bin) => real[bin] ** 2 + imaginary[bin] ** 2;
    for (let row = 0; row < rows; row++) {
      const below = Math.min(size / 2 - 1, Math.floor(bins[row]));
      const share = bins[row] - below;
      const between = power(below) * (1 - share) + power(below + 1) * share;
      const db = 10 * Math.log10(between + 1e-12);
      pixels[row * columns + column] = 255 * Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
    }
  }
  return pixels;
}

self.onmessage = ({ data }) => {
  const pixels = levels(data);
  self.postMessage({ id: data.id, pixels }, [pixels.buffer]);
};
