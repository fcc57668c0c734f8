// The exported generator in a browser: sample.py (docs/export.md) in JavaScript, by onnxruntime-web.
// The same seed gives the same curves as `spiro generate` within 1e-3 L/s (tests/test_demo.py).

import { noise } from "./noise.js"

const { fround } = Math
const BATCH = 64 // curves at a time
const FAILED = 3 // the grade D, which gives no best values
const NETWORKS = ["facts", "sessions", "denoiser", "decoder"]
export const SEXES = { male: 1, female: 2 }
export const BEST_EFFORT = { grade: "A", test_type: "Pre", best: true } // what `spiro generate` draws

/** A sampler of the networks and numbers in a folder; `ort` is onnxruntime-web. */
export async function load(ort, folder) {
  const fetched = async (file) => {
    const answer = await fetch(new URL(file, folder))
    if (!answer.ok) throw new Error(`${file}: ${answer.status}`)
    return answer
  }
  const info = await (await fetched("sampler.json")).json()
  const networks = {}
  for (const name of NETWORKS) {
    const bytes = new Uint8Array(await (await fetched(`${name}.onnx`)).arrayBuffer())
    networks[name] = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] })
  }
  return new Sampler(ort, info, networks)
}

export class Sampler {
  constructor(ort, info, networks) {
    Object.assign(this, { ort, info, networks, facts: info.facts })
    this.conditionNames = [...info.numbers, ...info.categories].map((condition) => condition.name)
    this.progress = () => {} // called with how many of all network runs are done
  }

  /** Signals of n curves a person, rows of 512 in L/s; a person as of sample.py. */
  async draw(people, n, seed) {
    const rows = people.flatMap((person) => Array(n).fill(person))
    const known = rows.map((person) => this.conditions(person))
    const [drawn, logs, parts] = [[], [], batches(rows.length)]
    this.begin(parts.length, parts.length)
    for (const [first, end] of parts) {
      const alone = known.slice(first, end).map((row) => [[...row, NaN, ...this.noBest(), 1]])
      drawn.push(...(await this.diffuse("facts", alone, this.factsNoise(alone, seed, first, this.facts.stream))))
    }
    const grade = this.conditionNames.indexOf("grade")
    drawn.forEach((fact, i) => {
      if (Number.isNaN(known[i][grade])) known[i][grade] = this.gradeOf(fact)
      logs.push(this.logs(fact, surfaceFeatures(rows[i])))
    })
    return this.curves(known, logs, seed)
  }

  /** Efforts of n lungs a person, so many before and after the bronchodilator: each with its `signal` (512, L/s), its
   * `lung`, its `place` from 1, whether it was blown `after`, and its `grade`, 0 to 3 for A to D. */
  async sessions(people, n, efforts, after, seed) {
    const half = this.facts.places
    const lungs = people.flatMap((person) => Array(n).fill(person))
    const slots = Array.from({ length: 2 * half }, (_, i) => {
      const late = i >= half
      return { place: (i % half) + 1, after: late, taken: i % half < (late ? after : efforts) }
    })
    const bySlot = lungs.map((person) =>
      slots.map((slot) => this.conditions({ ...person, best: null, test_type: slot.after ? "Bron" : "Pre" })),
    )
    this.begin(batches(lungs.length).length, batches(lungs.length * (efforts + after)).length)
    const found = []
    for (const [first, end] of batches(lungs.length))
      found.push(...(await this.sessionFacts(lungs.slice(first, end), bySlot.slice(first, end), slots, seed, first)))
    const [known, logs, blown] = [[], [], []]
    const [grade, best] = ["grade", "best"].map((name) => this.conditionNames.indexOf(name))
    found.forEach((efforts, lung) => {
      const sizes = efforts.map(({ logs, grade }, i) =>
        slots[i].taken && !slots[i].after && grade < FAILED ? fround(expOf(logs[0]) + expOf(logs[1])) : 0,
      )
      const largest = Math.max(...sizes)
      efforts.forEach((effort, i) => {
        if (!slots[i].taken) return
        const row = bySlot[lung][i]
        row[grade] = effort.grade
        row[best] = Number(largest > 0 && sizes[i] === largest)
        known.push(row)
        logs.push(effort.logs)
        blown.push({ lung, place: slots[i].place, after: slots[i].after, grade: effort.grade })
      })
    })
    const lungs_of = blown.map(({ lung }) => lung)
    const signals = await this.curves(known, logs, seed, lungs_of)
    return blown.map((effort, i) => ({ ...effort, signal: signals[i] }))
  }

  /** Conditions of the networks: standardised numbers, places of categories, NaN for what is not known. */
  conditions(person) {
    const numbers = this.info.numbers.map(({ name, centre, spread, optional }) => {
      const value = person[name] ?? NaN
      const [low, high] = this.info.made_from[name] ?? [0, Infinity]
      if (!(value >= low && value <= high) && !(optional && Number.isNaN(value)))
        throw new RangeError(`${name} beyond ${low} to ${high}, on which the model was trained`)
      return fround((value - centre) / spread)
    })
    const categories = this.info.categories.map(({ name, values }) => {
      const value = person[name] ?? null
      if (value !== null && !values.includes(value)) throw new RangeError(`${name}: ${value} is none of ${values}`)
      return value === null ? NaN : values.indexOf(value)
    })
    return [...numbers, ...categories]
  }

  /** Facts (9) and grades of the efforts in every slot of people: rows of {logs, grade}. */
  async sessionFacts(people, bySlot, slots, seed, first) {
    const taken = slots.map((slot) => Number(slot.taken))
    const both = [false, true].every((after) => slots.some((slot) => slot.taken && slot.after === after))
    const [middle, spread] = this.facts.place
    const roles = [2, 3 * both, ...taken.map((one) => 4 * one)]
    const places = [NaN, NaN, ...slots.map((slot) => fround((slot.place - middle) / spread))]
    const conditions = bySlot.map((rows) =>
      [rows[0], rows[0], ...rows].map((row, i) => [...row, places[i], ...this.noBest(), roles[i]]),
    )
    const width = this.facts.shape[1]
    const start = this.factsNoise(conditions, seed, first, this.facts.stream_sessions)
    const drawn = await this.diffuse("facts", conditions, start)
    const given = this.conditionNames.indexOf("grade")
    bySlot.forEach((rows, lung) =>
      rows.forEach((row, slot) => {
        if (!Number.isNaN(row[given])) drawn[lung].set(this.facts.grades[row[given]], (slot + 3) * width - 2)
      }),
    )
    const features = people.flatMap((person) => slots.map(() => surfaceFeatures(person)))
    const found = await this.run("sessions", {
      drawn: this.tensor(drawn, [people.length, slots.length + 2, width]),
      present: this.tensor(people.map(() => taken), [people.length, slots.length]),
      features: this.tensor(features, [people.length, slots.length, features[0].length]),
    })
    const logs = split(found.logs.data, people.length * slots.length)
    const grades = [...found.grades.data].map(Number)
    return people.map((_, lung) =>
      slots.map((_, slot) => ({ logs: logs[lung * slots.length + slot], grade: grades[lung * slots.length + slot] })),
    )
  }

  /** Signals (512, L/s) of efforts with conditions and facts; those with the same number in `lungs`, which ascends
   * from 0, share most of their noise. */
  async curves(known, logs, seed, lungs = null) {
    const { centre, spread } = this.facts.scales
    const signals = []
    for (const [first, end] of batches(known.length)) {
      const facts = logs.slice(first, end)
      const conditions = facts.map((fact, row) => [
        ...known[first + row],
        ...Array.from(fact, (value, i) => fround(value - fround(centre[i])) / fround(spread[i])),
      ])
      const [tokens, channels] = this.info.denoiser.shape
      let start = this.noise(tokens * channels, conditions.length, seed, first, this.info.denoiser.stream)
      if (lungs) start = this.ofLungs(start, lungs.slice(first, end), seed)
      const latents = await this.diffuse("denoiser", conditions, start)
      const { clean } = await this.run("decoder", {
        latents: this.tensor(latents, [facts.length, tokens, channels]),
        facts: this.tensor(facts, [facts.length, facts[0].length]),
      })
      signals.push(...split(clean.data, facts.length))
    }
    return signals
  }

  /** Standard normal numbers of draws `first` ..., `size` a row. */
  noise(size, rows, seed, first, stream) {
    return noise(size, rows, seed, first, stream, this.info.noise_block)
  }

  /** The noise of efforts, of which those of one lung share a part. */
  ofLungs(start, lungs, seed) {
    const { shape, stream_lungs, lung_share } = this.info.denoiser
    const [size, block] = [shape[0] * shape[1], this.info.noise_block]
    const first = Math.floor(lungs[0] / block) * block
    const common = this.noise(size, lungs.at(-1) + 1 - first, seed, first, stream_lungs)
    const [alone, shared] = [fround(Math.sqrt(1 - lung_share)), fround(Math.sqrt(lung_share))]
    return start.map((value, i) => {
      const same = common[(lungs[Math.floor(i / size)] - first) * size + (i % size)]
      return fround(alone * value) + fround(shared * same)
    })
  }

  /** The noise of facts; none at an empty slot. */
  factsNoise(conditions, seed, first, stream) {
    const width = this.facts.shape[1]
    const start = this.noise(conditions[0].length * width, conditions.length, seed, first, stream)
    const there = conditions.flat().map((row) => row.at(-1) > 0)
    return start.map((value, i) => value * there[Math.floor(i / width)])
  }

  /** From standard normal noise to clean samples, a Float32Array a row. */
  async diffuse(network, conditions, start) {
    const how = this.info[network]
    const sets = network === "facts"
    const rows = conditions.length
    const tokens = sets ? conditions[0].length : how.shape[0]
    const shape = [rows, tokens, how.shape[1]]
    const secondOrder = how.sampler === "dpmpp_2m"
    const sigmas = karrasSigmas(how.steps, ...how.noise)
    const known = sets
      ? this.tensor(conditions.flat(), [rows, tokens, conditions[0][0].length])
      : this.tensor(conditions, [rows, conditions[0].length])
    const x = start.map((value) => value * sigmas[0])
    let last = null
    for (let i = 0; ; i++) {
      const [now, next] = [sigmas[i], sigmas[i + 1]]
      const sigma = this.tensor([new Float32Array(rows).fill(now)], [rows])
      const noisy = new this.ort.Tensor("float32", x, shape)
      const answer = await this.run(network, { noisy, sigma, conditions: known })
      const clean = answer.clean.data
      if (next === 0) return split(clean, rows)
      const step = logOf(now / next)
      const [shrink, grow] = [fround(next / now), fround(Math.expm1(-step))]
      const before = last && fround(2 * logOf(sigmas[i - 1] / now))
      for (let j = 0; j < x.length; j++) {
        const leap = last && secondOrder ? fround(fround(fround(clean[j] - last[j]) * step) / before) : 0
        x[j] = fround(shrink * x[j]) - fround(grow * fround(clean[j] + leap))
      }
      last = clean
    }
  }

  /** Facts (9) of a drawn effort (11): what the mean surface leaves, and the surface. */
  logs(drawn, features) {
    const { coefficients, residual_sd } = this.facts.scales
    return Float32Array.from(this.facts.names, (_, i) => {
      const surface = features.reduce((sum, feature, k) => sum + feature * fround(coefficients[k][i]), 0)
      return fround(surface) + fround(drawn[i] * fround(residual_sd[i]))
    })
  }

  /** The grade, 0 to 3 for A to D, of a drawn effort (11). */
  gradeOf(drawn) {
    const bits = Array.from(drawn.slice(-2), (value) => (value > 0 ? 1 : -1))
    return this.facts.grades.findIndex((grade) => grade.every((bit, i) => bit === bits[i]))
  }

  noBest() {
    return Array(this.facts.known_best.length).fill(NaN)
  }

  tensor(rows, shape) {
    const data = new Float32Array(shape.reduce((product, length) => product * length, 1))
    let at = 0
    for (const row of rows) {
      data.set(row, at)
      at += row.length
    }
    return new this.ort.Tensor("float32", data, shape)
  }

  begin(setsOfFacts, setsOfCurves) {
    this.all = setsOfFacts * this.facts.steps + setsOfCurves * this.info.denoiser.steps
    this.done = 0
  }

  async run(network, inputs) {
    const answer = await this.networks[network].run(inputs)
    if (network === "facts" || network === "denoiser") this.progress(++this.done, this.all)
    return answer
  }
}

/** Noise levels of Karras et al. 2022, equation 5, and a final 0. */
export function karrasSigmas(steps, minimum, maximum, rho = 7) {
  const [low, high] = [minimum ** (1 / rho), maximum ** (1 / rho)]
  return Float32Array.from({ length: steps + 1 }, (_, i) =>
    i === steps ? 0 : (high + (i / Math.max(steps - 1, 1)) * (low - high)) ** rho,
  )
}

/** Features (12) of the mean surface of lung function: cubic age, log height, their product, each by sex. */
export function surfaceFeatures(person) {
  const [age, height] = [(person.age - 40) / 20, Math.log(person.height / 165)]
  const base = [1, age, age ** 2, age ** 3, height, age * height]
  return [...base, ...base.map((value) => value * (2 * person.sex - 3))].map(fround)
}

const expOf = (value) => fround(Math.exp(value))
const logOf = (ratio) => fround(Math.log(fround(ratio)))

/** The first row of each batch and the one after its last. */
function batches(rows) {
  return Array.from({ length: Math.ceil(rows / BATCH) }, (_, i) => [i * BATCH, Math.min((i + 1) * BATCH, rows)])
}

function split(data, rows) {
  const size = data.length / rows
  return Array.from({ length: rows }, (_, i) => data.slice(i * size, (i + 1) * size))
}
