// FEV1, FVC and PEF of a signal by the rules of spiro_diffusion/physiology/spirometry.py (ATS/ERS 2019).

export const PERIOD_S = 0.01
const SHORTEST = 8 // samples: a shorter record has no index
const BREATH_L = 0.1 // a breath in of more ends the expiration before it
const EQUAL = 1e-6 // flows that differ by less are equal: the first counts
const PARABOLA = [-9, 36, 51, 36, -9].map((weight) => weight / 105) // Savitzky and Golay 1964: middle of five

/** Flow (L/s) of each 10 ms of a signal, whose bins lie between `edges` (s after time zero). */
export function to10ms(signal, edges) {
  const flow = new Float32Array(Math.round((edges.at(-1) - edges[0]) / PERIOD_S))
  for (let i = 0, bin = 0; i < flow.length; i++) {
    const tick = edges[0] + i * PERIOD_S
    while (bin < signal.length - 1 && edges[bin + 1] <= tick + 1e-9) bin++
    const part = Math.min((edges[bin + 1] - tick) / PERIOD_S, 1) // a sample lies in one bin or across two
    flow[i] = part * signal[bin] + (1 - part) * signal[Math.min(bin + 1, signal.length - 1)]
  }
  return flow
}

/** Volume (L) at the ends of the samples of flow; 0 before the first. */
export function volume(flow) {
  const litres = new Float64Array(flow.length + 1)
  flow.forEach((value, i) => (litres[i + 1] = litres[i] + value * PERIOD_S))
  return litres
}

/** fev1, fvc (L), ratio, pef (L/s), and t0 and the end of flow (s from the first sample); null where not determined. */
export function indices(recorded) {
  const flow = expiration(recorded)
  const litres = volume(flow)
  const fvc = Math.max(...litres)
  const peak = peakFlow(flow)
  const end = recorded.findLastIndex((value) => value !== 0) + 1
  if (!(fvc > 0 && peak.flow > 0) || end < SHORTEST) return null
  const middle = (litres[peak.sample] + litres[peak.sample + 1]) / 2
  const t0 = peak.sample + 0.5 - middle / (peak.flow * PERIOD_S) // back-extrapolated along the tangent at peak flow
  const fev1 = Math.max(...[0.5, 0.75, 1].map((seconds) => at(litres, t0 + seconds / PERIOD_S)))
  return { fev1, fvc, ratio: fev1 / fvc, pef: peak.flow, t0: t0 * PERIOD_S, end: end * PERIOD_S }
}

/** The highest value of the parabolas fitted to five samples each, never above the highest sample of its five. */
export function peakFlow(flow) {
  const sample = (i) => flow[i] ?? 0
  const fitted = Array.from(flow, (_, i) => PARABOLA.reduce((sum, weight, k) => sum + weight * sample(i + k - 2), 0))
  const about = firstHighest(fitted)
  const near = Array.from({ length: 5 }, (_, k) => about + k - 2).filter((i) => i >= 0 && i < flow.length)
  const limited = near.map((i) => Math.min(fitted[i], Math.max(...[-2, -1, 0, 1, 2].map((k) => sample(i + k)))))
  const best = firstHighest(limited)
  return { flow: limited[best], sample: near[best] }
}

function firstHighest(values) {
  const highest = values.reduce((most, value) => Math.max(most, value), -Infinity)
  return values.findIndex((value) => value >= highest - EQUAL * Math.abs(highest))
}

/** Volume at a fractional sample, by straight lines; held beyond both ends. */
function at(litres, position) {
  const held = Math.min(Math.max(position, 0), litres.length - 1)
  const left = Math.min(Math.floor(held), litres.length - 2)
  return litres[left] + (held - left) * (litres[left + 1] - litres[left])
}

/** Flow of the forced expiration alone where more than 100 mL are breathed in. */
function expiration(flow) {
  const breathedIn = -PERIOD_S * flow.reduce((sum, value) => sum + Math.min(value, 0), 0)
  if (!(breathedIn > BREATH_L)) return flow
  const litres = volume(flow)
  const power = (breath) => breath.volume * Math.max(...flow.subarray(breath.begin, breath.end))
  const out = breaths(litres).filter((breath) => breath.volume > 0)
  if (!out.length) return flow
  const blow = out.reduce((most, breath) => (power(breath) > power(most) ? breath : most))
  const later = Math.min(...litres.subarray(blow.end))
  const cut = litres[blow.end] - later > BREATH_L
  return flow.map((value, i) => (i < blow.begin || (cut && i >= blow.end) ? 0 : value))
}

/** Where expirations and inspirations of over 100 mL begin and end; each ends at its last extreme sample. */
function breaths(litres) {
  const found = []
  let [begin, extreme, low, high, sign] = [0, 0, 0, 0, 0]
  const keep = () => found.push({ begin, end: extreme, volume: litres[extreme] - litres[begin] })
  litres.forEach((here, place) => {
    if (sign === 0) {
      if (here <= litres[low]) low = place
      if (here >= litres[high]) high = place
      if (litres[high] - litres[low] > BREATH_L) {
        sign = high > low ? 1 : -1
        ;[begin, extreme] = sign > 0 ? [low, high] : [high, low]
      }
    } else if (sign * (here - litres[extreme]) >= 0) extreme = place
    else if (sign * (litres[extreme] - here) > BREATH_L) {
      keep()
      ;[begin, extreme, sign] = [extreme, place, -sign]
    }
  })
  if (sign) keep()
  return found
}
