// The normal numbers of PyTorch on a CPU, in JavaScript: numpy's SeedSequence names a block of draws, MT19937 gives its
// bits, Box and Muller make them normal in groups of 16. What is float32 in Python is rounded to it here (Math.fround).

const { fround, imul } = Math
const TURN = fround(2 * Math.PI)

/** Normal numbers (rows of so many) of the first draws of a seed: the rows come in blocks, each with a name. */
export function noise(size, rows, seed, first, stream, block) {
  const numbers = new Float32Array(rows * size)
  for (let number = Math.floor(first / block); number * block < first + rows; number++) {
    const begin = Math.max(first, number * block)
    const end = Math.min(first + rows, (number + 1) * block)
    const drawn = normal(name([seed, number, stream]), (end - number * block) * size)
    numbers.set(drawn.subarray((begin - number * block) * size), (begin - first) * size)
  }
  return numbers
}

/** The first `count` of `torch.randn` after `manual_seed`, of at least 16. */
export function normal(seed, count) {
  const next = twister(seed)
  const uniform = () => fround((next() & 0xffffff) * 2 ** -24)
  const numbers = new Float32Array(Math.ceil(count / 16) * 16)
  for (let group = 0; group < numbers.length; group += 16) {
    const radii = Array.from({ length: 8 }, () => fround(Math.sqrt(fround(-2 * fround(Math.log1p(-uniform()))))))
    for (let i = 0; i < 8; i++) {
      const angle = fround(TURN * uniform())
      numbers[group + i] = radii[i] * fround(Math.cos(angle))
      numbers[group + 8 + i] = radii[i] * fround(Math.sin(angle))
    }
  }
  return numbers.subarray(0, count)
}

/** What PyTorch's twister is seeded with: bits 1 to 32 of the first 64 that numpy's SeedSequence gives. */
export function name(entropy) {
  const [low, high] = state(pool(entropy.flatMap(words)), 2)
  return ((low >>> 1) | (high << 31)) >>> 0
}

/** A whole number below 2 ** 53 as 32-bit words, the lowest first. */
function words(number) {
  const high = Math.floor(number / 2 ** 32)
  return high ? [number >>> 0, high] : [number >>> 0]
}

/** numpy's SeedSequence after O'Neill: four words that all of the entropy has mixed. */
function pool(entropy) {
  let constant = 0x43b0d7e5
  const hash = (value) => {
    value ^= constant
    constant = imul(constant, 0x931e8875)
    return fold(imul(value, constant))
  }
  const mix = (x, y) => fold(imul(0xca01f9dd, x) - imul(0x4973f715, y))
  const mixed = [0, 1, 2, 3].map((i) => hash(entropy[i] ?? 0))
  for (let from = 0; from < 4; from++)
    for (let to = 0; to < 4; to++) if (from !== to) mixed[to] = mix(mixed[to], hash(mixed[from]))
  for (const word of entropy.slice(4)) for (let to = 0; to < 4; to++) mixed[to] = mix(mixed[to], hash(word))
  return mixed
}

function state(mixed, count) {
  let constant = 0x8b51f9dd
  return Array.from({ length: count }, (_, i) => {
    const value = mixed[i % 4] ^ constant
    constant = imul(constant, 0x58f38ded)
    return fold(imul(value, constant))
  })
}

const fold = (value) => (value ^ (value >>> 16)) >>> 0

/** The 32-bit words of MT19937 (Matsumoto and Nishimura 1998), one a call. */
function twister(seed) {
  const words = new Uint32Array(624)
  words[0] = seed
  for (let i = 1; i < 624; i++) words[i] = imul(1812433253, words[i - 1] ^ (words[i - 1] >>> 30)) + i
  let at = 624
  return () => {
    if (at === 624) {
      for (let i = 0; i < 624; i++) {
        const both = (words[i] & 0x80000000) | (words[(i + 1) % 624] & 0x7fffffff)
        words[i] = words[(i + 397) % 624] ^ (both >>> 1) ^ (both & 1 ? 0x9908b0df : 0)
      }
      at = 0
    }
    let word = words[at++]
    word ^= word >>> 11
    word ^= (word << 7) & 0x9d2c5680
    word ^= (word << 15) & 0xefc60000
    return (word ^ (word >>> 18)) >>> 0
  }
}
