// Flow against volume and volume against time, as SVG. One litre is as long as two litres a second, and as long in both.

const [WIDTH, HEIGHT] = [440, 400]
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 12, 14, 46]
const [ACROSS, UP] = [WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM]

/** Two pictures of efforts with `flow` (each 10 ms), `litres` at its ends, `found` indices and a `look` (classes). */
export function charts(efforts) {
  const largest = (read) => Math.max(...efforts.map(read))
  const litre = Math.min(ACROSS / largest((e) => e.found.fvc), (2 * UP) / largest((e) => e.found.pef), UP / largest((e) => e.found.fvc)) * 0.95
  const seconds = Math.min(Math.max(6, Math.ceil(largest((e) => e.found.end - e.found.t0))), 20)
  const begin = (effort) => effort.flow.findIndex((flow) => flow !== 0)
  const loop = (effort) => samples(begin(effort), Math.round(effort.found.end / 0.01), (i) => [effort.litres[i] / 2 + effort.litres[i + 1] / 2, effort.flow[i]])
  const spirogram = (effort) => samples(begin(effort), Math.round(effort.found.end / 0.01) + 1, (i) => [i * 0.01 - effort.found.t0, effort.litres[i]])
  return [
    chart("Flow against volume", ["Volume (L)", ACROSS / litre], ["Flow (L/s)", (2 * UP) / litre], efforts, (e) => [[0, 0], ...loop(e), [e.litres.at(-1), 0]]),
    chart("Volume against time", ["Time from time zero (s)", seconds], ["Volume (L)", UP / litre], efforts, spirogram),
  ]
}

function chart(title, [across, right], [up, top], efforts, points) {
  const x = (value) => LEFT + (value / right) * ACROSS
  const y = (value) => TOP + UP - (value / top) * UP
  const marks = [
    ...ticks(right).map((v) => `<line class="grid" x1="${x(v)}" x2="${x(v)}" y1="${y(0)}" y2="${TOP}"/><text x="${x(v)}" y="${y(0) + 17}" text-anchor="middle">${v}</text>`),
    ...ticks(top).map((v) => `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(v)}" y2="${y(v)}"/><text x="${LEFT - 7}" y="${y(v) + 4}" text-anchor="end">${v}</text>`),
  ]
  const lines = efforts.map((effort, i) => {
    const path = points(effort).map(([a, b]) => `${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("L")
    return `<path data-effort="${i}" class="effort ${effort.look}" d="M${path}"/>`
  })
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title} of ${efforts.length} drawn efforts">
    ${marks.join("")}
    <text x="${LEFT + ACROSS / 2}" y="${HEIGHT - 8}" text-anchor="middle">${across}</text>
    <text transform="translate(13 ${TOP + UP / 2}) rotate(-90)" text-anchor="middle">${up}</text>
    <clipPath id="inside"><rect x="${LEFT}" y="0" width="${ACROSS}" height="${HEIGHT}"/></clipPath>
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
