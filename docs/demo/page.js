// The page: a person's sliders, what is drawn for them in a worker, and its curves and indices.

import { charts } from "./charts.js"
import { indices, to10ms, volume } from "./indices.js"

const ALIKE = 20 // curves
const LARGEST_SEED = 2 ** 32 - 1 // of this page; the command line takes larger ones
const GRADES = "ABCD"
const FAILED = 3 // the grade D
const NETWORKS = ["facts", "sessions", "denoiser", "decoder"].map((name) => `model/${name}.onnx`)
const LARGE = ["onnxruntime/ort.wasm", ...NETWORKS]
const COLUMNS = { fev1: ["FEV1 (L)", 2], fvc: ["FVC (L)", 2], ratio: ["FEV1/FVC", 2], pef: ["PEF (L/s)", 1] }

const root = document.querySelector("#demo")
const part = (name) => root.querySelector(`[data-part=${name}]`)
const local = (file) => new URL(file, import.meta.url)

let info, norms, worker

async function begin() {
  const answers = await Promise.all(["model/sampler.json", "model/norms.json"].map((file) => fetch(local(file))))
  if (!answers.every((answer) => answer.ok)) {
    root.innerHTML = `<p class="note">This site was built without a model: there is nothing to draw with here.
      <code>make demo</code> builds it with one, once <code>make repro</code> or you have trained it.</p>`
    return
  }
  ;[info, norms] = await Promise.all(answers.map((answer) => answer.json()))
  root.innerHTML = form()
  root.addEventListener("input", show)
  part("form").addEventListener("submit", (event) => (event.preventDefault(), draw()))
  part("another").addEventListener("click", () => (field("seed").value++, draw()))
  show()
  const size = await megabytes()
  part("status").textContent ||= `The first drawing loads onnxruntime and the model${size ? `, ${size} MB` : ""}.`
}

async function megabytes() {
  const heads = await Promise.all(LARGE.map((file) => fetch(local(file), { method: "HEAD" })))
  return Math.round(heads.reduce((sum, head) => sum + Number(head.headers.get("content-length")), 0) / 1e6)
}

function form() {
  const [[youngest, oldest], [shortest, tallest]] = [info.made_from.age, info.made_from.height]
  const within = (value, low, high) => Math.min(Math.max(value, Math.ceil(low)), Math.floor(high))
  const slider = (name, label, unit, low, high, value) => `<label class="slider"><span>${label}</span>
    <b data-of="${name}" data-unit="${unit}"></b>
    <input type="range" name="${name}" min="${Math.ceil(low)}" max="${Math.floor(high)}"
      value="${within(value, low, high)}"></label>`
  const radio = (name, value, label, on) =>
    `<label><input type="radio" name="${name}" value="${value}" ${on ? "checked" : ""}> ${label}</label>`
  const group = (label, ...radios) => `<div role="radiogroup" aria-label="${label}">${radios.join("")}</div>`
  return `<form data-part="form">
    <fieldset><legend>The person</legend>
      ${slider("age", "Age", "years", youngest, oldest, 45)}
      ${slider("height", "Height", "cm", shortest, tallest, 175)}
      ${group("Sex", radio("sex", "male", "male", true), radio("sex", "female", "female"))}
      <p class="note" data-part="unusual" hidden></p>
    </fieldset>
    <fieldset><legend>What is drawn</legend>
      ${group(
        "What is drawn",
        radio("what", "session", "a session: the efforts of one lung", true),
        radio("what", "alike", `${ALIKE} such lungs: the best effort of each`),
      )}
      <div data-part="efforts">
        ${slider("efforts", "Efforts before the bronchodilator", "", 1, info.facts.places, 6)}
        ${slider("after", "Efforts after it (two puffs, at least ten minutes)", "", 0, info.facts.places, 2)}
      </div>
      <label>Seed <input type="number" name="seed" min="0" max="${LARGEST_SEED}" value="0" required></label>
    </fieldset>
    <p class="buttons" data-part="buttons"><button class="md-button md-button--primary">Draw</button>
      <button class="md-button" type="button" data-part="another">Draw another</button></p>
    </form>
    <p data-part="status" role="status"></p><progress data-part="progress" hidden aria-label="Drawing"></progress>
    <section data-part="drawn"></section>
    <p class="source"><strong>Simulated, and not for diagnosis.</strong> No curve here is of a person. The model was
      trained on ${escaped(norms.trained_on)}.
      ${info.warnings.map((warning) => `Warning: ${escaped(warning)}.`).join(" ")}</p>`
}

const field = (name) => part("form").elements[name]

function requested() {
  const number = (name) => Number(field(name).value)
  return {
    person: { age: number("age"), height: number("height"), sex: field("sex").value === "male" ? 1 : 2 },
    alike: field("what").value === "alike" ? ALIKE : 0,
    efforts: number("efforts"),
    after: number("after"),
    seed: number("seed"),
  }
}

/** The values of the sliders, and a word where a height is hardly met at an age. */
function show() {
  for (const shown of root.querySelectorAll("[data-of]"))
    shown.textContent = `${field(shown.dataset.of).value} ${shown.dataset.unit}`
  part("efforts").hidden = field("what").value === "alike"
  const { age, height } = requested().person
  const [low, high] = norms[field("sex").value].heights[norms.ages.indexOf(age)]
  part("unusual").hidden = height >= low && height <= high
  const usual = `${Math.round(low)} to ${Math.round(high)} cm`
  part("unusual").textContent = `At ${age} years hardly anyone is ${height} cm tall; usual are ${usual}.`
}

function draw() {
  if (!part("form").reportValidity()) return
  const request = requested()
  worker ??= new Worker(local("worker.js"), { type: "module" })
  const buttons = root.querySelectorAll("button")
  const busy = (is) => {
    buttons.forEach((button) => (button.disabled = is))
    part("drawn").classList.toggle("stale", is)
    part("progress").hidden = !is
  }
  busy(true)
  part("progress").removeAttribute("value")
  const say = (words) => (part("status").textContent = words)
  say("Loading …")
  worker.onerror = (event) => worker.onmessage({ data: { failed: event.message ?? "the worker did not start" } })
  worker.onmessage = ({ data: { done, all, drawn, failed, drawMs } }) => {
    if (done) {
      say("Drawing …")
      part("progress").value = done / all
      return
    }
    busy(false)
    if (failed) return say(`It could not be drawn: ${failed}`)
    say(`Drawn in ${(drawMs / 1000).toFixed(1)} s, on this device.`)
    present(request, drawn)
    const below = part("drawn").getBoundingClientRect().top > innerHeight / 2
    if (below) part("buttons").scrollIntoView({ behavior: "smooth" })
  }
  worker.postMessage(request)
}

function present(request, drawn) {
  const efforts = drawn
    .map((effort) => {
      const flow = to10ms(effort.signal, info.edges_s)
      return { ...effort, flow, litres: volume(flow), found: indices(flow), look: look(effort) }
    })
    .filter((effort) => effort.found)
  const { person, alike, seed } = request
  const sex = person.sex === 1 ? "male" : "female"
  const size = alike ? `-n ${alike}` : `-n 1 --session ${request.efforts} --after ${request.after}`
  const command = `spiro generate --age ${person.age} --height ${person.height} --sex ${sex} ${size} --seed ${seed}`
  const silent = drawn.length - efforts.length
  part("drawn").innerHTML = `<h2>${sex}, ${person.age} years, ${person.height} cm <small>seed ${seed}</small></h2>
    ${silent ? `<p class="note">Efforts without a breath out, not shown: ${silent}.</p>` : ""}
    ${efforts.length ? `<div class="charts">${charts(efforts).join("")}</div>` : ""}
    ${alike ? "" : legend(efforts)}
    <div class="scroll">${alike ? spread(efforts) : session(efforts, person)}</div>
    <p>The same curves from the command line, with the same model:</p>
    <pre><code>${command}</code></pre>`
  for (const row of part("drawn").querySelectorAll("tr[data-effort]")) {
    const line = part("drawn").querySelectorAll(`path[data-effort="${row.dataset.effort}"]`)
    const mark = (on) => () => line.forEach((path) => path.classList.toggle("marked", on))
    row.addEventListener("pointerenter", mark(true))
    row.addEventListener("pointerleave", mark(false))
  }
}

const look = ({ after, grade }) => `${after ? "after" : "before"} ${grade === FAILED ? "failed" : ""}`

function legend(efforts) {
  const names = {
    "before ": "before the bronchodilator",
    "before failed": "before it, not acceptable (grade D)",
    "after ": "after it",
    "after failed": "after it, not acceptable (grade D)",
  }
  const shown = Object.keys(names).filter((name) => efforts.some((effort) => effort.look === name))
  const line = (name) => `<svg viewBox="0 0 30 8" aria-hidden="true"><path class="effort ${name}" d="M0 4H30"/></svg>`
  return `<p class="legend">${shown.map((name) => `<span>${line(name)} ${names[name]}</span>`).join("")}</p>`
}

const indicesOf = (cell) => Object.keys(COLUMNS).map((name) => `<td>${cell(name)}</td>`).join("")
const cells = (found) => indicesOf((name) => found[name].toFixed(COLUMNS[name][1]))
const row = (label, rest, span = 1) => `<tr><th scope="row" colspan="${span}">${label}</th>${rest}</tr>`

function head(...first) {
  const labels = [...first, ...Object.values(COLUMNS).map(([label]) => label)]
  return `<thead><tr>${labels.map((label) => `<th scope="col">${label}</th>`).join("")}</tr></thead>`
}

/** Of many lungs: the highest, the middle and the lowest of each index. */
function spread(efforts) {
  const sorted = (name) => efforts.map((effort) => effort.found[name]).sort((a, b) => a - b)
  const of = (place) => cells(Object.fromEntries(Object.keys(COLUMNS).map((name) => [name, place(sorted(name))])))
  const median = (values) => (values[(values.length - 1) >> 1] + values[values.length >> 1]) / 2
  const rows = [row("Highest", of((v) => v.at(-1))), row("Median", of(median)), row("Lowest", of((v) => v[0]))]
  return `<table>${head(`Of ${efforts.length} lungs`)}<tbody>${rows.join("")}</tbody></table>`
}

/** Of one lung: every effort, the best values before and after, and the change. */
function session(efforts, person) {
  const part = (name) => `<tr class="part"><th scope="rowgroup" colspan="6">${name}</th></tr>`
  const normed = (text) => indicesOf((name) => (name === "pef" ? "–" : text(name, norm(name, person))))
  const rows = []
  const bests = []
  for (const after of [false, true]) {
    const blown = efforts.filter((effort) => effort.after === after)
    if (!blown.length) continue
    rows.push(part(after ? "After the bronchodilator" : "Before the bronchodilator"))
    for (const effort of blown)
      rows.push(`<tr data-effort="${efforts.indexOf(effort)}"><th scope="row">${effort.place}</th>
        <td>${GRADES[effort.grade]}</td>${cells(effort.found)}</tr>`)
    const best = bestOf(blown.filter((effort) => effort.grade < FAILED))
    if (!best) {
      rows.push(row("Best: none, since no effort is acceptable", "", 6))
      continue
    }
    bests.push(best)
    rows.push(row("<strong>Best</strong>", cells(best).replaceAll("<td>", "<td class=best>"), 2))
    rows.push(row("% of predicted", normed((name, lms) => ((100 * best[name]) / lms.m).toFixed(0)), 2))
    rows.push(row("z-score", normed((name, lms) => signed(zScore(lms, best[name]).toFixed(2))), 2))
  }
  if (bests.length === 2) {
    const gain = (name) => bests[1][name] - bests[0][name]
    const share = (name) => `${signed(((100 * gain(name)) / norm(name, person).m).toFixed(0))} %`
    rows.push(part("Change of the best"))
    rows.push(row("absolute", indicesOf((name) => signed(gain(name).toFixed(COLUMNS[name][1]))), 2))
    rows.push(row("of predicted", indicesOf((name) => (["fev1", "fvc"].includes(name) ? share(name) : "–")), 2))
  }
  return `<table>${head("Effort", "Grade")}<tbody>${rows.join("")}</tbody></table>
    <p class="small">Best: the largest FEV1, FVC and PEF of the efforts of grade A to C, and FEV1/FVC of these two.
    The grade is drawn too: A to C can be used, D cannot. Predicted and z by GLI Global 2022; a change of FEV1 or FVC by
    more than 10 % of predicted is a response (ERS/ATS 2022).</p>`
}

function bestOf(efforts) {
  if (!efforts.length) return null
  const largest = (name) => Math.max(...efforts.map((effort) => effort.found[name]))
  return { fev1: largest("fev1"), fvc: largest("fvc"), ratio: largest("fev1") / largest("fvc"), pef: largest("pef") }
}

/** L, M and S of GLI Global for an index of a person. */
function norm(index, { age, height, sex }) {
  const [l, at165, s, power] = norms[sex === 1 ? "male" : "female"][index][norms.ages.indexOf(age)]
  return { l, m: at165 * (height / 165) ** power, s }
}

const zScore = ({ l, m, s }, value) => ((value / m) ** l - 1) / (l * s)

const signed = (text) => (Number(text) > 0 ? `+${text}` : text.replace("-", "−"))

function escaped(text) {
  return String(text).replace(/[&<>"]/g, (mark) => `&#${mark.charCodeAt(0)};`)
}

await begin()
