// Flow against volume and volume against time, as SVG: one litre is as long as two litres a second, and in both.

import { PERIOD_S } from "./indices.js"

const [WIDTH, HEIGHT] = [440, 400]
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 12, 14, 46]
const [ACROSS, UP] = [WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM]

/** Two pictures of efforts with `flow` (each 10 ms), `litres` at its ends, `found` indices and a `look` (classes). */
export function charts(efforts) {
  const largest = (read) => Math.max(...efforts.map(({ found }) => read(found)))
  const litre = 0.95 * Math.min(
    ACROSS / largest((found) => found.fvc),
    UP / largest((found) => found.fvc),
    (2 * UP) / largest((found) => found.pef),
  )
  const seconds = Math.max(6, Math.ceil(largest((found) => found.end - found.t0)))
  return [
    chart("Flow against volume", ["Volume (L)", ACROSS / litre], ["Flow (L/s)", (2 * UP) / litre], efforts, loop),
    chart("Volume against time", ["Time from time zero (s)", seconds], ["Volume (L)", UP / litre], efforts, spirogram),
  ]
}

const begin = (effort) => effort.flow.findIndex((flow) => flow !== 0)
const end = (effort) => Math.round(effort.found.end / PERIOD_S)

function loop(effort) {
  const { flow, litres } = effort
  const middles = samples(begin(effort), end(effort), (i) => [(litres[i] + litres[i + 1]) / 2, flow[i]])
  return [[0, 0], ...middles, [litres.at(-1), 0]]
}

function spirogram(effort) {
  return samples(begin(effort), end(effort) + 1, (i) => [i * PERIOD_S - effort.found.t0, effort.litres[i]])
}

/** One picture: [label, last value] of both axes, and the points of an effort. */
function chart(title, [across, right], [up, top], efforts, points) {
  const x = (value) => (LEFT + (value / right) * ACROSS).toFixed(1)
  const y = (value) => (TOP + UP - (value / top) * UP).toFixed(1)
  const line = (x1, y1, x2, y2) => `<line class="grid" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`
  const text = (at, anchor, words) => `<text transform="${at}" text-anchor="${anchor}">${words}</text>`
  const grid = [
    ...ticks(right).flatMap((v) => [
      line(x(v), y(0), x(v), TOP),
      text(`translate(${x(v)} ${TOP + UP + 17})`, "middle", v),
    ]),
    ...ticks(top).flatMap((v) => [
      line(LEFT, y(v), WIDTH - RIGHT, y(v)),
      text(`translate(${LEFT - 7} ${Number(y(v)) + 4})`, "end", v),
    ]),
  ]
  const lines = efforts.map((effort, i) => {
    const path = points(effort).map(([a, b]) => `${x(a)} ${y(b)}`).join("L")
    return `<path data-effort="${i}" class="effort ${effort.look}" d="M${path}"/>`
  })
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}: drawn efforts, ${efforts.length}">
    ${grid.join("")}
    ${text(`translate(${LEFT + ACROSS / 2} ${HEIGHT - 8})`, "middle", across)}
    ${text(`translate(13 ${TOP + UP / 2}) rotate(-90)`, "middle", up)}
    <clipPath id="inside"><rect x="${LEFT}" width="${ACROSS}" height="${HEIGHT}"/></clipPath>
    <g clip-path="url(#inside)">${lines.join("")}</g></svg>`
}

function samples(first, end, point) {
  return Array.from({ length: Math.max(end - first, 0) }, (_, i) => point(first + i))
}

/** Round numbers from 0, about six of them. */
function ticks(largest) {
  const step = [0.5, 1, 2, 5].find((size) => largest / size <= 8) ?? 10
  return Array.from({ length: Math.floor(largest / step) + 1 }, (_, i) => i * step)
}
